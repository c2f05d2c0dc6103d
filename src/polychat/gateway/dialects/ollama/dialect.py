"""Ollama's own API: chat, generate, embeddings, and what it tells of its models."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from time import monotonic_ns

from ....errors import UnknownTarget
from ....routing import Target
from ....types import Ask
from ....wire import checks, ollama
from ....wire._json import encoded
from ....wire.abilities import Abilities
from ....wire.answering import Writer
from ....wire.embeddings import Embed
from ....wire.models import OLLAMA_DETAILS, OLLAMA_FAMILY
from ....wire.passing import StreamMonitor, WholeLines
from ....wire.wires import wire
from ...chat.run import Chat
from ...context import RequestContext
from ...embedding import embedded
from ...listing import listed, planned
from ..dialect import Dialect, InboundChat, shallow, value_of

VERSION = "0.13.0"
"""The Ollama whose API this is: clients ask for it to see what they may use."""


class Ollama(Dialect):
    """``/api/chat``, streamed unless told otherwise. Its JSON lines have no place for a sign of life."""

    name = "ollama"
    wire = wire("ollama")
    beat = b""
    stream_type = "application/x-ndjson"
    piece_end = b"\n"
    streams = True

    def inbound(self, context: RequestContext) -> InboundChat:
        inbound = super().inbound(context)
        inbound.own = monotonic_ns()
        if inbound.model.endswith(_LATEST):
            inbound.model = _known(context, inbound.model)
        return inbound

    def writer(self, inbound: InboundChat, ask: Ask, name: str, created: int) -> Writer:
        return _timed(super().writer(inbound, ask, name, created), inbound)

    def monitor(self, inbound: InboundChat) -> StreamMonitor:
        return WholeLines(self.wire.Reader())


def _timed(writer: Writer, inbound: InboundChat) -> Writer:
    """With the durations that clients count on. All of it is the answer's: what a backend did with its time is not told."""
    begun = inbound.own

    def durations() -> dict[str, int]:
        took = monotonic_ns() - begun
        return {"total_duration": took, "load_duration": 0, "prompt_eval_duration": 0, "eval_duration": took}

    writer.measure = durations  # type: ignore[attr-defined]  # this wire's own
    return writer


class OllamaGenerate(Ollama):
    """``/api/generate``."""

    passes = False

    def read(self, inbound: InboundChat) -> Ask:
        return ollama.read_generate_request(inbound.body)

    def writer(self, inbound: InboundChat, ask: Ask, name: str, created: int) -> Writer:
        return _timed(ollama.generate_writer(ask, name, created, inbound.model), inbound)


_LATEST = ":latest"
"""What clients put behind a name without a tag."""


def _known(context: RequestContext, name: str) -> str:
    """A name as it is known here: with the tag that says nothing, or without it."""
    try:
        context.runtime.resolver.plan(name)
    except UnknownTarget:
        return name.removesuffix(_LATEST)
    return name


def chat(context: RequestContext) -> Awaitable[None]:
    """``/api/chat`` and ``/api/generate``. One that asks nothing wants the model loaded, or unloaded, and is answered here."""
    inbound = context.dialect.inbound(context)
    fields = inbound.fields
    asks = ("prompt", "images", "suffix") if isinstance(context.dialect, OllamaGenerate) else ("messages",)
    if any(value_of(fields, name) for name in asks):
        return Chat(context, inbound).run()
    return _loaded(context, inbound)


async def _loaded(context: RequestContext, inbound: InboundChat) -> None:
    context.runtime.resolver.plan(inbound.model)  # raises for one that nobody has
    unloads = value_of(inbound.fields, "keep_alive") in (0, "0", "0s", "0m")
    said = (
        {"response": ""} if isinstance(context.dialect, OllamaGenerate) else {"message": {"role": "assistant", "content": ""}}
    )
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"model": inbound.model, "created_at": moment, **said, "done": True}
    await context.json(encoded({**about, "done_reason": "unload" if unloads else "load"}) + b"\n")


async def embed_one(context: RequestContext) -> None:
    """``/api/embeddings``, which came before ``/api/embed``: one text, one vector."""
    said = shallow(context.body, context.runtime.limits)
    name, prompt = (checks.text(value_of(said, field), field) for field in ("model", "prompt"))
    more: dict[str, object] = {field: value_of(said, field) for field in ("options", "keep_alive") if field in said}
    await embedded(context, "ollama", asked=Embed(_known(context, name), [prompt], single=True, shape="ollama", extra=more))


async def banner(context: RequestContext) -> None:
    """``/``: what Ollama's clients look for to see whether a server is there."""
    await context.whole(200, context.whole_headers("text/plain; charset=utf-8"), b"Ollama is running")


async def embed(context: RequestContext) -> None:
    """``/api/embed``."""
    await embedded(context, "ollama")


async def version(context: RequestContext) -> None:
    """``/api/version``."""
    await context.json(encoded({"version": VERSION}))


async def running(context: RequestContext) -> None:
    """``/api/ps``: what a server holds in memory, which a gateway does not."""
    await context.json(encoded({"models": []}))


async def show(context: RequestContext) -> None:
    """``/api/show``."""
    said = shallow(context.body, context.runtime.limits)
    name = checks.text(value_of(said, "model") or value_of(said, "name"), "model")
    targets = (await planned(context, name)).targets
    known = next((one for one in await listed(context) if one.id == name), None)
    about: dict[str, object] = {"general.architecture": OLLAMA_FAMILY, "general.basename": name}
    if known is not None and known.context is not None:
        about[f"{OLLAMA_FAMILY}.context_length"] = known.context
    body = {"license": "", "modelfile": "", "parameters": "", "template": "", "details": OLLAMA_DETAILS, "model_info": about}
    await context.json(encoded({**body, "capabilities": _capabilities(targets, {} if known is None else known.can)}))


_CAN = {"tools": "tools", "images": "vision", "reasoning": "thinking"}
"""Ollama's words for what a vendor's models can."""


def _capabilities(targets: tuple[Target, ...], known: Abilities) -> list[str]:
    """What every target can: by the lists of their backends, else as their vendors can. Clients leave out what has not some."""
    can = [target.backend.can for target in targets]
    told = (word for name, word in _CAN.items() if known.get(name, all(name in one for one in can)))
    return ["completion", *told]
