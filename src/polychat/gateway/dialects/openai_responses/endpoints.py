"""The endpoints of OpenAI's Responses: creating, also over WebSocket, and reading or deleting stored ones."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable
from functools import partial
from types import ModuleType
from urllib.parse import parse_qsl

from ....errors import BadInput, redact
from ....events import Finish
from ....http.server.asgi import Scope
from ....routing.resolve import LONGEST
from ....state.responses import StoredResponse
from ....wire import openai_responses
from ....wire.faults import Fault
from ....wire.json_text import encoded
from ...chat.candidates import plan_of
from ...chat.run import Answers, ChatRun, Chats
from ...context import RequestContext
from ...counting import counted, request_to_count
from ...endpoint import Endpoint, no_websocket
from ...responder import Refused
from ..bodies import value_of
from ..dialect import RAW, InboundChat, InboundRequest
from .compacting import compacted
from .dialect import OpenAIResponses, prepend_previous
from .kept import drop, response_of

DIALECT = OpenAIResponses()
DIALECTS = (DIALECT,)
_LIMIT = re.compile("[1-9][0-9]?|100", re.ASCII)
FAMILY = ""
"""Its paths begin as many others do."""


def _answer_of(request: InboundRequest, inbound: InboundChat) -> Answers | None:
    """What answers a request for a stream without output, and a chat that continues another gateway's reply."""
    if request.service.texts is not None and DIALECT.continues(inbound):
        return _continued
    return _warm_up if _is_preparation(inbound) else None


def _is_preparation(inbound: InboundChat) -> bool:
    return inbound.stream and "generate" in inbound.fields and value_of(inbound.fields, "generate") is False


create = Chats(DIALECT, _answer_of)
"""``POST /v1/responses``, and each ``response.create`` over WebSocket."""


async def _continued(context: RequestContext, inbound: InboundChat) -> None:
    await DIALECT.find_previous(context, inbound)
    await (_warm_up(context, inbound) if _is_preparation(inbound) else ChatRun(context, inbound).run())


async def _warm_up(context: RequestContext, inbound: InboundChat) -> None:
    """A response without output, which a later request continues: no backend is called."""
    record, responder = context.record, context.responder
    record.model, record.stream = inbound.model[:LONGEST], True
    record.plan = plan = await plan_of(context, inbound)
    record.route = plan.route
    writer = DIALECT.writer(inbound, inbound.request(), os.urandom(12).hex(), int(time.time()))
    data = writer.write([Finish("complete", openai_responses.PREPARED)]) + writer.end()
    record.verdict = "complete"
    await responder.start(200, responder.lines(writer.content_type, stream=True))
    await responder.last(data)


async def connect(context: RequestContext) -> None:
    """``GET /v1/responses`` with ``Upgrade: websocket``."""
    try:
        session = await asyncio.to_thread(_session)  # the first time it is loaded, which takes a while
    except ImportError:
        raise no_websocket(context, 'use POST (or add the extra: pip install "polychat[gateway]")') from None
    session.open_session(context, DIALECT)


def _session() -> ModuleType:
    from . import session  # needs websockets, of the extra `gateway`

    return session


async def stored(context: RequestContext) -> None:
    """``GET /v1/responses/{id}``."""
    await context.responder.json((await _stored(context, _named(context))).body)


async def delete(context: RequestContext) -> None:
    """``DELETE /v1/responses/{id}``."""
    name = _named(context)
    await _stored(context, name)
    await drop(context, name)
    await context.responder.json(encoded({"id": name, "object": "response", "deleted": True}))


async def input_items(context: RequestContext) -> None:
    """``GET /v1/responses/{id}/input_items``: the conversation before the reply, without its instructions."""
    name = context.path.split("/")[3]
    stored = await _stored(context, name)
    query = dict(parse_qsl(context.query))
    limit, order, after = query.get("limit", "20"), query.get("order", "desc"), query.get("after")
    if not _LIMIT.fullmatch(limit):
        raise BadInput(f"limit is {redact(limit, 80)!r}; it must be a whole number from 1 to 100", field="limit")
    if order not in ("asc", "desc"):
        raise BadInput(f'order is {redact(order, 80)!r}; it must be "asc" or "desc"', field="order")
    items = openai_responses.input_items(stored.messages[:-1], name)
    try:
        page = openai_responses.page_of(items, after=after, limit=int(limit), newest_first=order == "desc")
    except KeyError:
        raise BadInput(
            f"after is {redact(after or '', 80)!r}, which is not the id of one of these items", field="after"
        ) from None
    await context.responder.json(encoded(page))


async def count(context: RequestContext) -> None:
    """``POST /v1/responses/input_tokens``: tokens of the conversation, that of ``previous_response_id`` included."""
    asked = await request_to_count(context, partial(openai_responses.read_request, limits=RAW))
    if (previous := asked.request.previous) is not None:
        stored = await response_of(context, previous)
        asked = asked.changed(partial(prepend_previous, previous=stored))
    await context.responder.json(encoded({"object": "response.input_tokens", "input_tokens": await counted(context, asked)}))


def compact(context: RequestContext) -> Awaitable[None]:
    """``POST /v1/responses/compact``."""
    return compacted(context, DIALECT)


def _named(context: RequestContext) -> str:
    return context.path.rpartition("/")[2]


async def _stored(context: RequestContext, name: str) -> StoredResponse:
    stored = await response_of(context, name)
    if stored is None:
        raise Refused(Fault(f"no stored response {redact(name, 80)!r}", "not_found", 404, "response_not_found", "response_id"))
    return stored


ENDPOINTS = {
    "/v1/responses": Endpoint(DIALECT, "POST", create, upgrade=connect),
    "/v1/responses/input_tokens": Endpoint(DIALECT, "POST", count),
    "/v1/responses/compact": Endpoint(DIALECT, "POST", compact),
}


def endpoint_at(path: str, scope: Scope) -> Endpoint | None:
    """The endpoint at the path of a stored response; ``None`` for every other path."""
    if not path.startswith("/v1/responses/"):
        return None
    if path.count("/") == 4 and path.endswith("/input_items"):
        return Endpoint(DIALECT, "GET", input_items)
    if path.count("/") > 3:
        return None  # other paths of the API are not ids of replies
    if scope["method"] == "DELETE":
        return Endpoint(DIALECT, "DELETE", delete)
    return Endpoint(DIALECT, "GET" if scope["method"] == "GET" else "GET, DELETE", stored)
