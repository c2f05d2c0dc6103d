"""A router that has learnt enough of a target to ask a second one beside it."""

from __future__ import annotations

from polychat.routing import Router
from polychat.routing.clocks import Kind
from polychat.routing.hedging import HedgeBudget


def begins_at_once(router: Router, route: str, target: str) -> None:
    """The target usually begins at once, and the route has had requests enough for a second one."""
    for streamed in (True, False):
        for _ in range(64):
            router.health.facts(route, target).learn(Kind(streamed, 0, False), 0.001)
    budget = router.hedges[route] = HedgeBudget()
    for _ in range(100):
        budget.count_request(router.clock())
