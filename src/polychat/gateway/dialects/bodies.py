"""The bodies of requests, opened: their top-level fields, each still JSON, and a body made of such fields."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from secrets import token_hex
from typing import Any, TypeAlias, TypeVar

import msgspec

from ...config.settings import Limits
from ...errors import BadInput, redact
from ...wire import checks
from ...wire.json_text import TooDeep, check_depth, check_utf8, encoded, without_lone_surrogates
from ...wire.long_strings import LEAST
from ...wire.placeholders import Placeholders, with_placeholders
from ...wire.raw_schemas import WITH_SCHEMAS

Object = dict[str, Any]
Opened: TypeAlias = tuple[bytes, Object, Placeholders | None]
_SHALLOW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_VALUE = msgspec.json.Decoder()
_LISTED = msgspec.json.Decoder(list[msgspec.Raw])
_MESSAGE_FIELDS = ("messages", "input", "contents")
_LARGE = frozenset(
    (*_MESSAGE_FIELDS, "images", "system", "systemInstruction", "system_instruction", "instructions", "prompt", *WITH_SCHEMAS)
)
"""Fields of which parts may be detached: they are only read and written again."""
new_token = partial(token_hex, 12)
_Read = TypeVar("_Read")


def open_body(body: bytes, limits: Limits) -> Opened:
    """The body, its fields as ``shallow`` returns them, and the detached parts of both. Raises ``BadInput``."""
    if len(body) <= LEAST:  # as most are
        is_flat = body.count(b"{") + body.count(b"[") <= limits.depth
        try:
            if is_flat and body.isascii() and len(body) <= 2 * limits.messages:  # no limit can be exceeded
                return body, _SHALLOW.decode(body), None
            return body, shallow(body, limits), None
        except (BadInput, msgspec.DecodeError, RecursionError):
            pass  # it may be a body that is read leniently
    return leniently(partial(_opened, limits=limits), body)


def leniently(read: Callable[[bytes], _Read], body: bytes) -> _Read:
    """The result of ``read`` for a body, or for the body with U+FFFD for half an emoji. Raises ``BadInput`` as ``read``.

    JavaScript programs may cut texts within an emoji, and JSON can contain that.
    """
    try:
        return read(body)
    except BadInput:
        if (whole := without_lone_surrogates(body)) == body:
            raise
    return read(whole)


def _opened(body: bytes, limits: Limits) -> Opened:
    aside = with_placeholders(body, new_token) if len(body) > LEAST else None
    while aside is not None:
        try:
            fields = shallow(aside.short, limits)
        except BadInput:
            break  # the error refers to the original body
        settings = [aside.numbers_in(value) for name, value in fields.items() if name not in _LARGE]
        if not any(settings):
            return aside.short, fields, aside
        aside = aside.without(set().union(*settings))
    return body, shallow(body, limits), None


def shallow(body: bytes, limits: Limits) -> Object:
    """The fields of a JSON object, their values unread. Raises ``BadInput``: no JSON, too deep, too many messages."""
    check_body(body, limits)
    try:
        fields: Object = _SHALLOW.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(f"the body is not a JSON object: {redact(str(error)) or 'it is empty'}", field="body") from None
    if len(body) > 2 * limits.messages:  # a shorter body cannot have too many
        for name in _MESSAGE_FIELDS:
            if (
                name in fields
                and memoryview(fields[name])[0] == ord("[")
                and len(_LISTED.decode(fields[name])) > limits.messages
            ):
                raise BadInput(
                    f"{name} has more than {limits.messages:,} messages, which is the limit (gateway.limits.messages): "
                    "send fewer",
                    field=name,
                )
    return fields


def readable(body: bytes, limits: Limits) -> bytes:
    """A body that is read whole, as received or as ``leniently`` changes it. Raises ``BadInput`` as ``shallow``."""

    def looked_at(data: bytes) -> bytes:
        shallow(data, limits)
        return data

    return leniently(looked_at, body)


def check_body(body: bytes, limits: Limits) -> None:
    """For a body that is read whole, with ``OPENED``. Raises ``BadInput`` if it is not UTF-8 or too deep."""
    try:
        check_utf8(body)
        check_depth(body, limits.depth)
    except TooDeep as error:
        raise BadInput(
            f"the body is {error}, which is the limit (gateway.limits.depth): send a flatter one", field="body"
        ) from None
    except UnicodeDecodeError as undecoded:
        raise BadInput(f"the body is not UTF-8 (byte {undecoded.start})", field="body") from None


def value_of(fields: Object, name: str) -> Any:
    """The value of a field that ``shallow`` returned; ``None`` if the field is absent. Raises ``BadInput``."""
    if name not in fields:
        return None
    try:
        return _VALUE.decode(fields[name])
    except ValueError as error:
        raise checks.invalid_json(error, bytes(fields[name]), name) from None


def with_model(fields: Object, model: str | None) -> bytes:
    """A body with this model (``None``: without one) and no second one: some servers read ``Model`` as ``model``."""
    members = fields if model is None else {**fields, "model": model}
    if model is not None and len(set(map(str.lower, members))) == len(members):
        return encoded(members)
    for name in members:
        if len(name) == 5 and (name != "model" or model is None) and name.lower() == "model":
            return encoded(
                {name: value for name, value in members.items() if name.lower() != "model" or (name == "model" and model)}
            )
    return encoded(members)
