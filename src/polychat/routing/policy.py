"""Decisions, and nothing else: in which order targets are asked, and what is done about a failure."""

from __future__ import annotations

from random import Random
from typing import Literal, TypeAlias

from ..errors import (
    BackendError,
    BadInput,
    CertificateRefused,
    ChallengeRequired,
    LimitReached,
    NotReady,
    PolychatError,
    RateLimited,
    StatusError,
    TimedOut,
    Unauthorized,
    UnknownTarget,
)
from .health import Health
from .names import Plan, Target

Step: TypeAlias = Literal["give up", "elsewhere", "again"]
"""``elsewhere``: another target may do better, the same would not. ``again``: the same may do better too."""


def order(plan: Plan, health: Health, now: float, turn: int, dice: Random) -> list[Target]:
    """The targets as they are to be asked: those that are not well come last, for they are still better than nothing."""
    targets = list(plan.targets)
    if len(targets) == 1:
        return targets
    match plan.rules.strategy:
        case "random":
            targets = _drawn(targets, plan.rules.weights, dice)
        case "round-robin":
            start = turn % len(targets)
            targets = targets[start:] + targets[:start]
        case "fastest":
            targets.sort(key=lambda target: health.first_of(target.name))
    return sorted(targets, key=lambda target: not health.is_well(target.name, now))


def _drawn(targets: list[Target], weights: tuple[float, ...], dice: Random) -> list[Target]:
    """In an order drawn by weight; those of weight 0 are for when nobody else answers."""
    weighted = list(zip(targets, weights or (1.0,) * len(targets), strict=True))
    drawn = []
    while any(weight for _, weight in weighted):
        chosen = dice.choices(range(len(weighted)), [weight for _, weight in weighted])[0]
        drawn.append(weighted.pop(chosen)[0])
    return drawn + [target for target, _ in weighted]


_HOPELESS = ("invalid_request", "too_large")
"""What every backend would say of such a request."""


def step_after(error: PolychatError) -> Step:
    """What a failure before the first piece calls for."""
    match error:
        case UnknownTarget():
            return "give up"
        case BadInput() | NotReady():  # of this target: it cannot carry the ask, or is not set up
            return "elsewhere"
        case TimedOut(clock="total"):
            return "give up"
        case Unauthorized() | LimitReached() | CertificateRefused() | ChallengeRequired():
            return "elsewhere"
        case StatusError():
            if error.kind in _HOPELESS:
                return "give up"
            if error.kind is None and isinstance(error, RateLimited):  # of a site, whose statuses are all that it says
                return "again"
            if error.kind in ("rate_limit", "overloaded", "timeout", "server") or (error.status or 500) >= 500:
                return "again"
            return "elsewhere"
        case BackendError(kind="invalid_request" | "too_large"):
            return "give up"
        case BackendError():
            return "again"
    return "give up"


def is_target_at_fault(error: PolychatError) -> bool:
    """Whether the failure tells of the target's health, and not of the ask."""
    if isinstance(error, (BadInput, NotReady)):
        return False
    return error.kind not in (*_HOPELESS, "context_length", "not_found") if isinstance(error, BackendError) else False


def pause_before(attempt: int, error: PolychatError, dice: Random) -> float:
    """Seconds before the same target is asked again, for the ``attempt``th time: never less than it said."""
    if error.retry_after is not None:
        return error.retry_after
    return float(min(8.0, 0.25 * 2 ** (attempt - 2)) * (0.75 + dice.random() / 2))
