"""Fields of a request, read strictly: what is not what it must be is ``BadInput`` that names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import BadInput


def item(value: object, field: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return value
    raise _wrong(value, field, "an object")


def several(value: object, field: str) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    raise _wrong(value, field, "a list")


def text(value: object, field: str) -> str:
    if isinstance(value, str):
        return value
    raise _wrong(value, field, "text")


def flag(value: object, field: str) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(value, field, "true or false")


def number(value: object, field: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise _wrong(value, field, "a number")


def whole(value: object, field: str) -> int:
    """A whole number; a float that is whole will do."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _wrong(value, field, "a whole number")


def _wrong(value: object, field: str, wanted: str) -> BadInput:
    found = "missing" if value is None else f"of type {type(value).__name__}"
    return BadInput(f"{field} is {found}; it must be {wanted}", field=field)
