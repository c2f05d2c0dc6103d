"""The number of tokens of a request: the backend's own count if it has one, else an estimate that is marked as such."""

from __future__ import annotations

from dataclasses import replace

from ..routing import Target
from ..routing.resolve import IN_ORDER, LONGEST
from ..routing.router import Attempts
from ..types import ChatRequest
from ..wire.estimating import estimated_prompt
from .context import RequestContext
from .listing import planned


async def counted(context: RequestContext, request: ChatRequest) -> int:
    """Tokens of the prompt, counted by the first target that answers. Raises ``PolychatError``.

    It is a guess where the first target has no count of its own: another's would be of other tokens.
    """
    context.record.model = request.model[:LONGEST]
    plan = await planned(context, request.model)
    context.record.route = plan.route
    first = plan.targets[0]
    if not first.backend.counts:
        context.record.provider, context.record.served = first.label, first.model
        context.responder.more.append((b"x-polychat-estimated", b"true"))
        return estimated_prompt(request)
    able = tuple(target for target in plan.targets if target.backend.counts)
    rules = plan.rules.replace(**IN_ORDER)
    attempts = Attempts()

    async def count(target: Target) -> int:
        return await target.backend.count(replace(request, model=target.model)) or 0

    try:
        return await context.runtime.router.run(
            replace(plan, targets=able, members=(), rules=rules),
            count,
            attempts,
            repeated=context.repeated,
            deadline=context.deadline,
        )
    finally:
        attempts.end()
        context.credit(attempts)
