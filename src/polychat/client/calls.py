"""``ask``, ``stream`` and ``embed``: one target, one reply."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Unpack, overload

from ..calls.info import CallInfo
from ..calls.request import KEYWORDS, request_of, system_first
from ..calls.threads import pieces_of
from ..errors import BadInput
from ..types import Conversation
from ..wire.embeddings import Embed, Embeddings
from .reply import Parsed, Reply
from .streaming import Stream
from .targets import Targets, own_targets

if TYPE_CHECKING:
    from .keywords import CallKeywords, Keywords

_KEYWORDS = frozenset(KEYWORDS)


@overload
def stream(
    prompt: str | Conversation,
    *,
    schema: type[Parsed],
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Unpack[Keywords],
) -> Stream[Parsed]: ...
@overload
def stream(
    prompt: str | Conversation,
    *,
    schema: Any = None,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Unpack[Keywords],
) -> Stream[Any]: ...
def stream(
    prompt: str | Conversation,
    *,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Stream[Any]:
    """Ask ``model``, piece by piece.

    ``model`` is ``provider/model``, a route or an alias of the configuration, a model's name that one backend is known by, or
    several of these parted by commas, each tried when those before it failed before their first piece. Without it,
    ``POLYCHAT_MODEL``, the configuration's ``default_model`` or the embedded model answers.

    ``prompt`` is text or a conversation; ``system`` goes before it. About the answer: ``tools``, ``tool_choice``,
    ``parallel_tool_calls``, ``schema`` (a type or a JSON schema), ``response_format``, ``images`` and ``files`` (paths, URLs or
    bytes; read here), ``reasoning`` (an effort, or tokens of thought), ``max_tokens``, ``temperature``, ``top_p``, ``top_k``,
    ``min_p``, ``frequency_penalty``, ``presence_penalty``, ``repetition_penalty``, ``seed``, ``stop``, ``logprobs``,
    ``logit_bias``, ``n``, ``verbosity``, ``metadata``, ``user``, ``service_tier``, ``store``, ``previous``, and ``extra``:
    fields by the wire's own names.

    What the backend cannot take is lost by ``on_loss``: ``refuse``, ``warn``, ``report`` (see ``losses``) or ``allow``. Without
    it a loss that changes the answer's form is refused, and any other is warned of.

    About the asking: ``proxy``, ``timeout`` (seconds, or ``Timeouts``), ``base_url``, ``api_key`` (vendors), ``cookies``,
    ``headers``.
    ``options`` maps names to what the provider takes besides: by keyword that works too, but a type checker refuses a keyword
    that is not one of these.

    Raises ``UnknownTarget`` and ``BadInput`` at once, and other ``PolychatError`` when it is read.
    """
    return stream_of(own_targets(), prompt, model, system, {**keywords, **(options or {})})


@overload
async def ask(
    prompt: str | Conversation,
    *,
    schema: type[Parsed],
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Unpack[Keywords],
) -> Reply[Parsed]: ...
@overload
async def ask(
    prompt: str | Conversation,
    *,
    schema: Any = None,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Unpack[Keywords],
) -> Reply[Any]: ...
async def ask(
    prompt: str | Conversation,
    *,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Reply[Any]:
    """Ask ``model`` and wait for the whole reply. Parameters as for ``stream``; with ``schema`` the reply has it ``parsed``.

    Raises ``PolychatError``. A reply cut short raises ``Truncated``, which holds what came in ``text``.
    """
    return await reply_of(own_targets(), prompt, model, system, {**keywords, **(options or {})})


def stream_of(
    targets: Targets, prompt: str | Conversation, model: str | None, system: str | None, options: dict[str, Any]
) -> Stream[Any]:
    """``stream`` for the backends of one configuration."""
    return _read(targets, prompt, model, system, options, streamed=True)


async def reply_of(
    targets: Targets, prompt: str | Conversation, model: str | None, system: str | None, options: dict[str, Any]
) -> Reply[Any]:
    """``ask`` for the backends of one configuration."""
    if options.get("images") or options.get("files"):
        reply = await asyncio.to_thread(_read, targets, prompt, model, system, options, streamed=False)
    else:
        reply = _read(targets, prompt, model, system, options, streamed=False)
    async with reply:
        async for _ in reply.events():
            pass
        return reply.reply()


@overload
def ask_sync(
    prompt: str | Conversation,
    *,
    schema: type[Parsed],
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Unpack[Keywords],
) -> Reply[Parsed]: ...
@overload
def ask_sync(
    prompt: str | Conversation,
    *,
    schema: Any = None,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Unpack[Keywords],
) -> Reply[Any]: ...
def ask_sync(
    prompt: str | Conversation,
    *,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Reply[Any]:
    """``ask`` for code without an event loop, or beside one that runs: it goes on in a thread of its own, and this waits."""

    async def asked() -> Reply[Any]:
        return await ask(prompt, model=model, system=system, options=options, **keywords)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(contextvars.copy_context().run, asyncio.run, asked()).result()


def stream_sync(
    prompt: str | Conversation,
    *,
    schema: Any = None,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Unpack[Keywords],
) -> Generator[str, None, None]:
    """The pieces of an answer for code without an event loop, or beside one that runs. Closing it ends the ask."""
    reply = stream(
        prompt, schema=schema, model=model, system=system, options=options, **keywords
    )  # what is wrong with the arguments is raised here

    async def pieces() -> AsyncGenerator[str, None]:
        async with reply:
            async for piece in reply:
                yield piece

    return pieces_of(pieces)


async def embed(
    texts: str | Sequence[str],
    *,
    model: str,
    dimensions: int | None = None,
    user: str | None = None,
    options: Mapping[str, Any] | None = None,
    **asking: Unpack[CallKeywords],
) -> Embeddings:
    """One vector for each text, in their order. The keywords are those of the asking, as for ``stream``.

    Raises ``BadInput`` where the provider has no embeddings, and other ``PolychatError``.
    """
    return await vectors_of(own_targets(), texts, model, dimensions, user, {**asking, **(options or {})})


async def vectors_of(
    targets: Targets,
    texts: str | Sequence[str],
    model: str,
    dimensions: int | None,
    user: str | None,
    options: dict[str, Any],
) -> Embeddings:
    """``embed`` for the backends of one configuration."""
    inputs = [texts] if isinstance(texts, str) else list(texts)
    if not inputs or not all(isinstance(text, str) and text for text in inputs):
        raise BadInput("texts must be a string that is not empty, or a list of them", field="texts")
    backend, name, _ = targets.meaning_of(model)
    return await backend.embed(Embed(name or "", inputs, dimensions=dimensions, user=user), **options)


def _read(
    targets: Targets,
    prompt: str | Conversation,
    target: str | None,
    system: str | None,
    options: dict[str, Any],
    *,
    streamed: bool,
) -> Stream[Any]:
    """The ask, read and not yet sent. Raises ``UnknownTarget`` and ``BadInput``."""
    if isinstance(prompt, str) and not prompt.strip():
        raise BadInput("the prompt is empty: write a question", field="prompt")
    if "config" in options:
        raise BadInput("config belongs to a client: polychat.Client(config=…).ask(…)", field="config")
    target = targets.default_model() if target is None else target
    backend, model, plan = targets.meaning_of(target)
    keywords: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in options.items():
        (keywords if name in _KEYWORDS else rest)[name] = value
    ask, shape = request_of(prompt, model or "", keywords)
    system_first(ask, system)
    ask.stream = streamed
    if streamed:
        ask.stream_usage = True
    call_info = CallInfo(on_loss_of(rest.pop("on_loss", None)))
    return Stream(targets, backend, model, ask, shape=shape, call_info=call_info, options=rest, plan=plan)


def on_loss_of(value: Any) -> Any:
    """The caller's choice about losses. Raises ``BadInput``."""
    if value not in (None, "refuse", "warn", "report", "allow"):
        raise BadInput(f'on_loss is {value!r}; it must be "refuse", "warn", "report" or "allow"', field="on_loss")
    return value
