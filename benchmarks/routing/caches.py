"""Prompt caches: how often a conversation's next request comes to a target that has its beginning, and how even the load is.

The aims: within 5 % of what one cache for all would have, and no target above 1.25 times its even part.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from random import Random

from tests.support.simulated_route import SimulatedRoute, plan, target

from polychat.errors import RateLimited
from polychat.routing.traits import Traits, key_of

from ..report import Table

LABELS = "abcd"
STRATEGIES = ("affinity", "round-robin", "least-busy", "fastest")
CONVERSATIONS, TURNS = 2000, 8
CACHED = 300
"""Conversations that one target's cache holds; the one that was used longest ago goes first."""
RATE = 40.0
AWAY = (100.0, 130.0)
"""When one target may not be asked, in the rows where that is so."""


_WAIT = RateLimited("wait", status=429)


class Conversation(Traits):
    def __init__(self, number: int) -> None:
        self.__dict__["affinity"] = key_of(str(number).encode())


class Cache:
    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[int, None] = OrderedDict()

    def has(self, number: int) -> bool:
        """Whether the conversation's beginning was there; it is, now."""
        hit = number in self._kept
        self._kept[number] = None
        self._kept.move_to_end(number)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return hit


def table() -> Table:
    """Two rows for each strategy."""
    made = Table("Prompt caches of four targets", ["strategy", "hits", "hits to ideal", "largest share to even", "in any 10 s"])
    for name in STRATEGIES:
        for away in (False, True):
            hits, ideal, spread, shortly = _run(name, away=away)
            title = f"{name}, one target away for 30 s" if away else name
            made.rows.append([title, f"{hits:.1%}", f"{hits / ideal:.3f}", f"{spread:.2f}", shortly])
    made.notes.append(
        f"{CONVERSATIONS} conversations of {TURNS} requests each, {RATE:g} a second, answers of 0.2 to 2 s; a cache of "
        f"{CACHED} conversations each. Ideal: one cache of them all. `{__name__}`."
    )
    return made


def _run(strategy: str, *, away: bool) -> tuple[float, float, float, str]:
    """The share of requests that hit, that of one cache for all, and the largest share of a target, to an even one."""
    rng = Random(7)
    route = SimulatedRoute(plan(*map(target, LABELS), strategy=strategy), lambda *_: rng.uniform(0.2, 2.0))
    caches, all_of_them = {label: Cache(CACHED) for label in LABELS}, Cache(CACHED * len(LABELS))
    hits = ideal = 0
    asked: dict[int, Counter[str]] = {}
    for number in _turns(Random(11)):
        now = route.now - 1000.0
        if away and now >= AWAY[0] and route.facts("b").rest_of(route.now) == 0 and now < AWAY[1]:
            route.facts("b").note_retry_after(_WAIT, AWAY[1] - now, route.now)
        label = route.ask(Conversation(number))
        hits += caches[label].has(number)
        ideal += all_of_them.has(number)
        asked.setdefault(int(now / 10), Counter())[label] += 1
        route.pass_time(rng.expovariate(RATE))
    whole = [counts for counts in asked.values() if counts.total() >= RATE * 9]
    shortly = max(max(counts.values()) / counts.total() * len(LABELS) for counts in whole)
    total, spread = CONVERSATIONS * TURNS, max(route.shares().values()) * len(LABELS)
    return hits / total, ideal / total, spread, "" if away else f"{shortly:.2f}"


def _turns(rng: Random) -> list[int]:
    """Which conversation each request belongs to: 200 are under way at a time."""
    under_way, waiting, turns = [], list(range(CONVERSATIONS)), []
    left = [TURNS] * CONVERSATIONS
    while under_way or waiting:
        while waiting and len(under_way) < 200:
            under_way.append(waiting.pop(0))
        place = rng.randrange(len(under_way))
        number = under_way[place]
        turns.append(number)
        left[number] -= 1
        if not left[number]:
            under_way.pop(place)
    return turns
