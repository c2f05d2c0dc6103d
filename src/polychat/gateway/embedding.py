"""Texts into vectors, in the dialects that have it."""

from __future__ import annotations

from time import monotonic

from ..routing import Target
from ..routing.attempts import Attempts
from ..routing.resolve import LONGEST
from ..wire import embeddings
from ..wire.embeddings import Embed, Embeddings, Shape
from .context import RequestContext
from .dialects.dialect import OPENED, check_body, leniently
from .listing import planned


async def embedded(context: RequestContext, shape: Shape, model: str | None = None, request: Embed | None = None) -> None:
    """Answers in the dialect's shape; ``model`` is the path's, if it names one. Raises ``PolychatError``."""
    record, runtime = context.record, context.runtime
    if request is None:
        check_body(context.body, runtime.limits)
        request = leniently(lambda body: embeddings.read_request(shape, body, model, OPENED), context.body)
    record.model = request.model[:LONGEST]
    plan = await planned(context, request.model)
    record.route = plan.route
    attempts, name = Attempts(), request.model

    async def ask(target: Target) -> Embeddings:
        request.model = target.model
        return await target.backend.embed(request, timeout=attempts.timeouts)

    try:
        vectors = await runtime.router.run(plan, ask, attempts, repeated=context.repeated, deadline=context.deadline)
        attempts.completed()
    finally:
        context.credit(attempts)
    record.first, record.verdict = monotonic(), "complete"
    record.prompt_tokens = vectors.usage.prompt_tokens
    request.model, vectors.model = name, name
    headers = [*context.responder.whole_headers("application/json"), (b"x-polychat-provider", record.provider.encode())]
    await context.responder.whole(
        200, [*headers, (b"x-polychat-attempts", b"%d" % attempts.count)], embeddings.write_reply(shape, vectors, request)
    )
