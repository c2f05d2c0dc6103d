"""Synchronous calls run in threads of their own, each with a loop: what they are to share is made once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest

import polychat.config
from polychat.backends import registry
from polychat.client import targets
from polychat.routing import facts, health

from ..support.compiled import replaces_compiled

FILE = '[providers.house]\nwire = "openai-chat"\nbase_url = "http://127.0.0.1:9/v1"\n'


def router() -> Callable[[], object]:
    own = targets.Targets(registry.Registry(polychat.config.Config()))
    return lambda: own.router({"api_key": "k"})


def of_health(name: str, *values: str) -> Callable[[], Callable[[], object]]:
    return lambda: partial(getattr(health.Health(), name), *values)


def shared_facts() -> Callable[[], object]:
    known = health.Health()
    return lambda: known.facts("r", "house/m").shared


MADE: dict[str, tuple[Any, str, Callable[[], Callable[[], object]]]] = {
    "a target's facts in a route": (health, "Facts", of_health("facts", "r", "house/m")),
    "a target's facts in every route": (health, "TargetState", shared_facts),
    "what shares a key": (health, "Rest", of_health("domain", "house")),
    "a retry budget": (health, "RetryBudget", of_health("budget", "r")),
    "slots": (facts, "Slots", lambda: partial(facts.TargetState().slots_of, 1)),
    "the router of an account": (targets.Targets, "_new_router", router),
    "the configuration of a file": (polychat.config, "read", lambda: polychat.config.load),
    "the own registry": (registry, "Registry", lambda: registry.user_registry),
    "the own targets": (targets, "Targets", lambda: targets.user_targets),
}


COMPILED = (health, facts)
"""Modules that a build may compile."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=replaces_compiled if made[0] in COMPILED else ()) for name, made in MADE.items()]
)
def test_two_threads_make_one(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Two threads that need the same thing at once, before there is any, get the same one: it holds their limits and health."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "polychat").mkdir()
    (tmp_path / "polychat" / polychat.config.FILE).write_text(FILE)
    place, attribute, prepared = MADE[name]
    get, original, both = prepared(), getattr(place, attribute), Barrier(2)

    def slowly(*values: Any, **named: Any) -> object:
        with suppress(BrokenBarrierError):
            both.wait(0.05)  # the other thread comes here too if it is let in
        return original(*values, **named)

    monkeypatch.setattr(place, attribute, slowly)
    with ThreadPoolExecutor(2) as threads:
        first, second = (threads.submit(get) for _ in range(2))
        assert first.result() is second.result()
    assert both.broken, "what is made was not reached, or reached twice"
