"""What became of a run, counted from what its clients and its backends wrote down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .backends import Ask
from .load import Reply

ORPHANED = 0.5
"""Seconds after its client left, when a backend that still has the request is one too many."""
_IN_ROW = 10
"""Requests that are complete one after the other, before a gateway counts as back."""


@dataclass(frozen=True)
class Figures:
    requests: int
    complete: float
    """Of those that did not leave, the share that got all of their reply."""
    outcomes: Counter[str]
    silent: int
    repeated: int
    early: int
    """Requests that a backend got before the time it had named."""
    orphans: int
    amplification: float
    """Requests that backends got, each request of a client."""
    first: tuple[float, float]
    """Seconds to the first piece: the median, and the 99th percentile."""
    timeouts: int


def figures(replies: list[Reply], asks: list[Ask], end: float) -> Figures:
    """Of all requests of a run that was over at ``end``."""
    outcomes = Counter(reply.outcome for reply in replies)
    stayed = len(replies) - outcomes["left"]
    firsts = sorted(reply.first for reply in replies if reply.first is not None)
    return Figures(
        len(replies),
        outcomes["complete"] / max(1, stayed),
        outcomes,
        outcomes["silent"],
        sum(reply.is_repeated for reply in replies),
        sum(ask.early for ask in asks),
        _orphans(replies, asks, end),
        len(asks) / max(1, len(replies)),
        (_at(firsts, 0.5), _at(firsts, 0.99)),
        outcomes["timeout"],
    )


def _orphans(replies: list[Reply], asks: list[Ask], end: float) -> int:
    """Requests that a backend still had some time after their client was gone."""
    gone = {reply.number: reply.over for reply in replies}
    return sum(ask.number in gone and (ask.ended or end) > gone[ask.number] + ORPHANED for ask in asks)


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


@dataclass(frozen=True)
class Outage:
    """What a gateway did while no backend was well, and after."""

    amplification: float
    """Requests that backends got meanwhile, each request of a client."""
    waited: float
    """Seconds until a client was told, at most but for one in a hundred."""
    back: float | None
    """Seconds from the first backend's recovery until every request is complete again; ``None``: never."""


def outage(replies: list[Reply], asks: list[Ask], begin: float, end: float) -> Outage:
    """``begin`` and ``end`` are when all backends were sick. Refused connections are known to nobody, and not counted."""
    during = [reply for reply in replies if begin <= reply.sent < end]
    asked = sum(begin <= ask.arrived < end for ask in asks)
    waits = sorted(reply.over - reply.sent for reply in during)
    later = [reply for reply in sorted(replies, key=lambda reply: reply.sent) if reply.sent >= end and reply.outcome != "left"]
    return Outage(asked / max(1, len(during)), _at(waits, 0.99), _back(later, end))


def _back(later: list[Reply], end: float) -> float | None:
    for index, reply in enumerate(later):
        row = later[index : index + _IN_ROW]
        if len(row) == _IN_ROW and all(each.outcome == "complete" for each in row):
            return reply.sent - end
    return None
