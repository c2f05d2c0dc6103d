"""What stands for a client's key where people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_NAME = 48
"""Characters of the longest name."""


def key_labels(keys: Sequence[tuple[str, str]]) -> list[str]:
    """Of keys, each an id and a name or an empty text: the name, with the id if another has the name too; else the id."""
    labels = {key_id: shortened(name) or key_id for key_id, name in keys}
    counts = Counter(labels.values())
    return [labels[key_id] if counts[labels[key_id]] == 1 else f"{labels[key_id]} ({key_id})" for key_id, _ in keys]


def shortened(name: str) -> str:
    """A name in at most ``_NAME`` characters."""
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
