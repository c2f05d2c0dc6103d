"""The targets that may answer a chat: the plan of its model's name, restricted by the client's ``provider``."""

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
    """The plan. Raises ``UnknownTarget`` and ``BadInput`` as ``planned`` does, and if preferences leave no target."""
    plan = await planned(context, *(inbound.models or (inbound.model,)))
    return plan if inbound.preferences is None else with_preferences(context, inbound, plan)


def with_preferences(context: RequestContext, inbound: InboundChat, plan: Plan) -> Plan:
    """The plan restricted by ``inbound.preferences``; those that cannot be obeyed are added to ``inbound.lost``. Raises
    ``UnknownTarget``.
    """
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
