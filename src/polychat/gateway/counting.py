"""The number of tokens of a request: the backend's own count if it has one, else an estimate that is marked as such."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from ..routing import Target
from ..routing.attempts import Attempts
from ..routing.resolve import IN_ORDER, LONGEST
from ..types import ChatRequest
from ..wire.checks import check_arguments
from ..wire.estimating import estimated_prompt
from .chat.opening import LARGE
from .context import RequestContext
from .listing import planned


async def request_to_count(context: RequestContext, read: Callable[[], ChatRequest]) -> ChatRequest:
    """What ``read`` makes of the body, large schemas as JSON: beside the loop, where that takes long.

    Raises as ``read``, and ``BadInput`` where the arguments of an earlier call are deeper than ``gateway.limits.depth``.
    """
    request = await asyncio.to_thread(read) if len(context.body) > LARGE else read()
    check_arguments(request, context.runtime.limits.depth)
    return request


async def counted(context: RequestContext, request: ChatRequest) -> int:
    """Tokens of the prompt, counted by the first target that answers. Raises ``PolychatError``.

    It is an estimate if the first target does not count: another target's count would be of other tokens.
    """
    context.record.model = request.model[:LONGEST]
    plan = await planned(context, request.model)
    context.record.route = plan.route
    first = plan.targets[0]
    if not first.backend.counts:
        context.record.provider, context.record.served = first.label, first.model
        context.responder.more.append((b"x-polychat-estimated", b"true"))
        return await asyncio.to_thread(estimated_prompt, request) if len(context.body) > LARGE else estimated_prompt(request)
    able = tuple(target for target in plan.targets if target.backend.counts)
    rules = plan.rules.replace(**IN_ORDER)
    attempts = Attempts()

    async def count(target: Target) -> int:
        return await target.backend.count(replace(request, model=target.model)) or 0

    try:
        tokens = await context.runtime.router.run(
            replace(plan, targets=able, members=(), rules=rules),
            count,
            attempts,
            repeated=context.repeated,
            deadline=context.deadline,
        )
        attempts.completed()
        return tokens
    finally:
        context.credit(attempts)
