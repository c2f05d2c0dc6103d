"""Reads fields of a request strictly: a value that is not valid raises ``BadInput``, which names the field."""

from __future__ import annotations

import sys
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from typing import Any
from urllib.parse import quote

from ..errors import BadInput, redact
from ..types import ChatRequest, ToolCall
from .json_text import TooDeep, check_depth, is_raw, object_in, out_of_range, raw, without_lone_surrogates
from .limits import ReaderLimits
from .raw_schemas import decoded_request

_LONG = 256
"""Bits of a whole number above which an error does not show it."""


def bad(field: str, wanted: str, value: object) -> BadInput:
    """The ``BadInput`` for a ``field`` that is not ``wanted``."""
    if value is None:
        shown_value = "missing"
    elif isinstance(value, str):
        shown_value = repr(redact(value, 60))
    elif isinstance(value, (int, float)):
        shown_value = str(value) if isinstance(value, float) or value.bit_length() < _LONG else "a very large number"
    else:
        shown_value = f"of type {type(value).__name__}"
    return BadInput(f"{field} is {shown_value}; it must be {wanted}", field=field)


def item(value: object, field: str) -> Mapping[str, Any]:
    if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101  # a dict is recognised at once
        for name in value:
            if not isinstance(name, str):
                break
        else:
            return value
    raise bad(field, "an object", value)


def json_object(body: bytes, limits: ReaderLimits) -> dict[str, Any]:
    """The JSON object in a request's body, within ``limits``. Raises ``BadInput`` for the field ``body``."""
    try:
        value = decoded_request(body, limits)
    except ValueError as error:
        raise invalid_json(error, body, "body") from None
    return record(value, "body")


def invalid_json(error: ValueError, data: bytes, field: str) -> BadInput:
    """The ``BadInput`` for a field, or the ``body``, whose JSON cannot be decoded because of ``error``."""
    name = "the body" if field == "body" else field
    if isinstance(error, TooDeep):
        return BadInput(f"{name} is {error}: send a flatter one", field=field)
    if (place := out_of_range(error, data)) is None:
        return BadInput(f"{name} is not JSON: {redact(str(error))}", field=field)
    if place:
        name = field = redact(place if field == "body" else f"{field}.{place}", 60)
    return BadInput(f"a number in {name} is out of range: the largest is {_LARGEST:.2g}", field=field)


_LARGEST = sys.float_info.max


def several(value: object, field: str) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    raise bad(field, "a list", value)


def text(value: object, field: str) -> str:
    if isinstance(value, str):
        return value
    raise bad(field, "text", value)


def flag(value: object, field: str) -> bool:
    if isinstance(value, bool):
        return value
    raise bad(field, "true or false", value)


def number(value: object, field: str) -> int | float:
    """A number, which stays whole if it is: a ``float`` alone would be written as ``1.0`` by the compiled build."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST:  # not NaN either
        return value
    raise bad(field, "a number", value)


def whole(value: object, field: str) -> int:
    """A whole number; a float without a fraction is accepted."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise bad(field, "a whole number", value)


def count(value: object, field: str) -> int:
    """A whole number that is not negative."""
    if (whole_number := whole(value, field)) < 0:
        raise bad(field, "0 or more", value)
    return whole_number


def record(value: object, field: str) -> dict[str, Any]:
    """A JSON object, as a dict."""
    entries: Any = item(value, field)
    checked: dict[str, Any] = entries
    return checked


def strings(value: object, field: str) -> list[str]:
    return [text(entry, f"{field}[{place}]") for place, entry in enumerate(several(value, field))]


def text_or_texts(value: object, field: str) -> list[str]:
    """One text, or a list of texts."""
    if isinstance(value, str):
        return [value]
    return [text(entry, f"{field}[{place}]") for place, entry in enumerate(several(value, field))]


def pairs(value: object, field: str) -> dict[str, str]:
    """A text for each name."""
    return {name: text(entry, f"{field}.{name}") for name, entry in item(value, field).items()}


