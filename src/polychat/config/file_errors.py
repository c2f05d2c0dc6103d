"""Errors about a file of TOML: each names the file, the line and the key, what was expected, and what is near."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import BadInput, redact
from .places import line_of


class FileErrors:
    """Makes errors about one file; ``text`` is its content, where that has been read already."""

    def __init__(self, file: Path, text: str | None = None) -> None:
        self.file = file
        self._text = text

    def known(self, table: Iterable[str], keys: Sequence[str], prefix: str) -> None:
        """Raises ``BadInput`` for the first key of a table that is not known, with the nearest that is."""
        for name in table:
            if name not in keys:
                hint = near(name, keys) or f"known keys: {', '.join(keys)}"
                raise self.error(f"{prefix}{name}", f"is not a known key; {hint}")

    def choice(self, value: str, key: str, choices: Sequence[str]) -> None:
        """Raises ``BadInput`` where a value is none of ``choices``."""
        if value not in choices:
            raise self.error(key, f"is {quoted(value)}; it must be {listed(choices)}{near(value, choices, '; ')}")

    def path(self, kind: type, value: object) -> Path:
        """The absolute path that a file means: relative ones are relative to it, ``~`` is the home. Raises ``ValueError``.

        ``kind`` is ``Path``, the one type that msgspec does not decode itself.
        """
        if not isinstance(value, str) or not value:
            raise ValueError("not the path of a file")
        # absolute() and not resolve(): a symbolic link to the file of the day is the person's to keep.
        return self.file.absolute().parent / os.path.expanduser(value)

    def error(self, key: str, predicate: str) -> BadInput:
        """The error about ``key``; ``predicate`` ends the sentence that the key begins."""
        line = self._line(key)
        return BadInput(f"{self.file}{f':{line}' if line else ''}: {key} {predicate}", field=key)

    def _line(self, key: str) -> int | None:
        if self._text is None:
            try:
                self._text = self.file.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError):
                return None  # it has gone meanwhile: the key alone has to do
        return line_of(self._text, key)


def quoted(value: object) -> str:
    """A value as TOML writes it, shortened, and without what looks like a credential."""
    return redact(json.dumps(value, ensure_ascii=False, default=str), 80)


def bounds(least: float | None, most: float | None) -> str:
    """`` from 0 to 65535``, `` of at least 1``, or nothing."""
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return f" of at least {least}" if least is not None else f" of at most {most}" if most is not None else ""


def listed(words: Sequence[str]) -> str:
    """``"human", "json" or "off"``."""
    *others, last = map(quoted, words)
    return f"{', '.join(others)}{' or ' if others else ''}{last}"


def near(name: object, words: Iterable[str], before: str = "") -> str:
    """A question with the most similar word after ``before``; empty if there is none."""
    nearest = difflib.get_close_matches(name[:256], list(words), n=1) if isinstance(name, str) else ()
    return f"{before}did you mean {nearest[0]}?" if nearest else ""
