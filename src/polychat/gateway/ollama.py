"""Ollama's own API: chat, generate, embeddings, and what it tells of its models."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from time import monotonic_ns

from ..errors import UnknownTarget
from ..providers import vendors
from ..routing import Target
from ..types import Ask
from ..wire import checks, ollama
from ..wire._json import encoded
from ..wire.answering import Writer
from ..wire.embeddings import Embed
from ..wire.models import OLLAMA_DETAILS, OLLAMA_FAMILY
from ..wire.passing import Watch, WholeLines
from ..wire.wires import wire
from .chat import Chat
from .door import Door, Question, shallow, value_of
from .embedding import embedded
from .listing import listed, planned
from .visit import Visit

VERSION = "0.13.0"
"""The Ollama whose API this is: clients ask for it to see what they may use."""


class Ollama(Door):
    """``/api/chat``, streamed unless told otherwise. Its JSON lines have no place for a sign of life."""

    name = "ollama"
    wire = wire("ollama")
    beat = b""
    stream_type = "application/x-ndjson"
    piece_end = b"\n"
    streams = True

    def question(self, visit: Visit) -> Question:
        question = super().question(visit)
        question.own = monotonic_ns()
        if question.model.endswith(_LATEST):
            question.model = _known(visit, question.model)
        return question

    def writer(self, question: Question, ask: Ask, name: str, created: int) -> Writer:
        return _timed(super().writer(question, ask, name, created), question)

    def watch(self, question: Question) -> Watch:
        return WholeLines(self.wire.Reader())


def _timed(writer: Writer, question: Question) -> Writer:
    """With the durations that clients count on. All of it is the answer's: what a backend did with its time is not told."""
    begun = question.own

    def durations() -> dict[str, int]:
        took = monotonic_ns() - begun
        return {"total_duration": took, "load_duration": 0, "prompt_eval_duration": 0, "eval_duration": took}

    writer.measure = durations  # type: ignore[attr-defined]  # this wire's own
    return writer


class OllamaGenerate(Ollama):
    """``/api/generate``."""

    passes = False

    def read(self, question: Question) -> Ask:
        return ollama.read_generate_request(question.body)

    def writer(self, question: Question, ask: Ask, name: str, created: int) -> Writer:
        return _timed(ollama.generate_writer(ask, name, created, question.model), question)


_LATEST = ":latest"
"""What clients put behind a name without a tag."""


def _known(visit: Visit, name: str) -> str:
    """A name as it is known here: with the tag that says nothing, or without it."""
    try:
        visit.setup.names.plan(name)
    except UnknownTarget:
        return name.removesuffix(_LATEST)
    return name


def chat(visit: Visit) -> Awaitable[None]:
    """``/api/chat`` and ``/api/generate``. One that asks nothing wants the model loaded, or unloaded, and is answered here."""
    question = visit.door.question(visit)
    fields = question.fields
    asks = ("prompt", "images", "suffix") if isinstance(visit.door, OllamaGenerate) else ("messages",)
    if any(value_of(fields, name) for name in asks):
        return Chat(visit, question).run()
    return _loaded(visit, question)


async def _loaded(visit: Visit, question: Question) -> None:
    visit.setup.names.plan(question.model)  # raises for one that nobody has
    unloads = value_of(question.fields, "keep_alive") in (0, "0", "0s", "0m")
    said = {"response": ""} if isinstance(visit.door, OllamaGenerate) else {"message": {"role": "assistant", "content": ""}}
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"model": question.model, "created_at": moment, **said, "done": True}
    await visit.json(encoded({**about, "done_reason": "unload" if unloads else "load"}) + b"\n")


async def embed_one(visit: Visit) -> None:
    """``/api/embeddings``, which came before ``/api/embed``: one text, one vector."""
    said = shallow(visit.body, visit.setup.limits)
    name, prompt = (checks.text(value_of(said, field), field) for field in ("model", "prompt"))
    more: dict[str, object] = {field: value_of(said, field) for field in ("options", "keep_alive") if field in said}
    await embedded(visit, "ollama", asked=Embed(_known(visit, name), [prompt], single=True, shape="ollama", extra=more))


async def banner(visit: Visit) -> None:
    """``/``: what Ollama's clients look for to see whether a server is there."""
    await visit.whole(200, visit.whole_headers("text/plain; charset=utf-8"), b"Ollama is running")


async def embed(visit: Visit) -> None:
    """``/api/embed``."""
    await embedded(visit, "ollama")


async def version(visit: Visit) -> None:
    """``/api/version``."""
    await visit.json(encoded({"version": VERSION}))


async def running(visit: Visit) -> None:
    """``/api/ps``: what a server holds in memory, which a gateway does not."""
    await visit.json(encoded({"models": []}))


async def show(visit: Visit) -> None:
    """``/api/show``."""
    said = shallow(visit.body, visit.setup.limits)
    name = checks.text(value_of(said, "model") or value_of(said, "name"), "model")
    targets = (await planned(visit, name)).targets
    known = next((one for one in await listed(visit) if one.id == name), None)
    about: dict[str, object] = {"general.architecture": OLLAMA_FAMILY, "general.basename": name}
    if known is not None and known.context is not None:
        about[f"{OLLAMA_FAMILY}.context_length"] = known.context
    body = {"license": "", "modelfile": "", "parameters": "", "template": "", "details": OLLAMA_DETAILS, "model_info": about}
    await visit.json(encoded({**body, "capabilities": _capabilities(targets)}))


_CAN = {"tools": "tools", "images": "vision", "reasoning": "thinking"}
"""Ollama's words for what a vendor's models can."""


def _capabilities(targets: tuple[Target, ...]) -> list[str]:
    """What every target can. Tools leave out what has not some of them."""
    can = [_can(target) for target in targets]
    return ["completion", *(word for name, word in _CAN.items() if all(name in one for one in can))]


def _can(target: Target) -> tuple[str, ...]:
    """A server of one's own that does not say can have what is usual."""
    row = vendors().get(target.provider.__name__.lower())
    return () if row is None else row.can or ("tools",)
