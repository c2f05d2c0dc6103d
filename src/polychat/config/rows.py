"""A vendor as a row of data: where it is, which wire it speaks, what it knows; in vendors.toml and in polychat.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ._strict import Strict

HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
"""Headers that can carry a key; the first as ``Bearer``."""

CAN = (
    *("tools", "schema", "json", "images", "audio", "files", "reasoning", "seed", "logprobs", "n", "stop"),
    *("penalties", "top_k", "parallel_tools", "cache"),
)
"""What a row may say its vendor can do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One vendor."""

    name: str
    """As targets say it: ``groq``."""
    wire: str
    """``openai-chat``, ``anthropic``, …"""
    base_url: str
    """What the wire's paths are put after; ``{name}`` stands for one of ``params``."""
    title: str = ""
    key: tuple[str, ...] = ()
    """Environment variables that hold the key, the first found wins."""
    key_optional: bool = False
    header: str = "authorization"
    """Which header carries the key; ``authorization`` as ``Bearer``."""
    models: str = "/models"
    """Where the models' list is, after the base URL; empty where there is none."""
    models_shape: str = ""
    """Whose shape the list has, where it is not the wire's."""
    embeddings: bool = False
    can: tuple[str, ...] = ()
    """What the vendor's documentation says that its models can, some of them."""
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    """Environment variables by the placeholder in ``base_url`` that each fills."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Fields of a request that this vendor knows by another name."""
    drop: Mapping[str, str] = field(default_factory=dict)
    """Fields of a request that this vendor refuses or passes over, and why."""
    message_drop: tuple[str, ...] = ()
    """Fields of a message that this vendor refuses."""
    reasoning: str = ""
    """The field that carries thoughts, where it is not the wire's."""
    stream_usage: bool = True
    """Whether usage at a stream's end can be asked for."""
    source: str = ""
    """The public page that says so."""
    checked: str = ""
    note: str = ""
    api_key: str = ""
    """A reference to the key, in polychat.toml only: ``env:NAME``, ``file:PATH``, ``keyring:NAME``."""


_FIELDS = {column.name: str(column.type) for column in fields(Row) if column.name != "name"}


def row_of(name: str, table: object, strict: Strict, key: str, base: Row | None = None) -> Row:
    """The row that a table says, over ``base`` where the vendor is known already. Raises ``BadInput``."""
    values = _values(strict.table(table, key), strict, key)
    for wanted in ("wire", "base_url"):
        if base is None and wanted not in values:
            raise strict.error(key, f"has no {wanted}: a vendor of your own needs wire and base_url")
    row = replace(base, **values) if base is not None else Row(name, **values)
    if row.header not in HEADERS:
        raise strict.error(f"{key}.header", f"is {row.header!r}; it must be one of {', '.join(HEADERS)}")
    strict.known(row.can, CAN, f"{key}.can: ")
    if row.api_key and row.api_key.partition(":")[0] not in ("env", "file", "keyring"):
        # What stands there may be the key itself: it is not shown.
        raise strict.error(f"{key}.api_key", "must be a reference: env:NAME, file:PATH or keyring:NAME")
    return row


def _values(table: Mapping[str, Any], strict: Strict, key: str) -> dict[str, Any]:
    strict.known(table, _FIELDS, f"{key}.")
    readers = {"str": strict.text, "bool": strict.flag, "tuple[str, ...]": strict.texts, "Mapping[str, str]": strict.pairs}
    return {name: readers[_FIELDS[name]](value, f"{key}.{name}") for name, value in table.items()}
