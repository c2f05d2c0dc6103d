"""A parser of arguments that names the nearest word for one that is mistyped."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ..errors import redact


class CommandParser(argparse.ArgumentParser):
    """As argparse's, of which its subcommands are too."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raises ``argparse.ArgumentError`` for a value that is none of the action's choices."""
        if action.choices is None or value in action.choices:
            return
        words = [str(choice) for choice in action.choices]
        listed = ", ".join(words)
        raise argparse.ArgumentError(action, f"there is no {_shown(value)}{_guess(value, words)} (there are: {listed})")

    def refuse_unknown(self, words: Sequence[str], unknown: Sequence[str]) -> NoReturn:
        """Exit with 2 and name what ``words`` has that no argument takes, with the nearest option of its command."""
        *_, command = self._along(words)
        first = unknown[0].partition("=")[0]
        options = [option for action in command._actions for option in action.option_strings if option.startswith("--")]
        guess = _guess(first, options) if first.startswith("-") else ""
        what = "option" if first.startswith("-") else "argument"
        command.error(f"there is no {what} {_shown(first)}{guess}")

    def _along(self, words: Sequence[str]) -> Iterator[CommandParser]:
        """This parser, and those of the subcommands that the words name."""
        yield self
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for number, word in enumerate(words):
                    if word in action.choices:
                        yield from action.choices[word]._along(words[number + 1 :])
                        return


def _shown(word: object) -> str:
    return repr(redact(str(word), 80))


def _guess(word: object, words: Sequence[str]) -> str:
    from ..config.file_errors import near  # takes time, and is needed for mistakes alone

    return near(str(word), words, "; ")
