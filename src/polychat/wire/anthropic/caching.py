"""Cache marks, which most objects of this wire may have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..checks import bad, optional_text, record
from ..extras import rest


def cache_of(block: dict[str, Any], known: Iterable[str], path: str) -> tuple[str | None, dict[str, Any] | None]:
    """How long the block may be cached, and the rest of its mark as extra."""
    extra = rest(block, (*known, "cache_control"))
    if (mark := block.get("cache_control")) is None:
        return None, extra
    control = record(mark, f"{path}.cache_control")
    cache = optional_text(control.get("ttl"), f"{path}.cache_control.ttl") or "5m"
    kind = control.get("type")
    if kind != "ephemeral":
        raise bad(f"{path}.cache_control.type", "ephemeral", kind)
    if (further := rest(control, ("type", "ttl"))) is not None:
        extra = {**(extra or {}), "cache_control": further}
    return cache, extra
