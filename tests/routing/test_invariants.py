"""The router as a machine that Hypothesis drives: whatever targets do, and in whatever order, some things never happen.

Clients come and leave, targets change what they do, time passes. A target answers at once or late, fails, names a time to come
back, hangs, or cuts its answer off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any, Literal, TypeAlias, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from polychat.config.settings import Route
from polychat.errors import ConnectionFailed, PolychatError, RateLimited, Truncated, Unauthorized
from polychat.routing import Health, Plan, Router, Target
from polychat.routing.attempts import Attempts
from polychat.routing.budget import KEPT, LEAST, SECONDS, SHARE

from ..support.scripted_router import KIND, backend_of
from ..support.virtual_time import VirtualLoop

Behaviour: TypeAlias = Literal["well", "slow", "fails", "hangs", "later", "denied", "cuts"]
BEHAVIOURS: tuple[Behaviour, ...] = get_args(Behaviour)
LABELS = "abc"
FIRST_TIMEOUT = 20.0


class Client:
    """One request: its verdicts, and the pieces that it got."""

    def __init__(self) -> None:
        self.verdicts: list[str] = []
        self.pieces: list[str] = []
        self.attempts = Attempts()


class Routing(RuleBasedStateMachine):
    """``a``, ``b`` and ``c`` of one route. The loop's clock does not advance between two rules."""

    @initialize(seed=st.integers(0, 1000), strategy=st.sampled_from(["ordered", "round-robin", "fastest", "weighted"]))
    def begin(self, seed: int, strategy: Any) -> None:
        self.loop = VirtualLoop()
        self.health = Health()
        self.router = Router(self.health, clock=self.loop.time, rng=Random(seed))
        targets = tuple(Target(f"{label}/1", backend_of(label), label, "1") for label in LABELS)
        rules = Route(tuple(target.name for target in targets), strategy=strategy, first_timeout=FIRST_TIMEOUT, attempts=4)
        self.plan = Plan("route", targets, rules)
        self.behaviours: dict[str, Behaviour] = dict.fromkeys(LABELS, "well")
        self.due = dict.fromkeys(LABELS, 0.0)
        self.probing: dict[str, int] = dict.fromkeys(LABELS, 0)
        self.clients: list[tuple[Client, asyncio.Task[None]]] = []
        self.wrong: list[str] = []
        self.retries: list[float] = []
        self.came: list[float] = []

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self._run(self._left())
            self.loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(coroutine)

    async def _left(self) -> None:
        for _, task in self.clients:
            task.cancel()
        await asyncio.gather(*(task for _, task in self.clients), return_exceptions=True)

    # What happens

    @rule(label=st.sampled_from(LABELS), behaviour=st.sampled_from(BEHAVIOURS))
    def change(self, label: str, behaviour: Behaviour) -> None:
        self.behaviours[label] = behaviour

    @rule(number=st.integers(1, 12))
    def come(self, number: int) -> None:
        async def begin() -> None:
            for _ in range(number):
                client = Client()
                self.came.append(self.loop.time())
                self.clients.append((client, asyncio.ensure_future(self._client(client))))
            await asyncio.sleep(0)

        self._run(begin())

    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        waiting = [task for _, task in self.clients if not task.done()]
        if waiting:
            waiting[which % len(waiting)].cancel()
            self._run(asyncio.sleep(0))

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self._run(asyncio.sleep(seconds))

    # What targets and clients do

    async def _ask(self, client: Client, target: Target) -> str:
        label, now = target.label, self.loop.time()
        facts = self.router.facts(self.plan, target)
        if now < self.due[label]:
            self.wrong.append(f"{label} is asked {self.due[label] - now} s earlier than it said")
        if client.attempts.count > 1:
            self.retries.append(now)
        is_probe = client.attempts.is_probe
        self.probing[label] += is_probe
        if self.probing[label] > 1:
            self.wrong.append(f"{label} has {self.probing[label]} probes at once")
        if facts.breaker(now) == "open" and is_probe:
            self.wrong.append(f"{label} is probed while it rests")
        try:
            return await self._answer(label)
        finally:
            self.probing[label] -= is_probe

    async def _answer(self, label: str) -> str:
        match behaviour := self.behaviours[label]:
            case "slow":
                await asyncio.sleep(3.0)
            case "hangs":
                await asyncio.sleep(FIRST_TIMEOUT)
                raise ConnectionFailed("it hung")
            case _:
                await asyncio.sleep(0.05)
        if behaviour == "fails":
            raise ConnectionFailed("no connection")
        if behaviour == "denied":
            raise Unauthorized("no", status=401)
        if behaviour == "later":
            self.due[label] = max(self.due[label], self.loop.time() + 7.0)
            raise RateLimited("too many", status=429, retry_after=7.0)
        return "cut" if behaviour == "cuts" else label

    async def _client(self, client: Client) -> None:
        cut: PolychatError | None = None
        attempts = client.attempts
        try:
            answer = await self.router.run(self.plan, lambda target: self._ask(client, target), attempts, kind=lambda: KIND)
            client.pieces.append("first")
            await asyncio.sleep(0.2)
            if answer == "cut":
                cut = Truncated("it broke")
            else:
                client.pieces.append("last")
                attempts.completed()
            client.verdicts.append("truncated" if cut else "complete")
        except PolychatError:
            client.verdicts.append("failed")
        finally:
            attempts.end(cut)

    # What never happens

    @invariant()
    def nothing_is_wrong(self) -> None:
        """No target is called earlier than it asked, and a resting one gets its probes alone, one at a time."""
        if hasattr(self, "loop"):
            assert self.wrong == []

    @invariant()
    def retries_are_few(self) -> None:
        """No more than the budget has, of what is left of a minute too."""
        if not hasattr(self, "loop") or not self.retries:
            return
        seconds = self.loop.time() - min(self.came)
        least = LEAST * (KEPT * SECONDS + seconds + SECONDS)
        assert len(self.retries) <= least + SHARE * len(self.came) * (KEPT + 1)

    @invariant()
    def each_is_told_once(self) -> None:
        """No request has two verdicts, no piece comes twice, and what is over is in flight nowhere."""
        if not hasattr(self, "loop"):
            return
        for client, task in self.clients:
            assert len(client.verdicts) <= 1
            assert client.pieces in ([], ["first"], ["first", "last"])
            assert client.attempts.count <= 4
            if task.done() and not task.cancelled():
                assert task.exception() is None
                assert len(client.verdicts) == 1
        running = sum(not task.done() for _, task in self.clients)
        assert 0 <= sum(self.health.facts("route", f"{label}/1").in_flight for label in LABELS) <= running

    @rule()
    def all_are_well_again(self) -> None:
        """Then every request ends, every breaker comes back, and every target is asked again."""
        for label in LABELS:
            self.behaviours[label] = "well"
        self._run(asyncio.sleep(150.0))
        assert all(task.done() for _, task in self.clients), "no request is lost"
        for label in LABELS:
            self._run(self._comes_back(label))

    async def _comes_back(self, label: str) -> None:
        target = next(target for target in self.plan.targets if target.label == label)
        alone = Plan("route", (target,), self.plan.rules)
        for _ in range(400):
            attempts = Attempts()
            try:
                answer = await self.router.run(alone, lambda chosen: self._answer(chosen.label), attempts)
                assert answer == label
            except PolychatError:
                await asyncio.sleep(1.0)
                continue
            finally:
                attempts.completed()
            if self.router.facts(self.plan, target).breaker(self.loop.time()) == "closed":
                return
        raise AssertionError(f"{label} does not come back")


TestRouting = Routing.TestCase
TestRouting.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
