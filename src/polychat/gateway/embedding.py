"""Texts into vectors, in the dialects that have it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic

from ..errors import BadInput
from ..routing import Target
from ..routing.attempts import Attempts
from ..routing.resolve import LONGEST
from ..wire import embeddings
from ..wire.embeddings import Embed, Embeddings, Shape
from ..wire.placeholders import with_placeholders
from ..worker_threads import in_thread
from .admission.demand import TextDemand
from .chat.opening import LARGE
from .context import RequestContext
from .dialects.bodies import check_body, leniently, new_token
from .dialects.dialect import OPENED
from .listing import planned


async def embedded(
    context: RequestContext, shape: Shape, model: str | None = None, read: Callable[[bytes], Embed] | None = None
) -> None:
    """Answers in the dialect's shape; ``model`` is the path's, if it names one. Raises ``PolychatError``.

    ``read``: what reads the body, where it has another form.
    """
    record, runtime = context.record, context.runtime
    reads = partial(_request, context, read or partial(embeddings.read_request, shape, model=model, limits=OPENED))
    request = await in_thread(reads) if len(context.body) > LARGE else reads()
    record.model = request.model[:LONGEST]
    plan = await planned(context, request.model)
    record.route = plan.route
    for guard in context.model_guards:
        if (waiting := guard.before(context, plan, TextDemand(len(context.body), request.user))) is not None:
            await waiting
    attempts, name = Attempts(), request.model

    async def ask(target: Target) -> Embeddings:
        asked = request if request.whole is None or target.backend.restores else await in_thread(request.whole)
        asked.model = target.model
        return await target.backend.embed(asked, timeout=attempts.timeouts)

    with context.asking(attempts):
        vectors = await runtime.router.run(plan, ask, attempts, repeated=context.repeated, deadline=context.deadline)
    record.first = monotonic()
    record.usage, record.prompt_tokens = vectors.usage, vectors.usage.prompt_tokens
    assert attempts.target is not None
    record.cost = runtime.pricing(attempts.target, vectors.usage)
    request.model, vectors.model = name, name
    headers = [*context.responder.whole_headers("application/json"), (b"x-polychat-provider", record.provider.encode())]
    await context.responder.whole(
        200, [*headers, (b"x-polychat-attempts", b"%d" % attempts.count)], embeddings.write_reply(shape, vectors, request)
    )


def _request(context: RequestContext, read: Callable[[bytes], Embed]) -> Embed:
    """The request, whose long texts are detached where it is large. Raises ``BadInput``."""
    check_body(context.body, context.runtime.limits)
    whole = partial(leniently, read, context.body)
    aside = with_placeholders(context.body, new_token) if len(context.body) > LARGE else None
    if aside is not None:
        with suppress(BadInput):  # the error is about what came
            request = read(aside.short)
            request.placeholders, request.whole = aside, whole
            return request
    return whole()
