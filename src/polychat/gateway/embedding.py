"""Texts into vectors, in the dialects that have it."""

from __future__ import annotations

from time import monotonic

from ..http.timeouts import Timeouts
from ..routing import Target
from ..routing.resolve import LONGEST
from ..routing.router import Attempts
from ..wire import embeddings
from ..wire.embeddings import Embed, Embeddings, Shape
from .context import RequestContext
from .dialects.dialect import OPENED, check_body
from .listing import planned


async def embedded(context: RequestContext, shape: Shape, model: str | None = None, asked: Embed | None = None) -> None:
    """Answers in the dialect's shape; ``model`` is what a path says. Raises ``PolychatError``."""
    record, runtime = context.record, context.runtime
    if asked is None:
        check_body(context.body, runtime.limits)
        asked = embeddings.read_request(shape, context.body, model, OPENED)
    record.model = asked.model[:LONGEST]
    plan = await planned(context, asked.model)
    record.route = plan.route
    rules, attempts, name = plan.rules, Attempts(), asked.model
    timeouts = Timeouts(rules.connect_timeout, rules.first_timeout, rules.idle_timeout, rules.timeout or None)

    async def ask(target: Target) -> Embeddings:
        asked.model = target.model
        return await target.backend.embed(asked, timeout=timeouts)

    try:
        given = await runtime.router.run(plan, ask, attempts, repeated=context.repeated)
    finally:
        context.credit(attempts)
    record.first, record.verdict = monotonic(), "complete"
    record.prompt_tokens = given.usage.prompt_tokens
    asked.model, given.model = name, name
    said = [*context.responder.whole_headers("application/json"), (b"x-polychat-provider", record.provider.encode())]
    await context.responder.whole(
        200, [*said, (b"x-polychat-attempts", b"%d" % attempts.count)], embeddings.write_reply(shape, given, asked)
    )
