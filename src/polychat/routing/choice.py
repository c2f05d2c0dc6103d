"""What a strategy is: the order in which the able targets of one tier of a route are called.

A strategy is a file of ``strategies/``. It gets candidates that may be called now, and reads of each only its weight and its
facts; those that fail, are at a limit, or are unfit for this request are not among them (``order.py`` appends those).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple, Protocol, TypeVar

from .conditions import Condition
from .resolve import Target
from .traits import Traits


class Reads(Protocol):
    """What strategies read of a target, or of all targets of a route that is among a route's targets."""

    @property
    def in_flight(self) -> int:
        """Requests in progress."""

    def first_token(self, now: float) -> float:
        """Seconds until it begins to answer, measured recently; 0 where that is not known."""


class Candidate(Protocol):
    """One member of a tier: a target, or a route among the route's targets."""

    @property
    def name(self) -> str: ...
    @property
    def weight(self) -> float: ...
    @property
    def seed(self) -> int:
        """64 bits that depend on the name alone, the same in every process."""

    @property
    def condition(self) -> Condition:
        """Which requests it takes; this one is among them."""

    @property
    def facts(self) -> Reads: ...
    def cost(self, traits: Traits, now: float) -> float | None:
        """US dollars that this request is expected to cost at it, with the attempts that fail; ``None`` where unknown."""


C = TypeVar("C", bound=Candidate)


class Strategy(ABC):
    """One object for each tier of each route, which may keep what it needs between requests, by the candidates' names."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    @abstractmethod
    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        """All of ``able``, at least two, in the order in which to try them.

        ``first``: the request goes to the first of them, so it is its turn; else others come before these, which are called
        only where those fail.
        """

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        """The first of ``order``, whose turn it is: most requests need no more, so a strategy may find it faster alone."""
        return self.order(list(able), now, traits, first=True)[0]

    @classmethod
    def shares(cls, weights: Sequence[float]) -> Sequence[float] | None:
        """Each candidate's share of the requests while all are able, or numbers in these proportions.

        ``None`` where the strategy decides by what it sees.
        """
        return None


UNLISTED = "no backend lists it, or several do"
"""Why a bare name among a route's targets is passed over."""


class PassedOver(NamedTuple):
    """A target that was moved to the end of the order, and why."""

    target: Target
    reason: str


class Choice:
    """The targets of a plan as they are to be called, each once, and which of them were passed over."""

    __slots__ = ("_others", "first", "passed")

    def __init__(
        self, first: Target, others: list[Target] | Callable[[], list[Target]], passed: list[PassedOver] | None = None
    ) -> None:
        self.first = first
        self.passed = [] if passed is None else passed
        self._others = others
        """The targets after ``first``, or a function that finds them: few requests need them."""

    def __iter__(self) -> Iterator[Target]:
        yield self.first
        yield from self._rest()

    @property
    def targets(self) -> list[Target]:
        return [self.first, *self._rest()]

    def beginning_with(self, target: Target) -> list[Target]:
        """The same targets, ``target`` before the others."""
        return [target, *(other for other in self if other is not target)]

    def _rest(self) -> list[Target]:
        if not isinstance(self._others, list):
            self._others = [target for target in self._others() if target is not self.first]
        return self._others
