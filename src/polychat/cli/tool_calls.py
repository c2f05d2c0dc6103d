"""Tools that a model calls from the terminal: each call is shown, asked for, and has a time limit, whatever the tool is."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ..errors import BadInput, LossWarning, PolychatError, redact
from ..types import ChatMessage, FilePart, ImagePart, TextPart, Tool, ToolCall, ToolResult
from ..wire.json_text import decoded

SECONDS = 120.0
"""Seconds that a call may take, unless the command says otherwise."""
MOST_ROUNDS = 50
"""Replies with calls, one after another."""
LONGEST = 1_000_000
"""Characters of a result."""
_NAME = 64
"""Characters of a tool's name: what all APIs take."""
_LONGEST_NAME = 200
"""Of one that a model calls, which can be any text, as it is shown."""

T = TypeVar("T")
ResultPart: TypeAlias = TextPart | ImagePart | FilePart
Say: TypeAlias = Callable[[str, str], None]
"""Shows a line to the person; the second argument is its kind: ``tool``, ``note``."""


class ToolOutcome(NamedTuple):
    """What a call gave."""

    parts: Sequence[ResultPart]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool, and what runs it."""

    tool: Tool
    call: Callable[[dict[str, Any]], Awaitable[ToolOutcome]]
    """Raises what is wrong: a ``PolychatError`` with a message for the model and the person, or anything else."""
    fault: Callable[[dict[str, Any]], str | None]
    """What is wrong with the arguments of a call, before it is asked for."""
    server: str = ""
    """The MCP server that it is from; empty for a Python function."""


class Toolbox:
    """The tools of a conversation, by the source that was named: a module or a server. Each has a name of its own."""

    def __init__(self) -> None:
        self._sources: dict[str, dict[str, OfferedTool]] = {}

    @property
    def tools(self) -> dict[str, OfferedTool]:
        """By the names that the model knows."""
        return {name: tool for tools in self._sources.values() for name, tool in tools.items()}

    @property
    def sources(self) -> Mapping[str, Mapping[str, OfferedTool]]:
        return self._sources

    def add(self, source: str, tools: Iterable[OfferedTool]) -> None:
        """Raises ``BadInput`` for a source that is there. A name that is taken gets that of its server before it."""
        self.check_new(source)
        taken = set(self.tools)
        added: dict[str, OfferedTool] = {}
        for tool in tools:
            name = _free_name(tool, taken)
            taken.add(name)
            added[name] = replace(tool, tool=replace(tool.tool, name=name))
        self._sources[source] = added

    def check_new(self, source: str) -> None:
        """Raises ``BadInput`` for a source that is there."""
        if source in self._sources:
            raise BadInput(f"the tools of {redact(source, 60)} are there already", field="tools")

    def remove(self, source: str) -> None:
        """Raises ``BadInput`` for one that is not there."""
        if self._sources.pop(source, None) is None:
            there = ", ".join(self._sources) or "none"
            raise BadInput(f"there are no tools of {redact(source, 60)}; there are those of: {there}", field="tools")


def _free_name(tool: OfferedTool, taken: set[str]) -> str:
    """In letters that every API takes."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", tool.tool.name)[:_NAME] or "tool"
    if name in taken and tool.server:
        name = f"{tool.server}__{name}"[:_NAME]
    number, base = 2, name
    while name in taken:
        name, number = f"{base[: _NAME - 4]}_{number}", number + 1
    return name


class Consent:
    """Whether calls may run: all of them, those that were allowed for good, or as the person answers."""

    def __init__(self, answer: Callable[[str], Awaitable[str | None]], *, allows_all: bool = False) -> None:
        """``answer`` gives what is typed after a question, and ``None`` where nobody can be asked."""
        self._answer = answer
        self._allows_all = allows_all
        self._always: set[str] = set()

    async def given(self, name: str) -> bool | None:
        """For a call of the tool; ``None`` where nobody can be asked."""
        if self._allows_all or name in self._always:
            return True
        typed = await self._answer("Call it? [y/N/always] ")
        if typed is not None and typed.lower() in ("a", "always"):
            self._always.add(name)
            return True
        return None if typed is None else typed.lower() in ("y", "yes")


