"""Fields of a request that may be missing, or are to be one of several things; a complaint is a ``BadInput`` with the field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from ...errors import BadInput, shown
from .. import fields
from ..fields import several, text


def bad(field: str, wanted: str, value: object) -> BadInput:
    """The complaint that ``field`` is not ``wanted``."""
    if value is None:
        return BadInput(f"{field} is missing: it is to be {wanted}", field=field)
    found = repr(shown(value, 60)) if isinstance(value, str) else str(value) if isinstance(value, int) else type(value).__name__
    return BadInput(f"{field} is {found}: it is to be {wanted}", field=field)


def record(value: object, field: str) -> dict[str, Any]:
    return cast(dict[str, Any], fields.item(value, field))  # JSON's objects are dicts


def optional_text(value: object, field: str) -> str | None:
    return None if value is None else text(value, field)


def strings(value: object, field: str) -> list[str]:
    return [text(item, f"{field}[{at}]") for at, item in enumerate(several(value, field))]


def optional_flag(value: object, field: str) -> bool | None:
    return None if value is None else fields.flag(value, field)


def optional_number(value: object, field: str) -> float | None:
    return None if value is None else fields.number(value, field)


def optional_count(value: object, field: str) -> int | None:
    """A whole number that is not negative."""
    if value is None:
        return None
    if (count := fields.whole(value, field)) < 0:
        raise bad(field, "0 or more", value)
    return count


def rest(value: dict[str, Any], known: Iterable[str]) -> dict[str, Any] | None:
    """What ``value`` says beyond the known fields; ``None`` where that is nothing."""
    return {name: item for name, item in value.items() if name not in known and item is not None} or None


def cache_of(block: dict[str, Any], known: Iterable[str], where: str) -> tuple[str | None, dict[str, Any] | None]:
    """How long the block may be cached, and its extra."""
    extra = rest(block, (*known, "cache_control"))
    if (mark := block.get("cache_control")) is None:
        return None, extra
    control = record(mark, f"{where}.cache_control")
    cache = optional_text(control.get("ttl"), f"{where}.cache_control.ttl") or "5m"
    kind = control.get("type")
    if kind != "ephemeral":
        raise bad(f"{where}.cache_control.type", "ephemeral", kind)
    if (more := rest(control, ("type", "ttl"))) is not None:
        extra = {**(extra or {}), "cache_control": more}
    return cache, extra
