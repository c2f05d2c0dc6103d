"""The endpoints of OpenAI's chat completions, completions and embeddings."""

from __future__ import annotations

from ....http.server.asgi import Scope
from ...chat.run import Chats
from ...context import RequestContext
from ...embedding import embedded
from ...endpoint import Endpoint
from .dialect import OpenAIChat, OpenAICompletions

DIALECT = OpenAIChat()
COMPLETIONS = OpenAICompletions()
DIALECTS = (DIALECT, COMPLETIONS)
FAMILY = ""
"""Its paths begin as many others do."""


async def embed(context: RequestContext) -> None:
    """``/v1/embeddings``."""
    await embedded(context, "openai")


ENDPOINTS = {
    "/v1/chat/completions": Endpoint(DIALECT, "POST", Chats(DIALECT)),
    "/v1/completions": Endpoint(COMPLETIONS, "POST", Chats(COMPLETIONS)),
    "/v1/embeddings": Endpoint(DIALECT, "POST", embed),
}


def endpoint_at(path: str, scope: Scope) -> Endpoint | None:
    """Nothing: all paths of its clients are fixed."""
    return None
