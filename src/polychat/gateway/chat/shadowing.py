"""Requests that are mirrored to a route's shadow after their client has its answer: see ``routing/shadow.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from ...calls.info import CallInfo
from ...costs import cost_of
from ...errors import BadInput, PolychatError
from ...events import Event, Finish, Usage, Verdict
from ...routing import Plan, Target
from ...routing.attempts import Attempts
from ...routing.shadow import SECONDS, is_mirrored, may_be_mirrored
from ..observe.paid_attempts import PaidAttempt
from ..observe.shadows import TargetResult
from ..responder import Refused
from .preferences import hosted_tools, on_loss
from .replies import open_events

if TYPE_CHECKING:
    from ...types import ChatRequest
    from ..context import RequestContext
    from ..dialects.dialect import InboundChat


def mirror(context: RequestContext, inbound: InboundChat, plan: Plan) -> None:
    """Send an answered request to the plan's shadow too, if it is selected."""
    shadows = context.service.shadows
    if plan.shadow is None or context.record.verdict is None:
        return
    draw = context.runtime.router.rng.random()
    if not is_mirrored(plan.rules.shadow_percent, draw, len(shadows), inbound.size):
        return
    with suppress(BadInput, Refused):
        request = inbound.with_media()
        if may_be_mirrored(request):
            shadows.start(_mirrored(context, request, plan, plan.shadow))


async def _mirrored(context: RequestContext, request: ChatRequest, plan: Plan, shadow: Plan) -> None:
    """Call the shadow, and count its result next to that of the answer."""
    attempts, begun = Attempts(), monotonic()
    verdict, usage = await _answer_of(shadow, context, request, plan, attempts)
    target, prices = attempts.target, context.runtime.configured.prices
    if target is None:
        return
    cost = (
        None
        if usage is None
        else cost_of(prices, target.label, target.backend.url, target.model, usage, requested=target.model)
    )
    record = context.record
    took = (record.over or begun) - record.start
    answer = TargetResult(record.answered or record.provider, record.verdict or "failed", took, record.cost)
    shadowed = TargetResult(target.name, verdict, monotonic() - begun, cost)
    paid = PaidAttempt(record, target.name, "mirrored", verdict, usage or Usage(), cost)
    context.service.shadowed(answer, shadowed, paid)


async def _answer_of(
    shadow: Plan, context: RequestContext, request: ChatRequest, plan: Plan, attempts: Attempts
) -> tuple[Verdict, Usage | None]:
    """The result of the answer. Takes at most ``SECONDS``."""
    router = context.runtime.router
    verdict: Verdict = "failed"
    usage: Usage | None = None

    async def ask(target: Target) -> AsyncGenerator[list[Event], None]:
        call_info = CallInfo(on_loss(context, plan.rules), hosted_tools(context, plan.rules))
        batches = target.backend.answers(replace(request, model=target.model), call_info, timeout=attempts.timeouts)
        try:
            reply = await open_events(batches, call_info, whole=False)
        finally:
            attempts.limits = call_info.limits
        return _events(reply.first, reply.batches)

    try:
        async with asyncio.timeout(SECONDS), aclosing(await router.run(shadow, ask, attempts, is_extra=True)) as batches:
            async for batch in batches:
                for event in batch:
                    if type(event) is Usage:
                        usage = event
                    elif type(event) is Finish:
                        verdict = event.verdict
                        attempts.end(event.error) if event.error is not None else attempts.completed()
    except (PolychatError, TimeoutError):
        pass
    finally:
        attempts.end()
    return verdict, usage


async def _events(first: list[Event], batches: AsyncGenerator[list[Event], None]) -> AsyncGenerator[list[Event], None]:
    async with aclosing(batches):
        yield first
        if type(first[-1]) is not Finish:
            async for batch in batches:
                yield batch
