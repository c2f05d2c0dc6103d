"""By expected cost."""

from __future__ import annotations

from random import Random

from polychat.events import Usage
from polychat.routing import Target
from polychat.routing.traits import Traits

from ...support.simulated_route import SimulatedRoute, plan, target

DOLLARS = {"a": (3.0, 0.3, 15.0), "b": (2.0, 2.0, 12.0), "d": (2.5, 2.5, 2.5)}
"""For a million tokens: of the prompt, of it where it is cached, and of the answer. ``c`` has no price."""


def pricing(target: Target, usage: Usage) -> float | None:
    if target.label not in DOLLARS:
        return None
    prompt, cached, completion = DOLLARS[target.label]
    held = usage.cached_tokens or 0
    return (((usage.prompt_tokens or 0) - held) * prompt + held * cached + (usage.completion_tokens or 0) * completion) / 1e6


def route(names: str, strategy: str = "cheapest") -> SimulatedRoute:
    return SimulatedRoute(plan(*map(target, names), strategy=strategy), pricing=pricing)


class Prompt(Traits):
    def __init__(self, tokens: int) -> None:
        self.__dict__["prompt_tokens"] = tokens


def test_the_cheapest_first() -> None:
    """By prompt and answer together; one whose price is not known is not taken for free, and comes last."""
    assert route("cab").order(Prompt(1_000)) == "bac"
    assert route("bd").order(Prompt(100)) == "db"
    assert route("bd").order(Prompt(1_000_000)) == "bd"


def test_its_cache_counts() -> None:
    """Who has most of the prompts in its cache is cheaper than its price says."""
    here = route("ab")
    assert here.order(Prompt(10_000)) == "ba"
    for _ in range(40):
        here.chooser.settled("a/1", Usage(10_000, 500, cached_tokens=9_000))
    assert here.order(Prompt(10_000)) == "ab"


def test_the_length_of_its_answers_counts() -> None:
    """Who says the same in fewer words is cheaper."""
    here = route("ab")
    here.order(Prompt(100))
    for _ in range(40):
        here.chooser.settled("a/1", Usage(100, 50))
    assert here.order(Prompt(100)) == "ab"


def test_failures_cost() -> None:
    """Of five attempts two failed: three answers cost as much as five."""
    here = route("ab")
    assert here.order(Prompt(1_000)) == "ba"
    facts = here.facts("b")
    for failed in (False, True, False, True, False):
        if failed:
            facts.failed(here.now, here.now, 15.0, Random(1))
        else:
            facts.answered(0.1, here.now)
    assert facts.is_well(here.now)
    assert here.order(Prompt(1_000)) == "ab"


def test_what_is_kept() -> None:
    """Only of targets that are chosen by costs: clients may name others without end."""
    here = route("ab", "weighted")
    here.order()
    here.chooser.settled("a/1", Usage(1, 1))
    assert here.chooser._spending == {}
