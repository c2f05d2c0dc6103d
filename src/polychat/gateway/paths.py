"""Which path leads to which dialect."""

from __future__ import annotations

import re

from ..http.server.asgi import Scope
from . import embedding, listing
from .chat.run import answered
from .context import Endpoint
from .dialects.anthropic import dialect as anthropic_door
from .dialects.dialect import Dialect
from .dialects.gemini import dialect as gemini_door
from .dialects.ollama import dialect as ollama_door
from .dialects.openai_chat.dialect import OpenAIChat, OpenAICompletions
from .dialects.openai_responses import dialect as responses_door

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        OpenAIChat(),
        OpenAICompletions(),
        responses_door.OpenAIResponses(),
        anthropic_door.Anthropic(),
        gemini_door.Gemini(),
        ollama_door.Ollama(),
    )
}
FAMILIES = {"/v1/messages": "anthropic", "/v1beta/": "gemini", "/api/": "ollama"}
"""In whose dialect a path that leads nowhere is answered; all others are OpenAI's."""
GEMINI = {
    **dict.fromkeys(gemini_door.ACTIONS, Endpoint(DIALECTS["gemini"], "POST", answered)),
    "countTokens": Endpoint(DIALECTS["gemini"], "POST", gemini_door.count),
    **dict.fromkeys(("embedContent", "batchEmbedContents"), Endpoint(DIALECTS["gemini"], "POST", gemini_door.embed)),
}


_chat, _anthropic, _ollama = DIALECTS["openai-chat"], DIALECTS["anthropic"], DIALECTS["ollama"]
ENDPOINTS: dict[str, Endpoint] = {
    "/v1/chat/completions": Endpoint(_chat, "POST", answered),
    "/v1/completions": Endpoint(DIALECTS["openai-completions"], "POST", answered),
    "/v1/responses": Endpoint(DIALECTS["openai-responses"], "POST", answered),
    "/v1/responses/input_tokens": Endpoint(DIALECTS["openai-responses"], "POST", responses_door.count),
    "/v1/embeddings": Endpoint(_chat, "POST", embedding.openai),
    "/v1/messages": Endpoint(_anthropic, "POST", answered),
    "/v1/messages/count_tokens": Endpoint(_anthropic, "POST", anthropic_door.count),
    "/api/chat": Endpoint(_ollama, "POST", ollama_door.chat),
    "/api/generate": Endpoint(ollama_door.OllamaGenerate(), "POST", ollama_door.chat),
    "/api/embed": Endpoint(_ollama, "POST", ollama_door.embed),
    "/api/embeddings": Endpoint(_ollama, "POST", ollama_door.embed_one),
    "/api/show": Endpoint(_ollama, "POST", ollama_door.show),
    "/api/tags": Endpoint(_ollama, "GET", listing.tags),
    "/api/version": Endpoint(_ollama, "GET", ollama_door.version),
    "/api/ps": Endpoint(_ollama, "GET", ollama_door.running),
}
"""By path."""
_SLASHES = re.compile("/{2,}")
_WITHOUT_VERSION = frozenset(path.split("/")[2] for path in ENDPOINTS if path.startswith("/v1/")) | {"models"}
"""What a path begins with that leaves ``/v1`` out."""
_TWICE = re.compile("^(?:/v1)+(?=/v1/)")
_FIRST = re.compile("(?s)^/|(?<=.)/.*")


def found(path: str, scope: Scope) -> Endpoint | None:
    """What is at a path, those that hold names too; ``None``: no endpoint of a dialect."""
    if (endpoint := ENDPOINTS.get(path)) is not None:
        return endpoint
    if path == "/":
        return Endpoint(_ollama, scope["method"] if scope["method"] == "HEAD" else "GET", ollama_door.banner)
    if path.startswith(("/v1/models", "/v1beta/models")):
        return _of_models(path, scope)
    if path.startswith("/v1/responses/"):
        dialect = ENDPOINTS["/v1/responses"].dialect
        if path.count("/") == 4 and path.endswith("/input_items"):
            return Endpoint(dialect, "GET", responses_door.input_items)
        if path == "/v1/responses/compact" or path.count("/") > 3:
            return None  # of what the API has besides, nothing is here; they are no names of replies
        if scope["method"] == "DELETE":
            return Endpoint(dialect, "DELETE", responses_door.dropped)
        return Endpoint(dialect, "GET" if scope["method"] == "GET" else "GET, DELETE", responses_door.kept)
    return None


def usual(path: str) -> str:
    """A path as it is usually written. Base URLs are typed with a slash too many, with ``/v1`` twice or without it."""
    head, models, name = path.partition("/models")  # what follows may be a model's name, which has slashes of its own
    path = _TWICE.sub("", _SLASHES.sub("/", head + models if models else head)) + name
    if len(path) > 1:
        path = path.removesuffix("/")
    return f"/v1{path}" if _FIRST.sub("", path) in _WITHOUT_VERSION else path


def _of_models(path: str, scope: Scope) -> Endpoint | None:
    _, _, name = path.partition("/models")
    if (action := GEMINI.get(name.rpartition(":")[2])) is not None:
        return action
    if name and not name.startswith("/"):
        return None
    dialect = "gemini" if path.startswith("/v1beta") else listing.dialect_of(dict(scope["headers"]))
    return Endpoint(DIALECTS[dialect], "GET", listing.models)
