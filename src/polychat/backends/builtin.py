"""The vendors that polychat brings: the rows of vendors.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ..config.rows import Row, row_of
from ..config.strict import Strict

_FILE = Path(__file__).with_name("vendors.toml")


@cache
def known() -> Mapping[str, Row]:
    """Each vendor's row by its name."""
    content = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    strict = Strict(_FILE)
    return {name: row_of(name, table, strict, name) for name, table in content.items()}
