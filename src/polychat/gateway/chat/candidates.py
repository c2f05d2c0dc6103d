"""Who may answer a chat: the plan of its model's name, and what the client's ``provider`` makes of that."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from ...calls.info import CallInfo
from ...errors import PolychatError
from ...routing import Plan, Target
from ...routing.provider_preferences import preferred, with_named
from ..context import RequestContext
from ..dialects.dialect import InboundChat
from ..listing import planned
from .opening import LARGE
from .preferences import hosted_tools
from .traits import passes


async def plan_of(context: RequestContext, inbound: InboundChat) -> Plan:
    """Raises ``UnknownTarget`` and ``BadInput`` as ``planned``, and where no target is left that the client wants."""
    plan = await planned(context, *(inbound.models or (inbound.model,)))
    return plan if inbound.preferences is None else as_wanted(context, inbound, plan)


def as_wanted(context: RequestContext, inbound: InboundChat, plan: Plan) -> Plan:
    """The plan as ``inbound.preferences`` want it; ``inbound.lost`` has what could not be obeyed. Raises ``UnknownTarget``."""
    wanted, runtime = inbound.preferences, context.runtime
    if wanted is None:
        return plan
    if not plan.route:
        plan = with_named(plan, inbound.model, wanted, runtime.resolver)
    is_large = wanted.require_parameters and inbound.size > LARGE

    def carries(target: Target) -> bool:
        with suppress(PolychatError):
            passes(inbound, target, call_info := CallInfo("refuse", hosted_tools(context, plan.rules)))
            return not call_info.losses
        return False

    narrowed, unknown = preferred(
        plan, wanted, runtime.router.chooser, monotonic(), (lambda target: True) if is_large else carries
    )
    unknown += ["require_parameters"] if is_large else []
    inbound.lost += tuple(f"provider.{name}" for name in unknown)
    return narrowed
