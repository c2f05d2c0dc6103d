"""Reading TOML strictly: every error names the file, the line and the key, what was expected, and what is near."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadInput, redact
from .places import line_of

REFERENCES = ("env", "file", "keyring")


class Strict:
    """Knows which file it reads, for the errors; ``text`` is what stands in it, where that is known already."""

    def __init__(self, file: Path, text: str | None = None) -> None:
        self.file = file
        self._text = text

    def table(self, value: object, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(key, f"is {said(value)}; it must be a table: [{key}]")
        return value

    def known(self, table: Iterable[str], known: Iterable[str], prefix: str) -> None:
        for name in table:
            if name not in known:
                hint = _near(name, known) or f"known keys: {', '.join(known)}"
                raise self.error(f"{prefix}{name}", f"is not a known key; {hint}")

    def text(self, value: object, key: str) -> str:
        if not isinstance(value, str):
            raise self.error(key, f"is {said(value)}; it must be text")
        return value

    def flag(self, value: object, key: str) -> bool:
        if not isinstance(value, bool):
            raise self.error(key, f"is {said(value)}; it must be true or false")
        return value

    def whole(self, value: object, key: str, least: float | None = None, most: float | None = None) -> int:
        """An ``int``, and no ``bool``."""
        if isinstance(value, bool) or not isinstance(value, int) or not _within(value, least, most):
            raise self.error(key, f"is {said(value)}; it must be a whole number{bounds(least, most)}")
        return value

    def number(self, value: object, key: str, least: float | None = None, most: float | None = None) -> float:
        """A ``float``; a whole number is taken for one."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not _within(value, least, most):
            raise self.error(key, f"is {said(value)}; it must be a number{bounds(least, most)}")
        return float(value)

    def choice(self, value: object, key: str, choices: Sequence[str]) -> str:
        if not isinstance(value, str) or value not in choices:
            *others, last = (said(choice) for choice in choices)
            near = _near(value, choices) if isinstance(value, str) else ""
            hint = f"; {near}" if near else ""
            raise self.error(key, f"is {said(value)}; it must be {', '.join(others)}{' or ' if others else ''}{last}{hint}")
        return value

    def path(self, value: object, key: str) -> Path:
        """Absolute: relative ones are relative to the file, ``~`` is the home."""
        if not isinstance(value, str) or not value:
            raise self.error(key, f"is {said(value)}; it must be the path of a file")
        # absolute() and not resolve(): a symbolic link to the file of the day is the person's to keep.
        return self.file.absolute().parent / os.path.expanduser(value)

    def reference(self, value: object, key: str) -> str:
        """Where a secret is. What stands there may be the secret itself: it is not shown."""
        kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
        if kind not in REFERENCES or not name:
            raise self.error(key, "must be a reference to the secret: env:NAME, file:PATH or keyring:NAME")
        return f"{kind}:{name}"

    def texts(self, value: object, key: str) -> tuple[str, ...]:
        """A list of text; one text alone is a list of it."""
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.error(key, f"is {said(value)}; it must be a list of text")
        return tuple(found)

    def pairs(self, value: object, key: str) -> Mapping[str, str]:
        """A table of text. Only the entry at fault is shown: others may hold what is nobody's business."""
        if not isinstance(value, dict):
            raise self.error(key, f'is {said(value)}; it must be a table of text: {{ name = "value" }}')
        return {name: self.text(item, f"{key}.{name}") for name, item in value.items()}

    def error(self, key: str, what: str) -> BadInput:
        line = self._line(key)
        return BadInput(f"{self.file}{f':{line}' if line else ''}: {key} {what}", field=key)

    def _line(self, key: str) -> int | None:
        if self._text is None:
            try:
                self._text = self.file.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError):
                return None  # it has gone meanwhile: the key alone has to do
        return line_of(self._text, key)


def said(value: object) -> str:
    """A value as TOML says it, shortened, and without what looks like a credential."""
    return redact(json.dumps(value, ensure_ascii=False, default=str), 80)


def bounds(least: float | None, most: float | None) -> str:
    """`` from 0 to 65535``, `` of at least 1``, or nothing."""
    if least is not None and most is not None:
        return f" from {least} to {most}"
    return f" of at least {least}" if least is not None else f" of at most {most}" if most is not None else ""


def _within(value: float, least: float | None, most: float | None) -> bool:
    return math.isfinite(value) and (least is None or value >= least) and (most is None or value <= most)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name[:256], list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""
