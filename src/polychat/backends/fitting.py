"""Changes a request's body for one vendor, by the vendor's row: fields are dropped, renamed and kept within limits.

The same for a body that was written here and for one that is passed through: of the latter only the changed fields are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from hashlib import sha256
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any

import msgspec

from ..config.vendor_spec import VendorSpec
from ..errors import BadInput, redact
from ..types import ChatRequest
from ..wire.checks import short_name
from ..wire.losses import Loss, is_default

if TYPE_CHECKING:
    from ..calls.info import CallInfo

Object = dict[str, Any]

_MESSAGES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_REASONING = ("reasoning_content",)
_PLAIN = frozenset(ascii_letters + digits)
_LETTERS = digits + ascii_letters


_BETWEEN = ("openai-chat", "openai-responses")
_ALONG = ("safety_identifier", "prompt_cache_key")
"""Fields with the same meaning on both of these wires."""
_TAKES_ALONG = ("openai", "openai-responses", "azure-openai", "azure-openai-responses", "openrouter")
"""Rows of vendors that support them; others may reject unknown fields."""


def shared_extra(request: ChatRequest, row: VendorSpec) -> tuple[ChatRequest, Object]:
    """The fields of ``extra`` that a vendor of OpenAI's other wire supports unchanged, and the request without them."""
    if request.wire == row.wire or request.wire not in _BETWEEN or row.wire not in _BETWEEN or row.name not in _TAKES_ALONG:
        return request, {}
    along: Object = {name: value for name in _ALONG if isinstance(value := request.extra.get(name), str)}
    if not along:
        return request, {}
    if "safety_identifier" in along:
        along["safety_identifier"] = short_name(along["safety_identifier"])
    return replace(request, extra={name: value for name, value in request.extra.items() if name not in along}), along


def changes(row: VendorSpec) -> bool:
    """Whether this vendor requires changes of any request."""
    limits = row.stops or row.call_id or not row.developer or row.one_system or row.assistant_after_tool or not row.stream_usage
    return bool(row.rename or row.drop or row.message_drop or row.reasoning or limits)


def fitted(body: Object, row: VendorSpec, call_info: CallInfo) -> Object:
    """The body for this vendor; fields that it does not support are recorded as losses."""
    title = row.title or row.name
    gone = [name for name in row.drop if name in body]
    if gone:
        call_info.add(
            [Loss(name, "dropped", f"{title}: {row.drop[name]}") for name in gone if not is_default(name, body[name])]
        )
        body = {name: value for name, value in body.items() if name not in row.drop}
    if not row.stream_usage:
        body.pop("stream_options", None)
    if row.stops and isinstance(stops := body.get("stop"), list) and len(stops) > row.stops:
        body["stop"] = stops[: row.stops]
        call_info.add([Loss("stop", "emulated", f"{title} accepts {row.stops} stop sequences: only the first are sent")])
    messages = body.get("messages")
    if isinstance(messages, list):
        body["messages"] = _messages(messages, row, call_info)
    if not row.rename:
        return body
    # A field that has the new name already was set by the caller.
    return {row.rename.get(name, name): value for name, value in body.items() if row.rename.get(name) not in body}


def continues_by_request(model: str, row: VendorSpec) -> bool:
    """Whether this vendor's model continues an assistant message at the end that ``prefill`` marks."""
    models = row.prefill_models
    return bool(row.prefill) and (not models or any(fnmatchcase(model, pattern) for pattern in models))


def prefilled(body: Object, model: str, row: VendorSpec) -> Object:
    """The body with its last message marked, if it is an assistant's text and the model continues it."""
    messages = body.get("messages")
    if not (isinstance(messages, list) and messages and continues_by_request(model, row)):
        return body
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant" or "tool_calls" in last:
        return body
    return {**body, "messages": [*messages[:-1], {row.prefill: True, **last}]}


