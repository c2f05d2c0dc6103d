"""The vendors of one configuration: the built-in ones, and its own, which override them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..config import FILE, Config
from ..config.file_errors import FileErrors
from ..config.vendor_spec import VendorSpec, spec_of
from ..providers.catalogue import files
from .builtin import known
from .keys import distrusted


def rows_of(config: Config) -> Mapping[str, VendorSpec]:
    """The vendors of a configuration by name. Raises ``BadInput``."""
    if not config.providers:
        return known()
    errors = FileErrors(config.file or Path(FILE))
    rows = {}
    for name, table in config.providers.items():
        key = f"providers.{name}"
        if name in files():
            raise errors.error(key, "is the name of a built-in provider: choose another")
        rows[name] = spec_of(name, table, errors, key, known().get(name))
    if config.from_folder:
        rows = {name: row.replace(untrusted=frozenset(config.providers[name])) for name, row in rows.items()}
        for name, row in rows.items():
            if (refused := distrusted(row)) is not None:
                raise errors.error(f"providers.{name}.{refused[0]}", refused[1])
    return {**known(), **rows}
