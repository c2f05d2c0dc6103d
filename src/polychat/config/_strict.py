"""Reading TOML strictly: every error names the file and the key, and what is near."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import BadInput


class Strict:
    """Knows which file it reads, for the errors."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def table(self, value: object, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(key, f"is {value!r}; it must be a table: [{key}]")
        return value

    def known(self, table: Iterable[str], known: Iterable[str], prefix: str) -> None:
        for name in table:
            if name not in known:
                near = difflib.get_close_matches(name, list(known), n=1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
                raise self.error(f"{prefix}{name}", f"is not a key of polychat; {hint}")

    def text(self, value: object, key: str) -> str:
        if not isinstance(value, str):
            raise self.error(key, f"is {value!r}; it must be text")
        return value

    def flag(self, value: object, key: str) -> bool:
        if not isinstance(value, bool):
            raise self.error(key, f"is {value!r}; it must be true or false")
        return value

    def texts(self, value: object, key: str) -> tuple[str, ...]:
        """A list of text; one text alone is a list of it."""
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.error(key, f"is {value!r}; it must be a list of text")
        return tuple(found)

    def pairs(self, value: object, key: str) -> Mapping[str, str]:
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self.error(key, f'is {value!r}; it must be a table of text: {{ name = "value" }}')
        return value

    def error(self, key: str, what: str) -> BadInput:
        return BadInput(f"{self.file}: {key} {what}", field=key)
