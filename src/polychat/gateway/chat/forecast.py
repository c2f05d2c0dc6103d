"""Where a chat would be sent, without sending it: the order of targets, passed through or translated, and losses."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

from ...calls.info import CallInfo
from ...errors import PolychatError, UnknownTarget, redact
from ...routing import Plan
from ...routing.choice import UNLISTED
from ..context import RequestContext
from ..dialects.dialect import Dialect, InboundChat
from .candidates import with_preferences
from .preferences import hosted_tools, on_loss
from .traits import ChatTraits, passes

_REASON = 400


def forecast(context: RequestContext, dialect: Dialect) -> dict[str, Any]:
    """The ``observe.recent.explanation`` of the request in ``context``, as far as it is known beforehand.

    Raises ``PolychatError`` for an invalid request, and for a model that is unknown without requesting the backends' lists.
    """
    inbound = dialect.inbound(context)
    resolver = context.runtime.resolver
    try:
        plan = resolver.joined(inbound.models) if inbound.models else resolver.plan(inbound.model)
    except UnknownTarget as error:
        if not resolver.may_be_listed(error.asked):
            raise
        raise UnknownTarget(f"{error}: the backends may list it, and a dry run does not ask them", near=error.near) from None
    plan = with_preferences(context, inbound, plan)
    return {
        "dialect": dialect.name,
        "path": context.path,
        "model": redact(inbound.model, 120),
        "route": plan.route,
        "strategy": plan.strategy if plan.route else "",
        "candidates": list(_candidates(context, inbound, plan)),
    }


def _candidates(context: RequestContext, inbound: InboundChat, plan: Plan) -> Iterator[dict[str, Any]]:
    """In the order in which they would be tried now."""
    choice = context.runtime.router.chooser.choose(plan, monotonic(), ChatTraits(context, inbound, plan), is_turn=False)
    passed = {over.target: over.reason for over in choice.passed}
    for target in choice.targets:
        call_info = CallInfo(on_loss(context, plan.rules), hosted_tools(context, plan.rules))
        entry: dict[str, Any] = {"target": redact(target.name, 120)}
        try:
            entry["outcome"] = "passes" if passes(inbound, target, call_info) else "translated"
        except PolychatError as error:
            entry |= {"outcome": "refused", "reason": redact(str(error), _REASON)}
        if target in passed:
            entry |= {"outcome": "passed over", "reason": passed[target]}
        yield {**entry, "losses": [str(loss) for loss in call_info.losses]}
    for target in (each for each in passed if each not in choice.targets):  # their conditions exclude the request
        yield {"target": redact(target.name, 120), "outcome": "passed over", "reason": passed[target], "losses": []}
    for name in plan.unlisted:
        yield {"target": name, "outcome": "unlisted", "reason": UNLISTED, "losses": []}