class ToolRunner(NamedTuple):
    """What runs the calls of a conversation."""

    toolbox: Toolbox
    consent: Consent
    say: Say
    seconds: float

    async def results_of(self, calls: Sequence[ToolCall]) -> ChatMessage:
        """One after another, as the message that follows the reply."""
        # Where an API has no mark for a failed call, which is a loss, the text of each of these says that it failed.
        warnings.filterwarnings("ignore", r"parts\.result\.error", LossWarning)
        return ChatMessage("tool", [await self.result_of(call) for call in calls])

    async def result_of(self, call: ToolCall) -> ToolResult:
        """Show a call, run it if it is allowed, and give what the model gets: a value, or what went wrong."""
        tool = self.toolbox.tools.get(call.name)
        values, fault = _arguments(call)
        if tool is None:
            fault = f"there is no tool {call.name}"
        elif not fault:
            fault = tool.fault(values) or ""
        source = f" from {tool.server}" if tool is not None and tool.server else ""
        self.say(f"{redact(call.name, _LONGEST_NAME)}({_words(values, call)}){source}", "tool")
        if tool is None or fault:
            return self._failed(call, fault)
        allowed = await self.consent.given(call.name)
        if allowed is None:
            self.say("not called: there is no terminal to confirm it on; --yes allows all calls", "note")
        return await self._run(call, tool, values) if allowed else self._failed(call, "the user declined this call")

    async def _run(self, call: ToolCall, tool: OfferedTool, values: dict[str, Any]) -> ToolResult:
        try:
            async with asyncio.timeout(self.seconds):
                outcome = await tool.call(values)
        except TimeoutError:
            return self._failed(call, f"it has not returned within {self.seconds:g} s")
        except PolychatError as error:
            return self._failed(call, str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the model gets it, whatever it is
            return self._failed(call, f"{type(error).__name__}: {error}")
        parts = _bounded(outcome.parts)
        if outcome.is_error:
            words = _first_words(parts)
            self.say(f"{call.name} failed: {words}", "note")
            parts = parts if "error" in words.lower() else [TextPart("error:"), *parts]
        return ToolResult(call.id, parts, call.name, is_error=outcome.is_error)

    def _failed(self, call: ToolCall, fault: str) -> ToolResult:
        self.say(_visible(redact(f"{call.name}: {fault}", 500)), "note")
        return ToolResult(call.id, [TextPart(fault[:LONGEST])], call.name, is_error=True)


def seconds_of(timeout: float | None) -> float:
    """Those of ``--tool-timeout``. Raises ``BadInput``."""
    if timeout is None:
        return SECONDS
    if not (timeout > 0 and math.isfinite(timeout)):
        raise BadInput(f"--tool-timeout {timeout:g} must be a number of seconds above 0", field="tool_timeout")
    return timeout


def _arguments(call: ToolCall) -> tuple[dict[str, Any], str]:
    """The values, and what is wrong with them."""
    try:
        values = decoded((call.arguments or "{}").encode())
    except ValueError as error:
        return {}, f"the arguments are not JSON: {error}"
    if not isinstance(values, dict):
        return {}, "the arguments are not a JSON object"
    return values, ""


def _words(values: Mapping[str, Any], call: ToolCall) -> str:
    """The arguments as one reads them, all of them: they are what is confirmed. What a terminal does not show is escaped."""
    if values:
        return _visible(", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()))
    return "" if call.arguments.strip() in ("", "{}") else _visible(call.arguments)


def _visible(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _first_words(parts: Sequence[ResultPart]) -> str:
    text = next((part.text for part in parts if isinstance(part, TextPart)), "without a reason")
    return _visible(redact(" ".join(text[:2000].split()), 200))


def _bounded(parts: Iterable[ResultPart]) -> list[TextPart | ImagePart | FilePart]:
    """With as much text as a result may have."""
    left, kept, cut = LONGEST, list[ResultPart](), 0
    for part in parts:
        if isinstance(part, TextPart):
            cut += max(0, len(part.text) - left)
            part = TextPart(part.text[:left])  # noqa: PLW2901
            left -= len(part.text)
        kept.append(part)
    if cut:
        kept.append(TextPart(f"\n(the rest of the result, {cut:,} characters, is left out)"))
    return kept


async def in_own_thread(work: Callable[[], T]) -> T:
    """What ``work`` gives or raises. Its thread cannot be ended, and does not keep the command from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(value)  # type: ignore[arg-type]  # without an error there is one

    def run() -> None:
        value, error = None, None
        try:
            value = work()
        except (Exception, SystemExit) as failure:  # noqa: BLE001  # it is raised where it is awaited
            error = RuntimeError("StopIteration") if isinstance(failure, StopIteration) else failure
        with suppress(RuntimeError):  # nobody waits any more, and the loop is closed
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name="polychat-tool", daemon=True).start()
    return await done
