"""The current state of the targets of the configuration's routes, for a worker's snapshot: read on demand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

from ...errors import redact
from ...routing import Facts, Health

State: TypeAlias = Literal["closed", "open", "half-open", "resting", "not-ready"]
"""The state of its breaker; ``resting``: it is not called, by its ``retry-after`` or because its key or quota is refused;
``not-ready``: something is missing here, such as its key.
"""
STATES: tuple[State, ...] = get_args(State)
_REASON = 400
_BROKEN = "too many requests to it failed"
_REASONS: dict[State, str] = {"closed": "", "open": _BROKEN, "half-open": _BROKEN}


class RouteTargetState(Struct, array_like=True, forbid_unknown_fields=True):
    """One target of one route, in one worker."""

    route: str
    target: str
    state: State
    in_flight: Annotated[int, Meta(ge=0)]
    limit: Annotated[int, Meta(ge=0)] = 0
    """How many requests it may have at once; 0 where no route limits that."""
    queued: Annotated[int, Meta(ge=0)] = 0
    """Requests that wait for it."""
    reason: str = ""
    """Why it is in this state; empty for ``closed``."""
    until: float = 0.0
    """The moment, in ``time.monotonic``, before which it is not called."""


class RouteStates(Struct, array_like=True, forbid_unknown_fields=True):
    """Of one worker. ``retries_left`` is how many retries each route's budget has left."""

    targets: list[RouteTargetState] = []
    retries_left: dict[str, float] = {}

    @property
    def is_settled(self) -> bool:
        """Whether nothing changes while no request comes."""
        return all(target.state == "closed" for target in self.targets)


def state_of(facts: Facts, now: float) -> State:
    if facts.rest_of(now):
        return "resting"
    state = facts.breaker(now)
    return "not-ready" if facts.missing and state == "closed" else state


def state_in_route(facts: Facts, now: float) -> RouteTargetState:
    """The current state of one target in this process."""
    state, seconds = state_of(facts, now), facts.rest_of(now)
    reason = redact(str(facts.resting(now)), _REASON) if seconds else _REASONS.get(state, facts.missing)
    until = now + seconds if seconds else 0.0
    return RouteTargetState(facts.route, facts.name, state, facts.in_flight, *_slots(facts), reason, until)


def _slots(facts: Facts) -> tuple[int, int]:
    slots = facts.shared.slots
    return (0, 0) if slots is None else (slots.limit, len(slots.queue))


def route_states(routes: Iterable[str], health: Health, now: float) -> RouteStates:
    """The states of targets that were called, or skipped, in these routes."""
    names = frozenset(routes)
    targets = [state_in_route(facts, now) for facts in health.every() if facts.route in names]
    used = dict.fromkeys(target.route for target in targets)
    return RouteStates(targets, {route: health.budget(route).left(now) for route in used})
