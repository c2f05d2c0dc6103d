"""A route whose targets answer after a set time each, on a clock of its own, asked through the router's own chooser."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from polychat.backends.service import ServiceBackend
from polychat.config import Config
from polychat.config.settings import Route
from polychat.errors import ConnectionFailed
from polychat.providers import Provider
from polychat.routing import Health, Plan, Target
from polychat.routing.facts import Facts
from polychat.routing.order import Chooser
from polychat.routing.spending import Pricing, unpriced
from polychat.routing.traits import UNKNOWN, Traits

_BACKEND = ServiceBackend(Provider, Config())


def target(name: str) -> Target:
    """``a`` is the target ``a/1``, ``a/x`` itself."""
    name = name if "/" in name else f"{name}/1"
    return Target(name, _BACKEND, name.partition("/")[0], name.partition("/")[2])


def plan(*members: Target | Plan, route: str = "route", **rules: Any) -> Plan:
    """Of targets, or of other plans among them."""
    targets = dict.fromkeys(leaf for member in members for leaf in (member.targets if isinstance(member, Plan) else (member,)))
    names = tuple(member.route if isinstance(member, Plan) else member.name for member in members)
    has_plans = any(isinstance(member, Plan) for member in members)
    return Plan(route, tuple(targets), Route(targets=names, **rules), members if has_plans else ())


class Known(Traits):
    """Traits of a request that are known, without the request."""

    def __init__(self, needs: Iterable[str] = (), prompt: int = 0, tags: Mapping[str, str] | None = None) -> None:
        self.__dict__.update(needs=frozenset(needs), prompt_tokens=prompt, _tags=tags or {})

    @property
    def tags(self) -> Mapping[str, str]:
        tags: Mapping[str, str] = self.__dict__["_tags"]
        return tags


class SimulatedRoute:
    """``takes`` says how many seconds a target needs for an answer that it is asked for at a moment."""

    def __init__(
        self,
        plan: Plan,
        takes: Callable[[str, float], float] = lambda name, now: 1.0,
        *,
        seed: int = 1,
        pricing: Pricing = unpriced,
    ) -> None:
        self.plan, self.takes = plan, takes
        self.health = Health()
        self.chooser = Chooser(self.health, Random(seed), pricing)
        self.now = 1000.0
        self.asked: list[tuple[float, str]] = []
        """The moment, from 0, and the label of the target that was asked."""
        self._over: list[tuple[float, int, float, Facts]] = []

    def facts(self, name: str) -> Facts:
        return self.health.facts(self.plan.route, target(name).name)

    def rest(self, name: str, seconds: float) -> None:
        """A target failed, and is left alone for so long."""
        facts = self.facts(name)
        facts.failed(self.now, self.now, 15.0, Random(1))
        facts.note_retry_after(ConnectionFailed("no connection"), seconds, self.now)

    def order(self, traits: Traits = UNKNOWN) -> str:
        """The labels in order, a letter each."""
        return "".join(one.label for one in self.chooser.choose(self.plan, self.now, traits).targets)

    def ask(self, traits: Traits = UNKNOWN) -> str:
        """Call the chosen target, and leave it in flight; gives its label."""
        chosen = self.chooser.choose(self.plan, self.now, traits).first
        facts = self.health.facts(self.plan.route, chosen.name)
        facts.called(self.now)
        self.asked.append((self.now - 1000.0, chosen.label))
        seconds = self.takes(chosen.label, self.now - 1000.0)
        heapq.heappush(self._over, (self.now + seconds, len(self.asked), self.now, facts))
        return chosen.label

    def pass_time(self, seconds: float) -> None:
        """What ends until then has answered."""
        until = self.now + seconds
        while self._over and self._over[0][0] <= until:
            self.now, _, begun, facts = heapq.heappop(self._over)
            facts.answered(self.now - begun, self.now)
            facts.completed(begun)
            facts.over()
        self.now = until

    def load(self, seconds: float, each_second: float) -> None:
        """So many requests a second, evenly."""
        for _ in range(round(seconds * each_second)):
            self.ask()
            self.pass_time(1 / each_second)

    def shares(self, begin: float = 0.0, end: float = float("inf")) -> dict[str, float]:
        """The part of the requests of a span of time that each target was asked."""
        counts = Counter(name for moment, name in self.asked if begin <= moment < end)
        return {name: count / counts.total() for name, count in counts.items()}
