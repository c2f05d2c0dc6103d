"""What one request did at the targets of its plan: which were called, when, and why they did not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from ..errors import Failure, PolychatError
from ..http.timeouts import Timeouts
from .choice import PassedOver
from .clocks import LAST
from .facts import Facts
from .hold import Hold, hold_of
from .policy import failure_of
from .resolve import Target
from .slots import Slots

if TYPE_CHECKING:
    from ..config.settings import Route

_DEFAULT = Timeouts(first=LAST)


class AttemptRouter(Protocol):
    """The router, as attempts know it."""

    clock: Callable[[], float]

    def note(self, facts: Facts, rules: Route, error: PolychatError, called_at: float, answered_at: float) -> None:
        """Record the failure of an attempt in the facts about its target."""


class Attempts:
    """What one run did."""

    __slots__ = (
        *("_facts", "_router", "_rules"),
        *("answered", "answered_at", "called_at", "called_before", "called_first", "begun_at", "count", "failures"),
        *("is_continued", "is_last", "is_probe"),
        *("limits", "passed", "queued", "resting", "slots", "target", "timeouts", "times"),
    )

    def __init__(self) -> None:
        self.count = 0
        """How many times a target was called."""
        self.target: Target | None = None
        """The target that was called last, or, if all are resting, the first that may be called again."""
        self.answered = False
        """Whether ``target`` began to answer."""
        self.answered_at = 0.0
        """The moment at which it did."""
        self.failures: list[Failure] = []
        """Each attempt that failed, in order."""
        self.times: list[tuple[float, float]] = []
        """When each of these began and was over, by the router's clock."""
        self.passed: Sequence[PassedOver] = ()
        """Targets that were moved to the end of the order, and why."""
        self.resting: list[tuple[Target, PolychatError]] = []
        """Targets that were not called in their turn, and why."""
        self.is_last = False
        """Whether no other target is tried after the current attempt, whatever its outcome."""
        self.is_continued = False
        """Whether another target continues the answer if it is cut off."""
        self.limits: Sequence[tuple[bytes, bytes]] = ()
        """Headers of the current attempt about its target's limits. The ``ask`` of ``Router.run`` sets them."""
        self.timeouts = _DEFAULT
        """Of the attempt at hand."""
        self.called_at = 0.0
        """When the current attempt began."""
        self.called_first: Target | None = None
        """The target that was called before the run, and is the first of it."""
        self.called_before: float | None = None
        """When that attempt began."""
        self.begun_at: float | None = None
        """When the first piece of the current attempt came, where ``ask`` holds its answer back for longer."""
        self.is_probe = False
        """Whether the attempt at hand is to show how a target is that failed before."""
        self._facts: Facts | None = None
        """Of the called target, until its answer is over."""
        self.queued = 0.0
        """Seconds that the request waited, as its targets had as many requests as their route allows."""
        self.slots: Slots | None = None
        """Of which it has one, where the route limits its targets' requests at once."""

    def begin(
        self, router: AttemptRouter, rules: Route, target: Target, facts: Facts, now: float, *, is_last: bool = False
    ) -> None:
        """A target is called."""
        self.count += 1
        self.target = target
        self._router, self._rules, self._facts = router, rules, facts
        self.called_at, self.begun_at = now, None
        self.is_probe = facts.called(now)
        self.is_last = is_last

    @property
    def may_hold(self) -> bool:
        """Whether ``hold`` may give anything: not where its text would only be late, as no other target is called after it."""
        return self._rules.hold > 0 or (self._rules.hold_after_failures and not self.is_last)

    def hold(self) -> Hold | None:
        """What is to be kept back of the attempt's stream, whose first piece is there: until then others are learned from."""
        facts = self._facts
        if facts is None:
            return None
        held = hold_of(self._rules)
        if held is not None or self.is_last or not self._rules.hold_after_failures:
            return held
        return facts.hold(self._router.clock(), is_continued=self.is_continued)

    def begins(self) -> None:
        """The first piece of the attempt at hand is there, though its answer is not given yet: it is not given up any more."""
        self.begun_at = self._router.clock()

    def resume(
        self, router: AttemptRouter, rules: Route, target: Target, facts: Facts, called_at: float, answered_at: float
    ) -> None:
        """The only attempt was begun elsewhere, and the target has begun to answer."""
        self.count, self.target, self.answered, self.is_last = 1, target, True, True
        self._router, self._rules, self._facts = router, rules, facts
        self.called_at, self.answered_at = called_at, answered_at

    def failed(self, failure: Failure) -> None:
        """The current attempt is over without an answer that came to its end."""
        self.failures.append(failure)
        self.times.append((self.called_at, self._router.clock()))

    def cut(self, error: PolychatError) -> None:
        """The answer was cut off with this error, and another target continues it."""
        assert self.target is not None
        self.failed(failure_of(self.target.name, error))
        self.end(error)
        self.answered = False

    def join(self, left: Attempts) -> None:
        """Add what ``left`` did, whose last attempt was given up for this one's answer."""
        self.count += left.count
        why = "another target began first"
        failures = (
            Failure(failure.target, "hedged", why, why) if failure.outcome == "cancelled" else failure
            for failure in left.failures
        )
        self.failures, self.times = [*failures, *self.failures], [*left.times, *self.times]

    def leave(self) -> None:
        """The slot is another request's."""
        slots, self.slots = self.slots, None
        if slots is not None:
            slots.freed()

    def check(self) -> None:
        """Raises ``Resting`` if the target sent a retry time since it was chosen: see ``http/sending.py``."""
        if self._facts is not None and self.begun_at is None and not self.answered:  # a reply that has begun goes on
            self._facts.check(self._router.clock())

    def not_sent(self) -> None:
        """The target of the current attempt was not called after all."""
        self.count -= 1
        self.end()

    def completed(self) -> None:
        """The answer came to its end. ``end`` may follow."""
        if self._facts is not None:
            self._facts.completed(self.called_at)
            self.end()

    def end(self, error: PolychatError | None = None) -> None:
        """The answer is over, or the attempt at one: nothing is in flight any more.

        ``error``: what cut it off after its first piece. Without one the rest is not wanted, which is no sign about it.
        May be called again.
        """
        facts, self._facts = self._facts, None
        if facts is None:
            return
        if self.slots is not None:
            self.slots.note(self._router.clock() - self.called_at)
            self.leave()
        if self.answered and error is not None:
            self._router.note(facts, self._rules, error, self.called_at, self.answered_at)
        facts.over(is_probe=self.is_probe, was_answered=self.answered)
