"""Which requests a target takes."""

from __future__ import annotations

import pytest

from polychat.errors import BadInput
from polychat.routing.conditions import condition
from polychat.routing.traits import Traits

from ..support.simulated_route import Known, SimulatedRoute, plan, target


@pytest.mark.parametrize(
    ("text", "traits", "unmet"),
    [
        ("", Known(), ""),
        ("tools", Known(["tools"]), ""),
        ("tools images", Known(["tools"]), "images"),
        ("!tools", Known(["tools"]), "!tools"),
        ("!tools", Known(), ""),
        ("prompt<=8000", Known(prompt=8000), ""),
        ("prompt<=8000", Known(prompt=8001), "prompt<=8000"),
        ("prompt>8000", Known(prompt=8001), ""),
        ("prompt>8000", Known(prompt=8000), "prompt>8000"),
        ("region=eu", Known(tags={"region": "eu"}), ""),
        ("region=eu", Known(tags={"region": "us"}), "region=eu"),
        ("region=eu", Known(), "region=eu"),
    ],
)
def test_terms(text: str, traits: Traits, unmet: str) -> None:
    """All terms have to hold; the first one that does not is reported."""
    assert condition(text).unmet(traits) == unmet


def test_a_target_is_never_asked_against_its_condition() -> None:
    """Not even where all others rest; where nobody is left the request is refused, with the reason of each target."""
    route = SimulatedRoute(plan(*map(target, "abc"), conditions=("region=eu", "region=eu", "region=us")))
    europe = Known(tags={"region": "eu"})
    assert route.order(europe) == "ab"
    for name in "ab":
        route.rest(name, 30.0)
    assert route.order(europe) == "ab"
    with pytest.raises(BadInput, match="no target of route takes this request: a/1: .*region=eu.*c/1: .*region=us") as caught:
        route.order(Known())
    assert caught.value.field == "model"


def test_a_condition_of_a_route_in_a_route() -> None:
    """Holds for all of its targets, and a route of one target has its condition too."""
    inner = plan(*map(target, "ab"), route="inner", strategy="round-robin")
    route = SimulatedRoute(plan(inner, target("c"), conditions=("images", "")))
    assert [route.order(), route.order(Known(["images"]))] == ["c", "abc"]
    alone = SimulatedRoute(plan(target("a"), conditions=("tools",)))
    assert alone.order(Known(["tools"])) == "a"
    with pytest.raises(BadInput):
        alone.order()
