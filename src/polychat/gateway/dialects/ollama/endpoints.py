"""The endpoints of Ollama's clients: chat, generate, embeddings and models."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from ....http.server.asgi import Scope
from ....routing import Target
from ....wire import checks
from ....wire.abilities import Abilities
from ....wire.embeddings import Embed
from ....wire.json_text import encoded
from ....wire.models import OLLAMA_DETAILS, OLLAMA_FAMILY
from ...chat.run import Answers, Chats
from ...context import RequestContext
from ...embedding import embedded
from ...endpoint import Endpoint
from ...listing import listed, planned, tags
from ..bodies import shallow, value_of
from ..dialect import InboundChat, InboundRequest
from .dialect import Ollama, OllamaGenerate, known

DIALECT = Ollama()
GENERATE = OllamaGenerate()
DIALECTS = (DIALECT,)
FAMILY = "/api/"
"""The prefix of paths that only Ollama's clients use."""
VERSION = "0.13.0"
"""The version of Ollama whose API this is: clients request it to find out which features they may use."""
_EMPTY = 64
"""Bytes of JSON that may still be an empty list."""


_QUESTIONS = ("messages",), ("prompt", "images", "suffix")
"""The fields of ``/api/chat``, and of ``/api/generate``, without which a request loads or unloads the model."""


def _loading(names: tuple[str, ...], request: InboundRequest, inbound: InboundChat) -> Answers | None:
    """What answers a request that has none of the fields ``names``."""
    fields = inbound.fields
    for name in names:
        if name in fields and (len(fields[name]) > _EMPTY or value_of(fields, name)):
            return None
    return _loaded


async def _loaded(context: RequestContext, inbound: InboundChat) -> None:
    await planned(context, inbound.model)  # raises for an unknown model
    unloads = value_of(inbound.fields, "keep_alive") in (0, "0", "0s", "0m")
    empty = (
        {"response": ""} if isinstance(inbound.dialect, OllamaGenerate) else {"message": {"role": "assistant", "content": ""}}
    )
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"model": inbound.model, "created_at": moment, **empty, "done": True}
    await context.responder.json(encoded({**about, "done_reason": "unload" if unloads else "load"}) + b"\n")


async def embed_one(context: RequestContext) -> None:
    """``/api/embeddings``, which is older than ``/api/embed``: one text, one vector."""

    def read(body: bytes) -> Embed:
        members = shallow(body, context.runtime.limits)
        name, prompt = (checks.text(value_of(members, field), field) for field in ("model", "prompt"))
        extra: dict[str, object] = {field: value_of(members, field) for field in ("options", "keep_alive") if field in members}
        return Embed(known(context, name), [prompt], single=True, shape="ollama", extra=extra)

    await embedded(context, "ollama", read=read)


async def banner(context: RequestContext) -> None:
    """``/``, by which Ollama's clients check whether a server is running."""
    await context.responder.whole(200, context.responder.whole_headers("text/plain; charset=utf-8"), b"Ollama is running")


async def embed(context: RequestContext) -> None:
    """``/api/embed``."""
    await embedded(context, "ollama")


async def version(context: RequestContext) -> None:
    """``/api/version``."""
    await context.responder.json(encoded({"version": VERSION}))


async def running(context: RequestContext) -> None:
    """``/api/ps``: models in a server's memory, of which a gateway has none."""
    await context.responder.json(encoded({"models": []}))


async def show(context: RequestContext) -> None:
    """``/api/show``."""
    members = shallow(context.body, context.runtime.limits)
    name = checks.text(value_of(members, "model") or value_of(members, "name"), "model")
    targets = (await planned(context, name)).targets
    info = next((model for model in await listed(context) if model.id == name), None)
    about: dict[str, object] = {"general.architecture": OLLAMA_FAMILY, "general.basename": name}
    if info is not None and info.context is not None:
        about[f"{OLLAMA_FAMILY}.context_length"] = info.context
    body = {"license": "", "modelfile": "", "parameters": "", "template": "", "details": OLLAMA_DETAILS, "model_info": about}
    can = _capabilities(targets, {} if info is None else info.can)
    await context.responder.json(encoded({**body, "capabilities": can}))


_CAN = {"tools": "tools", "images": "vision", "reasoning": "thinking"}
"""Ollama's names for the abilities of a vendor's models."""


def _capabilities(targets: tuple[Target, ...], known: Abilities) -> list[str]:
    """What every target supports: by the lists of their backends, otherwise by their vendors. Clients hide models that lack
    some.
    """
    can = [target.backend.can for target in targets]
    capabilities = (word for name, word in _CAN.items() if known.get(name, all(name in abilities for abilities in can)))
    return ["completion", *capabilities]


ENDPOINTS = {
    "/api/chat": Endpoint(DIALECT, "POST", Chats(DIALECT, partial(_loading, _QUESTIONS[0]))),
    "/api/generate": Endpoint(GENERATE, "POST", Chats(GENERATE, partial(_loading, _QUESTIONS[1]))),
    "/api/embed": Endpoint(DIALECT, "POST", embed),
    "/api/embeddings": Endpoint(DIALECT, "POST", embed_one),
    "/api/show": Endpoint(DIALECT, "POST", show),
    "/api/tags": Endpoint(DIALECT, "GET", tags),
    "/api/version": Endpoint(DIALECT, "GET", version),
    "/api/ps": Endpoint(DIALECT, "GET", running),
}


def endpoint_at(path: str, scope: Scope) -> Endpoint | None:
    """The endpoint at ``/``; ``None`` for every other path."""
    if path == "/":
        return Endpoint(DIALECT, scope["method"] if scope["method"] == "HEAD" else "GET", banner)
    return None
