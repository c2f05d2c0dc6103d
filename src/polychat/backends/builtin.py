"""The built-in vendors: the rows of vendors.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ..config.file_errors import FileErrors
from ..config.vendor_spec import VendorSpec, spec_of

_FILE = Path(__file__).with_name("vendors.toml")


@cache
def known() -> Mapping[str, VendorSpec]:
    """Each vendor's row by name."""
    content = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    errors = FileErrors(_FILE)
    return {name: spec_of(name, table, errors, name) for name, table in content.items()}