def fitted_fields(fields: Mapping[str, Any], call_info: CallInfo, row: VendorSpec) -> Object:
    """The same for the fields of a body that is passed through, each still in JSON. Raises ``BadInput``."""
    body = dict(fields)
    for name in (*row.drop, "stop") if row.stops else row.drop:
        if name in body:
            body[name] = _value(body[name], name)
    if "messages" in body:
        messages = bytes(body["messages"])
        if _is_read(messages, row):
            body["messages"] = _value(messages, "messages")
        elif any(b'"%b"' % name.encode() in messages for name in (*row.message_drop, *(_REASONING if row.reasoning else ()))):
            body["messages"] = _value(messages, "messages", _MESSAGES)
    return fitted(body, row, call_info)


def _is_read(messages: bytes, row: VendorSpec) -> bool:
    """Whether messages must be read completely, and not only the names of their fields."""
    return bool(
        (row.call_id and b'"tool_call' in messages)
        or (row.assistant_after_tool and b'"tool"' in messages)
        or (not row.developer and b'"developer"' in messages)
        or (row.one_system and (b'"system"' in messages or b'"developer"' in messages))
    )


def _value(text: Any, name: str, decoder: Any = None) -> Any:
    try:
        return msgspec.json.decode(text) if decoder is None else decoder.decode(text)
    except msgspec.DecodeError as error:
        raise BadInput(f"{name} is not valid: {redact(str(error))}", field=name) from None


def _messages(messages: list[Object], row: VendorSpec, call_info: CallInfo) -> list[Object]:
    entries: list[Any] = messages
    for entry in entries:
        if not isinstance(entry, dict):
            return messages  # the vendor's error explains what is wrong with them
    for message in messages:
        if len(message) == 2 and "content" in message and message.get("role") in ("user", "assistant", "system"):
            continue  # nothing that any vendor requires otherwise
        for name in row.message_drop:
            message.pop(name, None)
        for name in _REASONING if row.reasoning else ():
            if name in message:
                message.setdefault(row.reasoning, message.pop(name))
        if not row.developer and message.get("role") == "developer":
            message["role"] = "system"
        if row.call_id:
            _name_calls(message, row.call_id)
    if row.one_system:
        messages = _joined_system(messages)
    return _bridged(messages, row, call_info) if row.assistant_after_tool else messages


def _joined_system(messages: list[Object]) -> list[Object]:
    """The system messages as one before all others: some templates reject a second one, or one that comes later."""
    system = [message for message in messages if message.get("role") in ("system", "developer")]
    if len(system) < 2 and messages[: len(system)] == system:
        return messages
    contents = [message.get("content") for message in system]
    content: Any = [
        part
        for content_of in contents
        for part in ([{"type": "text", "text": content_of}] if isinstance(content_of, str) else content_of or [])
    ]
    if all(isinstance(content_of, str) for content_of in contents):
        content = "\n\n".join(part["text"] for part in content)
    return [{**system[0], "content": content}, *(message for message in messages if message not in system)]


BRIDGE = "I have the result."
"""The assistant's message between a result and the user's message, where the vendor requires one."""


def _bridged(messages: list[Object], row: VendorSpec, call_info: CallInfo) -> list[Object]:
    """Adds an assistant message after each run of results that is not followed by one."""
    bridged: list[Object] = []
    for message in messages:
        if bridged and bridged[-1].get("role") == "tool" and message.get("role") not in ("tool", "assistant"):
            bridged.append({"role": "assistant", "content": BRIDGE})
        bridged.append(message)
    if len(bridged) > len(messages):
        note = f"{row.title or row.name} requires an assistant message after a tool result: {BRIDGE!r} is inserted"
        call_info.add([Loss("messages.tool", "emulated", note)])
    return bridged


def _name_calls(message: Object, length: int) -> None:
    """Replaces ids of calls, and of their results, by letters and digits of this length: always the same for the same id."""
    if isinstance(name := message.get("tool_call_id"), str):
        message["tool_call_id"] = call_id(name, length)
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        if isinstance(call, dict) and isinstance(name := call.get("id"), str):
            call["id"] = call_id(name, length)


def call_id(name: str, length: int) -> str:
    """``name`` if it consists of that many letters and digits, otherwise a name that is always the same for it."""
    if len(name) == length and _PLAIN.issuperset(name):
        return name
    number = int.from_bytes(sha256(name.encode("utf-8", "replace")).digest(), "big")
    letters = []
    for _ in range(length):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return "".join(letters)
