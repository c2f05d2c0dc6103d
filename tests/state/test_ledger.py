"""Reserve and settle, against a plain model that keeps a list of requests and adds up what counts at each moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import polychat.state.ledger
from polychat.state.ledger import NANO, Bucket, BucketFull, BucketName, Ledger, Reservation
from polychat.state.windows import window_at

from ..support.state_tables import Transition, transitions

LIFETIME = 90.0
SMALL = st.integers(0, 12)


@dataclass
class Request:
    """What the model knows of one: when it reserved, and what in each bucket."""

    reservation: Reservation
    at: float
    amounts: list[int]
    used: list[int] = field(default_factory=list)
    was_late: bool = False
    state: Literal["open", "settled", "expired"] = "open"


class Spending(RuleBasedStateMachine):
    """Requests in four buckets of one hierarchy, two of which have windows that end while requests run."""

    def __init__(self) -> None:
        super().__init__()
        names = [("team", "tokens", "hour"), ("person", "dollars", "minute"), ("key", "tokens", "minute")]
        self.buckets = [
            Bucket(BucketName(level, "a", metric, window), hard)  # type: ignore[arg-type]
            for (level, metric, window), hard in zip(names, (40, 25, None), strict=True)
        ]
        self.buckets.append(Bucket(BucketName("key", "a", "concurrent", None), 3))
        self.buckets[2].soft = 10
        self.ledger = Ledger(LIFETIME)
        self.now = 1_000_000_000.0
        self.requests: list[Request] = []

    def held(self, index: int) -> tuple[int, int]:
        """What the model says is used and reserved of a bucket."""
        kind = self.buckets[index].name.window
        window = None if kind is None else window_at(kind, self.now)
        counted = [request for request in self.requests if window is None or request.at >= window.start]
        used = 0 if window is None else sum(request.used[index] for request in counted if request.state == "settled")
        return used, sum(request.amounts[index] for request in counted if request.state == "open")

    def _expire(self) -> None:
        for request in self.requests:
            if request.state == "open" and request.at + LIFETIME <= self.now:
                request.state = "expired"

    @rule(seconds=st.sampled_from([0.5, 7.0, 31.0, 61.0, 3700.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(amounts=st.tuples(SMALL, SMALL, SMALL))
    def reserve(self, amounts: tuple[int, int, int]) -> None:
        """All buckets or none; a refusal names the first that is too full, and is true."""
        self._expire()
        amounts_wanted = [*amounts, 1]
        full = [
            index
            for index, (bucket, amount) in enumerate(zip(self.buckets, amounts_wanted, strict=True))
            if amount and bucket.hard is not None and sum(self.held(index)) + amount > bucket.hard
        ]
        result = self.ledger.reserve(list(zip(self.buckets, amounts_wanted, strict=True)), self.now)
        if isinstance(result, BucketFull):
            assert full
            assert result.bucket is self.buckets[full[0]], (full, result.bucket.name)
            assert not result.is_final, "each amount alone fits"
        else:
            assert not full
            self.requests.append(Request(result, self.now, amounts_wanted))

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), used=st.tuples(SMALL, SMALL, SMALL))
    def settle(self, data: Any, used: tuple[int, int, int]) -> None:
        """By less or more than was reserved, late, and again: the first time counts."""
        request = data.draw(st.sampled_from(self.requests[-6:]))
        self.ledger.settle(request.reservation, [*used, 1])
        if request.state != "settled":
            request.was_late = request.state == "expired"
            request.used, request.state = [*used, 1], "settled"

    @rule()
    def expire(self) -> None:
        self._expire()
        self.ledger.expire(self.now)
        assert len(self.ledger) == sum(request.state == "open" for request in self.requests)

    def _beyond(self, request: Request, index: int) -> int:
        """What it used without a reservation."""
        if not request.used:
            return 0
        return max(0, request.used[index] - (0 if request.was_late else request.amounts[index]))

    @invariant()
    def the_books_agree(self) -> None:
        """Every bucket has what the model adds up, and none is past its cap by more than requests used beyond what they
        reserved, those that were settled after they had expired included."""
        self._expire()
        self.ledger.expire(self.now)
        for index, bucket in enumerate(self.buckets):
            bucket.roll(self.now)
            assert (bucket.used, bucket.reserved) == self.held(index), bucket.name
            if bucket.hard is not None:
                assert bucket.used + bucket.reserved <= bucket.hard + sum(
                    self._beyond(request, index) for request in self.requests
                )
                assert bucket.left == max(0, bucket.hard - bucket.used - bucket.reserved)
        soft = self.buckets[2]
        assert soft.left is None
        assert soft.is_warned == (soft.used + soft.reserved >= 10)


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

HOUR = BucketName("person", "ada", "dollars", "hour")


def test_settled_by_what_was_reserved_the_cap_is_never_passed() -> None:
    """Requests that use no more than they reserved fill a bucket to its cap and not one unit beyond, in any order of ends."""
    bucket, ledger = Bucket(HOUR, 5 * NANO), Ledger(LIFETIME)
    under_way: list[Reservation] = []
    refused = 0
    for number in range(500):
        result = ledger.reserve([(bucket, NANO * 3 // 100)], 7200.0)
        if isinstance(result, BucketFull):
            refused += 1
        else:
            under_way.append(result)
        if number % 3 == 0 and under_way:
            ledger.settle(under_way.pop(len(under_way) // 2), [NANO * 3 // 100 - number % 2])
        assert bucket.used + bucket.reserved <= 5 * NANO
    assert refused
    assert bucket.left is not None
    assert bucket.left < NANO * 3 // 100


def test_the_table_of_states() -> None:
    """Each row of the table in the module's docstring happens, and what it says a bucket then holds is true."""
    bucket, ledger = Bucket(HOUR, 10), Ledger(LIFETIME)
    seen = set()

    def step(before: str, event: str, reservation: Reservation | None, held: tuple[int, int]) -> None:
        seen.add(Transition(before, event, reservation.state if reservation else "none"))
        assert (bucket.used, bucket.reserved) == held, (before, event)

    first = ledger.reserve([(bucket, 6)], 0.0)
    assert isinstance(first, Reservation)
    step("none", "it fits in every bucket", first, (0, 6))
    refused = ledger.reserve([(bucket, 5)], 0.0)
    assert isinstance(refused, BucketFull)
    assert not refused.is_final
    step("none", "it does not fit in one", None, (0, 6))
    ledger.settle(first, [2])
    step("open", "``settle``", first, (2, 0))
    ledger.settle(first, [9])
    step("settled", "``settle``", first, (2, 0))
    late = ledger.reserve([(bucket, 5)], 1.0)
    assert isinstance(late, Reservation)
    ledger.expire(1.0 + LIFETIME)
    step("open", "its time is over", late, (2, 0))
    ledger.settle(late, [7])
    step("expired", "``settle``", late, (9, 0))
    assert seen == transitions(polychat.state.ledger, "state of a reservation")


def test_a_clock_that_is_set_back_refuses_nobody_for_long() -> None:
    """What was spent in a window of the future says nothing of today. By some minutes less, the window stays: what is spent at
    its beginning is not forgotten by a correction of the clock."""
    bucket, ledger = Bucket(BucketName("key", "a", "tokens", "day"), 10), Ledger(LIFETIME)
    today = 86400.0 * 20_000
    reserved = ledger.reserve([(bucket, 10)], today + 86400 * 400)
    assert isinstance(reserved, Reservation)
    ledger.settle(reserved, [10])
    assert isinstance(ledger.reserve([(bucket, 1)], today + 86400 * 400 - 200), BucketFull)
    assert isinstance(ledger.reserve([(bucket, 1)], today), Reservation)
    assert bucket.window == window_at("day", today)


def test_a_request_that_can_never_fit_gets_an_error() -> None:
    """It is larger than the empty bucket: to wait for the window's end would be no advice."""
    refused = Ledger(LIFETIME).reserve([(Bucket(HOUR, 10), 11)], 0.0)
    assert isinstance(refused, BucketFull)
    assert refused.is_final
