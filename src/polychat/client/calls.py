"""``ask``, ``stream`` and ``embed``: one call to a model, one reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack, overload

from ..calls.info import CallInfo
from ..calls.plain_conversation import plain_conversation
from ..calls.threads import pieces_of, result_of
from ..errors import BadInput
from ..types import Conversation
from ..wire.embeddings import Embed, Embeddings
from .beginning import streaming
from .direct import asking
from .prepared import PreparedCall, check_prompt, unknown_losses
from .reply import Parsed, Reply
from .streaming import Stream
from .targets import Targets, chain_of, user_targets

if TYPE_CHECKING:
    from .keywords import AskKeywords, CallKeywords, Keywords


@overload
def stream(prompt: str | Conversation, *, schema: type[Parsed], **keywords: Unpack[AskKeywords]) -> Stream[Parsed]: ...
@overload
def stream(prompt: str | Conversation, *, schema: Any = None, **keywords: Unpack[AskKeywords]) -> Stream[Any]: ...
def stream(
    prompt: str | Conversation,
    *,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Stream[Any]:
    """Send ``prompt`` to ``model`` and return its reply as a ``Stream``. The request is sent when the stream is first read.

    ``model`` is ``provider/model``, a route or an alias of the configuration, the name of a model that exactly one backend
    serves, the path of a GGUF file (``./model.gguf``), or several of these separated by commas: each is tried when those before
    it failed before their first piece.
    Without it, ``POLYCHAT_MODEL``, the configuration's ``default_model`` or the embedded model answers.

    ``prompt`` is text or a conversation; ``system`` is placed before it. The request's fields: ``schema`` (a type or a JSON
    schema), ``tools``, ``tool_choice``, ``response_format``, ``images`` (paths, URLs or bytes; read here), ``files`` (as
    images), ``reasoning`` (an effort, or a number of tokens), ``extra`` (fields under the API's own names), ``models`` (called
    in order where the first one fails), ``provider``, ``parallel_tool_calls``, ``max_tokens``, ``temperature``, ``top_p``,
    ``top_k``, ``min_p``, ``frequency_penalty``, ``presence_penalty``, ``repetition_penalty``, ``seed``, ``stop``, ``logprobs``,
    ``logit_bias``, ``n``, ``verbosity``, ``metadata``, ``user``, ``service_tier``, ``store``, ``previous``.

    ``on_loss`` decides about fields that the backend does not support: ``refuse``, ``warn``, ``report`` (see ``losses``) or
    ``allow``. Without it, a loss that changes the form of the answer is refused, and there is a warning about any other.

    How the request is sent: ``proxy``, ``timeout`` (seconds, or ``Timeouts``), ``base_url``, ``api_key`` (API vendors),
    ``cookies``, ``headers``.
    ``options`` maps further names to values, for options that only this provider has. They work as keywords too, but type
    checkers report a keyword that is not listed here.

    Raises ``UnknownTarget`` and ``BadInput`` here, and any other ``PolychatError`` while the stream is read.
    """
    return stream_of(user_targets(), prompt, model, system, {**keywords, **options} if options else keywords)


@overload
async def ask(prompt: str | Conversation, *, schema: type[Parsed], **keywords: Unpack[AskKeywords]) -> Reply[Parsed]: ...
@overload
async def ask(prompt: str | Conversation, *, schema: Any = None, **keywords: Unpack[AskKeywords]) -> Reply[Any]: ...
async def ask(
    prompt: str | Conversation,
    *,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Reply[Any]:
    """Send ``prompt`` to ``model`` and return the whole reply. The parameters are those of ``stream``.

    With ``schema``, the reply's ``parsed`` is the answer as a value of it. Raises ``PolychatError``; for a reply that was cut
    off it is ``Truncated``, whose ``text`` is what had arrived.
    """
    return await reply_of(user_targets(), prompt, model, system, {**keywords, **options} if options else keywords)


def stream_of(
    targets: Targets, prompt: str | Conversation, model: str | None, system: str | None, options: dict[str, Any]
) -> Stream[Any]:
    """``stream`` with the backends of one configuration. Raises as ``stream``."""
    if type(prompt) is str and (kept := targets.kept(model, system, options, streamed=True)) is not None:
        if not prompt or prompt.isspace():
            check_prompt(prompt)
        return (kept.starts.get(()) or streaming(targets, kept))(prompt)
    plain = plain_conversation(prompt)
    if plain is not None and (kept := targets.kept(model, system, options, streamed=True)) is not None:
        return (kept.starts.get(plain.roles) or streaming(targets, kept, plain.roles))(plain)
    return _stream_of(targets, _prepared(targets, prompt, model, system, options, streamed=True), prompt)


def reply_of(
    targets: Targets, prompt: str | Conversation, model: str | None, system: str | None, options: dict[str, Any]
) -> Awaitable[Reply[Any]]:
    """``ask`` with the backends of one configuration; to be awaited at once. Raises as ``ask``."""
    if type(prompt) is str and (kept := targets.kept(model, system, options, streamed=False)) is not None:
        return (kept.starts.get(()) or asking(targets, kept))(prompt)
    plain = plain_conversation(prompt)
    if plain is not None and (kept := targets.kept(model, system, options, streamed=False)) is not None:
        return (kept.starts.get(plain.roles) or asking(targets, kept, plain.roles))(plain)
    if options.get("images") or options.get("files"):
        return _reply_with_files(targets, prompt, model, system, options)
    prepared = _prepared(targets, prompt, model, system, options, streamed=False)
    return _stream_of(targets, prepared, prompt).whole()


async def _reply_with_files(
    targets: Targets, prompt: str | Conversation, model: str | None, system: str | None, options: dict[str, Any]
) -> Reply[Any]:
    """``reply_of`` with files, which are read in a thread."""

    def read() -> Stream[Any]:
        return _stream_of(targets, _prepared(targets, prompt, model, system, options, streamed=False), prompt)

    reply = await asyncio.to_thread(read)
    return await reply.whole()


@overload
def ask_sync(prompt: str | Conversation, *, schema: type[Parsed], **keywords: Unpack[AskKeywords]) -> Reply[Parsed]: ...
@overload
def ask_sync(prompt: str | Conversation, *, schema: Any = None, **keywords: Unpack[AskKeywords]) -> Reply[Any]: ...
def ask_sync(
    prompt: str | Conversation,
    *,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Reply[Any]:
    """``ask`` for synchronous code: blocks until the reply is there. An event loop that runs in this thread is not used.

    The call runs in a thread of its own, with this thread's context variables; Ctrl-C cancels it. Raises as ``ask``.
    """

    return result_of(lambda: ask(prompt, model=model, system=system, options=options, **keywords))


def stream_sync(
    prompt: str | Conversation,
    *,
    schema: Any = None,
    model: str | None = None,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Unpack[Keywords],
) -> Generator[str, None, None]:
    """The pieces of an answer's text, for synchronous code. The parameters are those of ``stream``.

    The call runs in a thread of its own, which starts at the first ``next``; closing the generator cancels it. Raises
    ``UnknownTarget`` and ``BadInput`` here, and any other ``PolychatError`` from the iteration.
    """
    reply = stream(
        prompt, schema=schema, model=model, system=system, options=options, **keywords
    )  # raises here for invalid arguments

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
    models: Sequence[str] | None = None,
    provider: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    **keywords: Unpack[CallKeywords],
) -> Embeddings:
    """One vector for each of ``texts``, in their order. The other keywords are those of ``stream`` for how a request is sent.

    ``dimensions`` is the length that vectors are to have. ``models`` are called, in this order, if ``model`` fails: vectors of
    different models cannot be compared, so these are other places of the same model. ``provider`` is who may answer, as it is
    for ``stream``. Raises ``BadInput`` for a provider without embeddings, and any other ``PolychatError``.
    """
    rest = {"models": models, "provider": provider, **keywords, **(options or {})}
    return await vectors_of(user_targets(), texts, model, dimensions, user, rest)


async def vectors_of(
    targets: Targets,
    texts: str | Sequence[str],
    model: str,
    dimensions: int | None,
    user: str | None,
    options: dict[str, Any],
) -> Embeddings:
    """``embed`` with the backends of one configuration. Raises as ``embed``."""
    inputs = [texts] if isinstance(texts, str) else list(texts) if isinstance(texts, Iterable) else []
    if not inputs or not all(isinstance(text, str) and text for text in inputs):
        raise BadInput("texts must be a string that is not empty, or a list of them", field="texts")
    from .routed import routed_vectors  # it loads the router, which importing the client does not need

    if (models := options.pop("models", None)) is not None:
        model = chain_of(model, models)
    plan, provider = targets.plan(model), options.pop("provider", None)
    if provider is not None:
        plan, unknown = targets.wanted(plan, model, provider, options, lambda target: True)
        unknown_losses(unknown, options.get("on_loss") or plan.rules.on_loss)
    return await routed_vectors(targets.router(options), plan, Embed("", inputs, dimensions=dimensions, user=user), options)


def _prepared(
    targets: Targets,
    prompt: str | Conversation,
    target: str | None,
    system: str | None,
    options: dict[str, Any],
    *,
    streamed: bool,
) -> PreparedCall:
    """The call that ``prompt`` is sent with, checked. Raises ``UnknownTarget`` and ``BadInput``."""
    check_prompt(prompt)
    if "config" in options:
        raise BadInput("config belongs to a client: polychat.Client(config=…).ask(…)", field="config")
    target = targets.default_model() if target is None else target
    if "models" in options or "provider" in options:
        target = targets.chain(target, options)
    return targets.prepared(target, system, options, streamed=streamed)


def _stream_of(targets: Targets, prepared: PreparedCall, prompt: str | Conversation) -> Stream[Any]:
    """The reply to ``prompt``, which is checked and not sent yet. Raises ``BadInput``."""
    if type(prompt) is str and prepared.is_kept:
        return Stream(targets, targets.prepared_call(prepared, None, prompt))
    request, shape = prepared.request(prompt)
    if prepared.is_kept:
        call = targets.prepared_call(prepared, request)
    else:
        call = targets.call(prepared.plan, request, CallInfo(*prepared.policy), prepared.options)
    return Stream(targets, call, shape=shape, lost=prepared.lost)
