"""The line that a person types into: several lines, history, search, and completion of commands, models and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import AnyFormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from .slash_commands import SlashCommand, split


class SlashCompleter(Completer):
    """Offers commands after ``/``, and models, files or MCP servers where a command takes them."""

    def __init__(
        self,
        commands: Mapping[str, SlashCommand],
        models: Callable[[str], Iterable[str]],
        servers: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._commands, self._models, self._servers = commands, models, servers
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, rest = split(text)
        if " " not in text:
            for command in self._commands.values():
                if command.name.startswith(name):
                    yield Completion(command.name, -len(name), display_meta=command.about)
            return
        kind = self._commands[name].kind if name in self._commands else ""
        typed = rest.rpartition(" ")[2]
        if kind == "model":
            yield from (Completion(model, -len(typed)) for model in self._models(typed) if model.startswith(typed))
        elif kind == "server":
            yield from (Completion(name, -len(typed)) for name in self._servers() if name.startswith(typed))
        elif kind == "file":
            yield from self._paths.get_completions(Document(typed), complete_event)


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion is not None:
            buffer.complete_state = None  # the first Enter takes the completion
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    @bindings.add("c-j")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


class _FileHistory(FileHistory):
    def store_string(self, string: str) -> None:
        with suppress(OSError):  # a full disk ends no conversation
            super().store_string(string)


def _history(file: Path | None) -> History:
    """What was typed before, in a file that only this user can read; in memory where it cannot be written."""
    if file is None:
        return InMemoryHistory()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
        return _FileHistory(str(file))
    return InMemoryHistory()


def typing_session(completer: Completer, status: Callable[[], AnyFormattedText], history: Path | None) -> PromptSession[str]:
    """A session whose ``prompt_async`` returns what was typed; raises ``EOFError`` for Ctrl-D, ``KeyboardInterrupt``."""
    return PromptSession(
        multiline=True,
        history=_history(history),
        enable_history_search=True,
        completer=ThreadedCompleter(completer),
        complete_while_typing=False,
        key_bindings=_bindings(),
        bottom_toolbar=status,
        prompt_continuation=lambda width, number, wraps: "… ".rjust(width),
        enable_open_in_editor=True,
    )
