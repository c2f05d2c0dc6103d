"""The endpoints of Gemini's clients: the path holds the model's name and the action."""

from __future__ import annotations

from ....http.server.asgi import Scope
from ....types import ChatRequest
from ....wire import gemini
from ...chat.run import Chats
from ...context import RequestContext
from ...counting import counted, request_to_count
from ...embedding import embedded
from ...endpoint import Endpoint
from ..bodies import shallow
from ..dialect import RAW
from .dialect import ACTIONS, Gemini, named

DIALECT = Gemini()
DIALECTS = (DIALECT,)
FAMILY = "/v1beta/"
"""The prefix of paths that only Gemini's clients use."""


async def count(context: RequestContext) -> None:
    """``:countTokens``."""
    limits = context.runtime.limits

    def read(body: bytes) -> ChatRequest:
        if (inner := shallow(body, limits).get("generateContentRequest")) is not None:
            shallow(bytes(inner), limits)  # it has the conversation
        return gemini.read_count_request(body, model=named(context.path)[0], limits=RAW)

    await context.responder.json(gemini.write_count(await counted(context, await request_to_count(context, read))))


async def embed(context: RequestContext) -> None:
    """``:embedContent`` and ``:batchEmbedContents``."""
    await embedded(context, "gemini", named(context.path)[0])


OF_MODELS = {
    **dict.fromkeys(ACTIONS, Endpoint(DIALECT, "POST", Chats(DIALECT))),
    "countTokens": Endpoint(DIALECT, "POST", count),
    **dict.fromkeys(("embedContent", "batchEmbedContents"), Endpoint(DIALECT, "POST", embed)),
}
"""By the action after the colon in ``/v1beta/models/{model}:…``, and in the same under ``/v1``."""

ENDPOINTS: dict[str, Endpoint] = {}
"""All paths of its clients name a model."""


def endpoint_at(path: str, scope: Scope) -> Endpoint | None:
    """The endpoint at a path that names a model; ``None`` for any other path."""
    if path.startswith(("/v1/models", "/v1beta/models")):
        return OF_MODELS.get(path.rpartition(":")[2])
    return None
