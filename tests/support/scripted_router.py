"""A router on a clock of its own, whose targets answer and fail by a script: what a test of routing says of one route."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from polychat.backends.service import ServiceBackend
from polychat.config import Config
from polychat.config.settings import Route
from polychat.errors import ConnectionFailed, PolychatError, RateLimited, StatusError, Unauthorized
from polychat.providers import Provider
from polychat.routing import Facts, Health, Plan, Router, Target
from polychat.routing.attempts import Attempts
from polychat.routing.clocks import kind_of

Script = Callable[[], PolychatError | str]
KIND = kind_of(streamed=True, size=100, reasons=False)


def again() -> PolychatError:
    return ConnectionFailed("no connection")


def elsewhere() -> PolychatError:
    return Unauthorized("no", status=401)


def hopeless() -> PolychatError:
    error = StatusError("no such field", status=400)
    error.kind = "invalid_request"
    return error


def later(seconds: float) -> Script:
    return lambda: RateLimited("too many", status=429, retry_after=seconds)


def good() -> str:
    return "answer"


def backend_of(label: str) -> ServiceBackend:
    backend = ServiceBackend(Provider, Config())
    backend.label = label
    return backend


class World:
    """A router whose clock advances only by its own sleep, and for what an ask takes; targets that answer by a script."""

    def __init__(self, scripts: dict[str, Iterable[Script]], *, takes: float = 0.0, seed: int = 1, **rules: Any) -> None:
        self.now = 1000.0
        self.takes = takes
        self.asked: list[tuple[str, float]] = []
        self.slept: list[float] = []
        self._scripts = {name: list(script) for name, script in scripts.items()}
        self.health = Health()
        self.router = Router(self.health, clock=lambda: self.now, sleep=self._sleep, rng=Random(seed))
        targets = tuple(Target(f"{name}/1", backend_of(name), name, "1") for name in scripts)
        self.plan = Plan("route", targets, Route(targets=tuple(one.name for one in targets), **rules))
        self.attempts = Attempts()
        self.error: PolychatError | None = None

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def _ask(self, target: Target) -> str:
        self.asked.append((target.label, self.now - 1000.0))
        self.now += self.takes
        script = self._scripts[target.label]
        step = (script.pop(0) if len(script) > 1 else script[0])()  # the last one stays
        if isinstance(step, PolychatError):
            raise step
        return f"{step} of {target.label}"

    async def run(self) -> str:
        self.attempts = Attempts()
        return await self.router.run(self.plan, self._ask, self.attempts)

    def facts(self, label: str) -> Facts:
        return self.health.facts("route", f"{label}/1")

    @property
    def targets_asked(self) -> str:
        return "".join(name for name, _ in self.asked)
