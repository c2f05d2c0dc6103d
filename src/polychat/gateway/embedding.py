"""Texts into vectors, at the doors that have it."""

from __future__ import annotations

from time import monotonic

from ..routing import Target
from ..routing.names import LONGEST
from ..routing.router import Attempts
from ..transport._timer import Waits
from ..wire import embeddings
from ..wire.embeddings import Embed, Embeddings, Shape
from .listing import planned
from .visit import Visit


async def openai(visit: Visit) -> None:
    """``/v1/embeddings``."""
    await embedded(visit, "openai")


async def embedded(visit: Visit, shape: Shape, model: str | None = None, asked: Embed | None = None) -> None:
    """Answers in the door's shape; ``model`` is what a path says. Raises ``PolychatError``."""
    asked = asked or embeddings.read_request(shape, visit.body, model)
    record, setup = visit.record, visit.setup
    record.model = asked.model[:LONGEST]
    plan = await planned(visit, asked.model)
    record.route = plan.route
    rules, attempts, name = plan.rules, Attempts(), asked.model
    waits = Waits(rules.connect_timeout, rules.first_timeout, rules.idle_timeout)

    async def ask(target: Target) -> Embeddings:
        asked.model = target.model
        return await target.provider.embed(asked, waits=waits, timeout=rules.timeout or None)

    try:
        given = await setup.router.run(plan, ask, attempts, repeated=visit.repeated)
    finally:
        visit.credit(attempts)
    record.first, record.verdict = monotonic(), "complete"
    record.prompt_tokens = given.usage.prompt_tokens
    asked.model, given.model = name, name
    said = [*visit.whole_headers("application/json"), (b"x-polychat-provider", record.provider.encode())]
    await visit.whole(
        200, [*said, (b"x-polychat-attempts", b"%d" % attempts.count)], embeddings.write_reply(shape, given, asked)
    )
