"""``polychat usage`` and ``polychat gateway usage``."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import time
from typing import Any

from ..config.settings import State
from ..errors import BadInput
from ..gateway.process.source import ConfigSource
from ..gateway.storage import store_of, url_of
from ..state.usage_query import UsageQuery, rows_of
from . import ANSWERED, print_json
from .key_labels import key_labels, shortened

_NUMBERS = (
    "requests",
    "failed",
    "unpriced",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_usd",
)
_PATIENCE = 5.0


def run(arguments: argparse.Namespace) -> int:
    """Print the sums. Raises ``BadInput`` where nothing is kept, ``StoreUnavailable`` where the database is away."""
    texts = {name: value for name, value in vars(arguments).items() if isinstance(value, str)}
    query = UsageQuery.read(texts, time())
    store = store_of(kept_by(arguments.config), patience=_PATIENCE)
    try:
        rows = rows_of(store.usage(query.by, query.which), query.by, store)
    finally:
        store.close()
    if arguments.json:
        print_json(rows, indent=2)
    elif arguments.csv:
        names = ["name", "key_name"] if query.by == "key" else ["name"]
        writer = csv.DictWriter(sys.stdout, [*names, *_NUMBERS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        sys.stdout.writelines(f"{line}\n" for line in _table(query.by, rows))
    return ANSWERED


def kept_by(file: str | None) -> State:
    """The settings of the database. Raises ``BadInput`` where there is none: to look makes none."""
    settings = ConfigSource(Path(file) if file else None, {}).read().gateway.state or State()
    url = url_of(settings)
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        raise BadInput(
            "no usage is kept here: add [gateway.state] to polychat.toml and start the gateway", field="gateway.state"
        )
    return settings


def _table(by: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Columns with a header, and the total; columns of nothing but zeros are left out."""
    total = {name: sum(row[name] for row in rows) for name in _NUMBERS}
    columns = [name for name in _NUMBERS if name in ("requests", "cost_usd") or total[name]]
    lines = [[by, *(name.removesuffix("_tokens") for name in columns)]]
    names = key_labels([(shortened(row["name"]) or "-", row.get("key_name", "")) for row in rows])
    lines += [[label, *(_written(row, name) for name in columns)] for label, row in zip(names, rows, strict=True)]
    if len(rows) > 1:
        lines.append(["total", *(_written(total, name) for name in columns)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for name, *numbers in lines:
        yield "  ".join([name.ljust(widths[0]), *(text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True))])


def _written(row: dict[str, Any], name: str) -> str:
    """An unpriced request is no free one: a cost that leaves some out has a plus sign."""
    if name != "cost_usd":
        return f"{row[name]:,}"
    return f"{row[name]:,.4f}{'+' if row['unpriced'] else ''}"
