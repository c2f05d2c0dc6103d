"""Which targets of a tier are not asked at all."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from polychat.errors import RateLimited
from polychat.routing import Facts, Health
from polychat.routing.ejection import ejected


def tier(sick: str, resting: str = "") -> list[Facts]:
    health = Health()
    members = [health.facts("route", f"{label}/1") for label in "abcde"]
    for facts in members:
        if facts.name[0] in sick:
            for _ in range(5):
                facts.failed(0.0, 0.0, 15.0, Random(3))
        if facts.name[0] in resting:
            facts.note_retry_after(RateLimited("later", status=429), 60.0, 0.0)
    return members


def names(members: frozenset[Facts]) -> str:
    return "".join(sorted(facts.name[0] for facts in members))


def test_the_sick_are_left_out() -> None:
    """Two of five are; of four sick ones two are, for the rest could not carry the load."""
    assert names(ejected(tier(""), (), 0.0)) == ""
    assert names(ejected(tier("bd"), (), 0.0)) == "bd"
    assert len(ejected(tier("abcd"), (), 0.0)) == 2


def test_weights_count() -> None:
    """Not the number of targets: one with most of the weight is asked though it is sick."""
    assert names(ejected(tier("ab"), (9, 1, 1, 1, 1), 0.0)) == "b"


def test_all_are_sick() -> None:
    """Then none is left out, for none is better; those that may not be asked at all do not count."""
    assert names(ejected(tier("abcde"), (), 0.0)) == ""
    assert names(ejected(tier("ab", resting="cde"), (), 0.0)) == ""
    assert names(ejected(tier("ab", resting="cd"), (), 0.0)) == "ab"


def test_one_target() -> None:
    """Is never left out for its failures."""
    assert names(ejected(tier("abcde")[:1], (), 0.0)) == ""


@given(st.sets(st.sampled_from("abcde")), st.lists(st.floats(0, 9), min_size=5, max_size=5))
def test_never_more_than_half(sick: set[str], weights: list[float]) -> None:
    """Of a tier's weight."""
    members = tier("".join(sick))
    out = ejected(members, weights, 0.0)
    assert sum(weight for facts, weight in zip(members, weights, strict=True) if facts in out) <= sum(weights) / 2
    assert all(facts.name[0] in sick for facts in out)
