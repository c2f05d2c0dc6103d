"""The endpoints of Anthropic's clients."""

from __future__ import annotations

from functools import partial

from ....http.server.asgi import Scope
from ....wire import anthropic
from ...chat.run import Chats
from ...context import RequestContext
from ...counting import counted, request_to_count
from ...endpoint import Endpoint
from ..dialect import RAW
from .dialect import Anthropic

DIALECT = Anthropic()
DIALECTS = (DIALECT,)
FAMILY = "/v1/messages"
"""The prefix of paths that only Anthropic's clients use."""


async def count(context: RequestContext) -> None:
    """``/v1/messages/count_tokens``."""
    asked = await request_to_count(context, partial(anthropic.read_count_request, limits=RAW))
    await context.responder.json(anthropic.write_count(await counted(context, asked)))


ENDPOINTS = {
    "/v1/messages": Endpoint(DIALECT, "POST", Chats(DIALECT)),
    "/v1/messages/count_tokens": Endpoint(DIALECT, "POST", count),
}


def endpoint_at(path: str, scope: Scope) -> Endpoint | None:
    """Nothing: all paths of its clients are fixed."""
    return None