def weights(value: object, field: str) -> dict[str, int | float]:
    """A number for each name."""
    return {name: number(entry, f"{field}.{name}") for name, entry in item(value, field).items()}


def optional_text(value: object, field: str) -> str | None:
    return None if value is None else text(value, field)


def optional_flag(value: object, field: str) -> bool | None:
    return None if value is None else flag(value, field)


def optional_count(value: object, field: str) -> int | None:
    """A whole number that is not negative."""
    return None if value is None else count(value, field)


def arguments_of(call: ToolCall, path: str) -> Any:
    """The arguments of an earlier call as the object that they encode, as ``object_in`` returns it; no arguments are ``{}``.

    Half an emoji in them becomes U+FFFD, because some APIs reject other JSON. Raises ``BadInput``.
    """
    if not call.arguments.strip():
        return {}
    value = object_in(call.arguments)
    if value is None:
        raise BadInput(
            f"{path}.arguments, for the tool {redact(call.name, 60)}, are not a JSON object: {redact(call.arguments)}",
            field=f"{path}.arguments",
        )
    return raw(without_lone_surrogates(bytes(value))) if is_raw(value) else value


def check_arguments(request: ChatRequest, depth: int) -> None:
    """Raises ``BadInput`` if the arguments of an earlier call are nested deeper than ``depth`` (``gateway.limits.depth``)."""
    for message in request.messages:
        for part in message.parts:
            if type(part) is ToolCall and len(part.arguments) > depth:
                try:
                    check_depth(part.arguments.encode("utf-8", "replace"), depth)
                except TooDeep as error:
                    raise BadInput(
                        f"the arguments for the tool {redact(part.name, 60)} are {error}, which is the limit "
                        "(gateway.limits.depth): send flatter ones",
                        field="arguments",
                    ) from None


def in_path(model: str) -> str:
    """A model's name as segments of a URL's path. Raises ``BadInput`` for a name that could lead to another path."""
    if any(step in ("", ".", "..") for step in model.split("/")):
        raise BadInput(f"model is {redact(model, 60)!r}; it must be a model's name", field="model")
    return quote(model, safe="/:@")


USER = 64
"""Maximum characters of the ``user`` field at the APIs."""


def short_name(user: str) -> str:
    """The ``user`` field; if it is too long for the APIs, its hash, which is always the same and hides the value."""
    return user if len(user) <= USER else sha256(user.encode("utf-8", "replace")).hexdigest()


def from_base64(value: object, field: str) -> bytes:
    encoded_text = text(value, field)
    try:
        return a2b_base64(encoded_text, strict_mode=True)  # unchanged: b64decode would copy the text first
    except ValueError:
        raise BadInput(f"{field} is not base64", field=field) from None


def data_url(media_type: str | None, data: bytes) -> str:
    head = f"data:{media_type or 'application/octet-stream'};base64,".encode()
    return (head + b64encode(data)).decode()  # at most two copies at a time, not three


def from_data_url(url: str, field: str) -> tuple[str, bytes]:
    """Media type and bytes."""
    comma = url.find(",")
    head = url[: max(comma, 0)]
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise BadInput(f"{field} must be data:TYPE;base64,…", field=field)
    kind = head[5:-7].partition(";")[0] or "application/octet-stream"
    if len(url) <= _PIECE:
        return kind, from_base64(url[comma + 1 :], field)
    return kind, _in_pieces(url, comma + 1, field)


_PIECE = 1 << 20
"""Characters of base64 that are decoded together: a multiple of four."""


def _in_pieces(text: str, begin: int, field: str) -> bytes:
    """As ``from_base64`` for the text from ``begin`` on, without copying it."""
    whole = BytesIO()
    for at in range(begin, len(text), _PIECE):
        data = from_base64(text[at : at + _PIECE], field)
        if len(data) < _PIECE // 4 * 3 and at + _PIECE < len(text):
            raise BadInput(f"{field} is not base64", field=field)  # padding before its end
        whole.write(data)
    return whole.getvalue()
