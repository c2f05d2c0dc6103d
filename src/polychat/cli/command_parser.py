"""A parser of arguments that names the nearest word for one that is mistyped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ..errors import redact


class CommandParser(argparse.ArgumentParser):
    """As argparse's, of which its subcommands are too."""

    _words: Sequence[str] = ()
    """What is read at present."""

    def parse_known_args(  # type: ignore[override]  # argparse's has overloads for a namespace of any class
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        self._words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raises ``argparse.ArgumentError`` for a value that is none of the action's choices.

        Behind an option that does not exist it is most likely that option's value: then the option is named.
        """
        if action.choices is None or value in action.choices:
            return
        if not action.option_strings and (option := self._unknown_before(value)):
            self.refuse_unknown([], [option])
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

    def _unknown_before(self, value: object) -> str:
        """The option that stands directly before a value, if there is none of this name; else empty."""
        places = [place for place, word in enumerate(self._words) if word == value and place]
        before = self._words[places[0] - 1] if places else ""
        known = any(option.startswith(before) for option in self._option_string_actions)
        return before if before.startswith("--") and before != "--" and "=" not in before and not known else ""

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
