"""Values of a stranger's JSON, checked as they are taken; every complaint is a ``BadInput`` that names the field."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Container
from typing import Any

from ...errors import BadInput, shown
from .names import Object

_NAMES = {str: "text", dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number"}


def bad(field: str, wanted: str, value: object) -> BadInput:
    """The complaint that ``field`` is not ``wanted``."""
    if value is None:
        return BadInput(f"{field} is missing: it is to be {wanted}", field=field)
    found = repr(shown(value, 60)) if isinstance(value, str) else _NAMES.get(type(value), "something else")
    return BadInput(f"{field} is {found}: it is to be {wanted}", field=field)


def record(value: object, field: str) -> Object:
    if isinstance(value, dict):
        return value
    raise bad(field, "an object", value)


def items(value: object, field: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise bad(field, "a list", value)


def text(value: object, field: str) -> str:
    if isinstance(value, str):
        return value
    raise bad(field, "text", value)


def optional_text(value: object, field: str) -> str | None:
    return None if value is None else text(value, field)


def flag(value: object, field: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise bad(field, "true or false", value)


def number(value: object, field: str) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise bad(field, "a number", value)


def whole(value: object, field: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise bad(field, "a whole number, 0 or more", value)


def strings(value: object, field: str) -> list[str]:
    return [text(item, f"{field}[{at}]") for at, item in enumerate(items(value, field))]


def rest(value: Object, known: Container[str]) -> Object | None:
    """What ``value`` says beyond the known fields; ``None`` where that is nothing."""
    return {name: item for name, item in value.items() if name not in known and item is not None} or None


def merged(body: Object, extra: Object) -> Object:
    """``body`` with what ``extra`` says beyond it: objects are joined, lists made longer, all else is as ``extra`` has it."""
    whole = dict(body)
    for name, value in extra.items():
        match whole.get(name), value:
            case dict(known), dict():
                whole[name] = merged(known, value)
            case list(known), list():
                whole[name] = [*known, *(item for item in value if item not in known)]
            case _:
                whole[name] = value
    return whole


def data_url(media_type: str | None, data: bytes) -> str:
    return f"data:{media_type or 'application/octet-stream'};base64,{b64encode(data).decode()}"


def from_data_url(url: str, field: str) -> tuple[bytes, str]:
    """The bytes and their media type. Raises ``BadInput`` for a ``data:`` URL that is not in base64."""
    head, comma, data = url[len("data:") :].partition(",")
    kind, _, coding = head.rpartition(";")
    if not comma or coding != "base64":
        raise BadInput(f"{field} is a data: URL, but not one in base64", field=field)
    return from_base64(data, field), kind or "text/plain"


def from_base64(data: str, field: str) -> bytes:
    try:
        return b64decode(data, validate=True)
    except ValueError as error:
        raise BadInput(f"{field} is not base64", field=field) from error
