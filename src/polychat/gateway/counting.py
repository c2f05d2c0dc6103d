"""The number of tokens of a request: the backend's own count if it has one, else an estimate that is marked as such."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from ..calls.info import CallInfo
from ..errors import BadInput
from ..routing import Target
from ..routing.attempts import Attempts
from ..routing.resolve import IN_ORDER, LONGEST
from ..types import ChatRequest
from ..wire.checks import check_arguments
from ..wire.estimating import estimated_prompt, measures_media
from ..wire.placeholders import Placeholders, with_placeholders
from ..worker_threads import in_thread
from .admission.demand import TextDemand
from .chat.opening import LARGE
from .context import RequestContext
from .dialects.bodies import new_token, readable
from .listing import planned


@dataclass(frozen=True, slots=True)
class CountedRequest:
    """A request whose tokens are to be counted; of a large one long texts are detached."""

    request: ChatRequest
    aside: Placeholders | None = None
    whole: Callable[[], ChatRequest] | None = None
    """Returns the request without placeholders, if it has any."""

    def changed(self, change: Callable[[ChatRequest], None]) -> CountedRequest:
        """The request changed by ``change``."""
        whole = self.whole

        def changed_whole() -> ChatRequest:
            assert whole is not None
            request = whole()
            change(request)
            return request

        change(self.request)
        return replace(self, whole=whole and changed_whole)

    def estimated(self) -> int:
        """The estimated number of tokens."""
        return estimated_prompt(self.request, 0 if self.aside is None else self.aside.text_size)


async def request_to_count(context: RequestContext, read: Callable[[bytes], ChatRequest]) -> CountedRequest:
    """The request that ``read`` reads from the body, large schemas as JSON: in a thread, if that takes long.

    Raises as ``read``, and ``BadInput`` if the arguments of an earlier call are deeper than ``gateway.limits.depth``.
    """
    limits = context.runtime.limits

    def opened() -> CountedRequest:
        body = readable(context.body, limits)
        aside = with_placeholders(body, new_token) if len(body) > LARGE else None
        if aside is not None:
            with suppress(BadInput):  # the error refers to the original body
                request = read(aside.short)
                if not measures_media(request):
                    return CountedRequest(request, aside, partial(read, body))
        return CountedRequest(read(body))

    asked = await in_thread(opened) if len(context.body) > LARGE else opened()
    check_arguments(asked.request, limits.depth)
    return asked


async def counted(context: RequestContext, asked: CountedRequest) -> int:
    """Tokens of the prompt, counted by the first target that answers, which costs nothing. Raises ``PolychatError``.

    It is an estimate if the first target does not count: another target's count would be of other tokens.
    """
    request = asked.request
    context.record.model = request.model[:LONGEST]
    plan = await planned(context, request.model)
    context.record.route = plan.route
    for guard in context.model_guards:
        if (waiting := guard.before(context, plan, TextDemand(0, request.user))) is not None:
            await waiting
    record = context.record
    first = plan.targets[0]
    if not first.backend.counts:
        record.provider, record.served = first.label, first.model
        record.verdict, record.cost = "complete", 0.0
        context.responder.more.append((b"x-polychat-estimated", b"true"))
        return await in_thread(asked.estimated) if len(context.body) > LARGE else asked.estimated()
    able = tuple(target for target in plan.targets if target.backend.counts)
    rules = plan.rules.replace(**IN_ORDER)
    attempts = Attempts()

    async def count(target: Target) -> int:
        return await _counted_by(target, asked) or 0

    with context.asking(attempts):
        tokens = await context.runtime.router.run(
            replace(plan, targets=able, members=(), rules=rules),
            count,
            attempts,
            repeated=context.repeated,
            deadline=context.deadline,
        )
    record.cost = 0.0
    return tokens


async def _counted_by(target: Target, asked: CountedRequest) -> int | None:
    request, whole = replace(asked.request, model=target.model), asked.whole
    if whole is None:
        return await target.backend.count(request)
    if not target.backend.restores:
        return await target.backend.count(replace(await in_thread(whole), model=target.model))
    call_info = CallInfo(placeholders=asked.aside, whole=lambda: replace(whole(), model=target.model))
    return await target.backend.count(request, call_info=call_info)
