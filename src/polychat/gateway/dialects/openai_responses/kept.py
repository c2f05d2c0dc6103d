"""Replies that every gateway of one database has, each with the conversation before it, as its client would send them."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ....state.responses import StoredResponse
from ....state.store import StoreUnavailable, TextPlace
from ....types import ChatMessage
from ....wire import openai_responses
from ...chat.preferences import keeps_text
from ..bodies import shallow
from ..dialect import RAW, InboundChat
from .conversation import items_of, sendable

if TYPE_CHECKING:
    from ...context import RequestContext
    from ...observe.record import Record
    from ...runtime import Runtime
    from ...service import Service


class _Output(msgspec.Struct):
    output: msgspec.Raw = msgspec.Raw(b"[]")


class _Text(msgspec.Struct):
    response: msgspec.Raw
    items: msgspec.Raw


_output, _text = msgspec.json.Decoder(_Output), msgspec.json.Decoder(_Text)


class RequestOrigin(NamedTuple):
    """Where a request came from, and whose it is: all that is needed of it when its reply is kept."""

    record: Record
    runtime: Runtime
    service: Service


def keep(request: RequestOrigin, inbound: InboundChat, name: str, body: bytes, previous: StoredResponse | None) -> None:
    """Keep a reply in the database, if its key's policy says so."""
    texts = request.service.texts
    before = b"" if previous is None else previous.items
    if texts is None or before is None or not keeps_text(request):
        return
    seconds, limits = request.runtime.gateway.store.seconds, request.runtime.limits
    size = len(body) + inbound.size + len(before)

    def written() -> bytes:
        asked = items_of(shallow(inbound.original_body(), limits).get("input"))
        items = [part for part in (before, asked, sendable(bytes(_output.decode(body).output))) if part]
        return b'{"response":%b,"items":[%b]}' % (body, b",".join(items))

    texts.put(_place(request, name), written, size, seconds)


async def response_of(context: RequestContext, name: str) -> StoredResponse | None:
    """A reply that was given to the same key, here or by another gateway; ``None`` if there is none."""
    own, texts = context.service.responses.get(name, context.record.key), context.service.texts
    if texts is None or not keeps_text(context):
        return own
    place = _place(context, name)
    if own is not None and texts.is_unwritten(place):
        return own
    try:
        data = await texts.get(place, twice=own is None)
    except StoreUnavailable:
        return own
    return None if data is None else _read(context.record.key, data)


async def drop(context: RequestContext, name: str) -> None:
    """Delete a reply, here and in the database. Raises ``Refused`` where that cannot be done now."""
    context.service.responses.drop(name)
    if context.service.texts is not None:
        await context.service.texts.drop(_place(context, name))


def _place(request: RequestOrigin | RequestContext, name: str) -> TextPlace:
    return TextPlace("response", request.record.key, name)


def _read(key: str, data: bytes) -> StoredResponse:
    text = _text.decode(data)
    items = bytes(text.items)[1:-1]
    return StoredResponse(key, bytes(text.response), partial(_messages_in, items), len(data), inf, items)


def _messages_in(items: bytes) -> list[ChatMessage]:
    request = openai_responses.read_request(b'{"input":[%b]}' % items, model="", limits=RAW)
    return [message for message in request.messages if message.role not in ("system", "developer")]
