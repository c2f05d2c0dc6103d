"""What a model's name means."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

from polychat.backends.registry import Registry
from polychat.config import Config
from polychat.config.settings import Route
from polychat.errors import BadInput, UnknownTarget
from polychat.routing import ModelResolver, Plan

TWO = {
    "house": {"wire": "openai-chat", "base_url": "http://127.0.0.1:1/v1", "serves": ["small", "both"]},
    "other": {"wire": "anthropic", "base_url": "http://127.0.0.1:1", "serves": ["big", "both"]},
}


def names(routes: dict[str, Route] | None = None, aliases: dict[str, str] | None = None, **more: Any) -> ModelResolver:
    configured = Config(providers={**TWO, **more}, routes=routes or {}, aliases=aliases or {})
    return ModelResolver(Registry(configured))


def targets_of(plan: Plan) -> list[tuple[str, str]]:
    return [(target.label, target.model) for target in plan.targets]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("house/small", ("house", "small")),
        ("house:small", ("house", "small")),
        ("HOUSE/small", ("house", "small")),
        ("house/a/model/with/slashes", ("house", "a/model/with/slashes")),
        ("house/llama3:8b", ("house", "llama3:8b")),
        ("house:a/b", ("house", "a/b")),
        ("house/unlisted", ("house", "unlisted")),
        ("small", ("house", "small")),
        ("big", ("other", "big")),
    ],
)
def test_a_target(name: str, meant: tuple[str, str]) -> None:
    """A provider and its model, cut at the first slash or colon; a bare name belongs to the only backend that has it."""
    plan = names().plan(name)
    assert targets_of(plan) == [meant]
    assert plan.route == ""


def test_a_target_has_one_name() -> None:
    """However it was written: its health is one, and its headers are too."""
    known = names()
    assert {known.plan(name).targets[0].name for name in ("house/small", "house:small", "House/small", "small")} == {
        "house/small"
    }


def test_a_bare_name_of_two() -> None:
    """Is refused, naming both: nobody knows who was meant."""
    with pytest.raises(BadInput) as caught:
        names().plan("both")
    assert not isinstance(caught.value, UnknownTarget)
    assert caught.value.field == "model"
    assert "house/both" in str(caught.value)
    assert "other/both" in str(caught.value)


def test_a_route_goes_first() -> None:
    """A route may have the name of a model, and of a target: it is what the configuration's owner meant."""
    known = names({"small": Route(targets=("other/big",)), "house/small": Route(targets=("other/big", "house/both"))})
    assert targets_of(known.plan("small")) == [("other", "big")]
    assert known.plan("small").route == "small"
    assert targets_of(known.plan("house/small")) == [("other", "big"), ("house", "both")]


def test_an_alias() -> None:
    """Means what is configured: a target, a route, a bare name, another alias."""
    routes = {"fast": Route(targets=("house/small", "other/big"), attempts=7)}
    known = names(routes, {"gpt-4o": "fast", "mini": "house/small", "m": "mini", "bare": "big"})
    assert known.plan("gpt-4o") == known.plan("fast")
    assert known.plan("gpt-4o").rules.attempts == 7
    assert targets_of(known.plan("m")) == [("house", "small")]
    assert targets_of(known.plan("bare")) == [("other", "big")]


@pytest.mark.parametrize("aliases", [{"a": "b", "b": "a"}, {"a": "a"}, {"a": "b", "b": "c", "c": "b"}])
def test_an_alias_in_a_circle(aliases: dict[str, str]) -> None:
    """Is refused, not followed."""
    with pytest.raises(BadInput, match="refers to itself: remove the circle"):
        names(aliases=aliases).plan("a")


def test_routes_in_routes() -> None:
    """A route's targets take the place of its name; the rules are those of the route that was asked for."""
    routes = {
        "outer": Route(targets=("inner", "other/big"), attempts=9),
        "inner": Route(targets=("house/small", "house/both"), attempts=1),
    }
    plan = names(routes).plan("outer")
    assert targets_of(plan) == [("house", "small"), ("house", "both"), ("other", "big")]
    assert plan.rules.attempts == 9


def test_the_same_target_twice() -> None:
    """Two routes in one may both lead to a target: it is one target, to be asked when its turn comes and not at once again."""
    routes = {
        "all": Route(targets=("house/small", "a", "b")),
        "a": Route(targets=("house:small", "other/big")),
        "b": Route(targets=("other/big",)),
    }
    assert targets_of(names(routes).plan("all")) == [("house", "small"), ("other", "big")]


def test_weights_and_priorities_are_of_the_names_in_the_route() -> None:
    """A route among the targets represents all of its own together; one by two names has both weights, and the lower one."""
    routes = {
        "all": Route(
            targets=("inner", "other/both", "house/small"), strategy="random", weights=(1, 3, 2), priorities=(1, 0, 1)
        ),
        "inner": Route(targets=("house/small", "other/big"), strategy="weighted", weights=(7, 3)),
        "twice": Route(targets=("house/small", "other/big", "house:small"), weights=(1, 5, 2), priorities=(2, 3, 1)),
        "one": Route(targets=("alone", "other/big")),
        "alone": Route(targets=("house/small",)),
    }
    known = names(routes)
    plan = known.plan("all")
    assert targets_of(plan) == [("house", "small"), ("other", "big"), ("other", "both")]
    assert (plan.rules.weights, plan.rules.priorities) == ((1, 3, 2), (1, 0, 1))
    inner = plan.members[0]
    assert isinstance(inner, Plan)
    assert (inner.route, inner.rules.strategy, inner.rules.weights) == ("inner", "weighted", (7, 3))
    assert plan.members[1:] == (plan.targets[2], plan.targets[0])
    twice = known.plan("twice")
    assert (targets_of(twice), twice.rules.weights, twice.rules.priorities) == (
        [("house", "small"), ("other", "big")],
        (3, 5),
        (1, 3),
    )
    assert known.plan("one").members == (), "a route of one target is that target"


@pytest.mark.parametrize(
    ("targets", "strategy"),
    [
        (("house/both", "other/both"), "affinity"),
        (("house/org/Both", "other/both", "inner"), "affinity"),
        (("house/small", "other/both"), "ordered"),
        (("house/both:8b", "other/both:70b"), "ordered"),
        (("house/both",), "ordered"),
    ],
)
def test_a_route_of_one_model_keeps_its_conversations_together(targets: tuple[str, ...], strategy: str) -> None:
    """Where the file names no strategy; what it names holds, and a chain of names is asked in its order."""
    routes = {"r": Route(targets), "inner": Route(("other/both", "house/both"), strategy="random")}
    known = names(routes)
    assert known.plan("r").strategy == strategy
    assert names({**routes, "r": Route(targets, strategy="ordered")}).plan("r").strategy == "ordered"
    assert known.joined(["house/both", "other/both"]).strategy == "ordered"


def test_a_chain_keeps_the_strategy_of_its_routes() -> None:
    """The names are asked one after the other, and a route among them as it says itself."""
    routes = {"fast": Route(targets=("house/small", "other/big"), strategy="weighted", weights=(1, 3))}
    plan = names(routes).joined(["fast", "house/both"])
    inner = plan.members[0]
    assert isinstance(inner, Plan)
    assert (plan.rules.strategy, inner.rules.strategy, inner.rules.weights) == ("ordered", "weighted", (1, 3))


@pytest.mark.parametrize(
    "routes",
    [
        {"a": Route(targets=("a",))},
        {"a": Route(targets=("b",)), "b": Route(targets=("house/small", "a"))},
    ],
)
def test_routes_in_a_circle(routes: dict[str, Route]) -> None:
    """Are an error of the configuration, reported when it is read."""
    with pytest.raises(BadInput, match="refers to itself: remove the circle") as caught:
        names(routes)
    assert caught.value.field.startswith("routes.")


def test_a_route_to_nowhere() -> None:
    """Is an error of the configuration, reported when it is read, with what may have been meant."""
    with pytest.raises(UnknownTarget, match="house/small"):
        names({"fast": Route(targets=("hous/small",))})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("hose/small", "house/small"),
        ("smal", "small"),
        ("fats", "fast"),
        ("my-modle", "my-model"),
        ("huose/other-model", "house/other-model"),
    ],
)
def test_near_names(name: str, near: str) -> None:
    """A typing error is reported with similar names: targets, routes, aliases, and providers of any model."""
    known = names({"fast": Route(targets=("house/small",))}, {"my-model": "fast"})
    with pytest.raises(UnknownTarget) as caught:
        known.plan(name)
    assert near in caught.value.near
    assert near in str(caught.value)


def test_a_name_that_is_foreign_text() -> None:
    """Is shown short and on one line, whatever it holds."""
    with pytest.raises(UnknownTarget) as caught:
        names().plan("x\r\nset-cookie: a=b\x1b[0m" + "y" * 200)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["local//etc/passwd", "local/../weights.gguf", "local:/tmp/model.gguf", "local/./model.gguf"])
def test_files_are_not_for_remote_clients(name: str) -> None:
    """The embedded model runs any file for the local user; by a name in a request it runs what is listed."""
    with pytest.raises(UnknownTarget):
        names().plan(name)


def test_what_is_listed_means_something() -> None:
    """Every name in the list can be asked for, but for bare names of two, which are not in it."""
    known = names({"fast": Route(targets=("house/small",))}, {"gpt-4o": "fast"})
    listed = known.listed()
    assert listed[:2] == ["fast", "gpt-4o"]
    assert {"house/small", "house/both", "other/both", "other/big"} <= set(listed)
    assert len(listed) == len(set(listed))
    for name in listed:
        assert known.plan(name).targets


def test_models_that_lack_a_package_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra ``local``, each request for the embedded model fails: it says so, and a route to it stays listed."""
    routes = {"mine": Route(targets=("local/smollm2",))}
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    known = names(routes)
    assert [name for name in known.listed() if name == "mine" or "smollm2" in name] == ["mine"]
    assert targets_of(known.plan("local/smollm2")) == targets_of(known.plan("smollm2")) == [("local", "smollm2")]
    monkeypatch.setitem(sys.modules, "xllamacpp", ModuleType("xllamacpp"))
    monkeypatch.setattr(sys.modules["xllamacpp"], "__spec__", ModuleSpec("xllamacpp", None))
    assert "local/smollm2" in names(routes).listed()


def test_names_joined() -> None:
    """Several names are one plan: each target once, in order, by the first one's rules, with an attempt for each."""
    routes = {"fast": Route(targets=("other/big", "house/small"), strategy="random", weights=(1, 2), attempts=1, budget=7.0)}
    plan = names(routes).joined(["fast", "house/small", "house/both"])
    assert targets_of(plan) == [("other", "big"), ("house", "small"), ("house", "both")]
    assert (plan.route, plan.rules.strategy, plan.rules.weights) == ("fast", "ordered", ())
    assert (plan.rules.attempts, plan.rules.budget) == (3, 7.0)


def test_names_without_end() -> None:
    """Who asks for ever new names does not fill the memory, and later names mean what they mean."""
    known = names()
    for number in range(5000):
        known.plan(f"house/{number}")
    assert len(known._plans) <= 4096
    assert targets_of(known.plan("house/4999")) == [("house", "4999")]


def test_a_bare_name_of_two_among_others() -> None:
    """Who is named beside it is who is meant; alone it is refused, and a name that nobody has always is."""
    assert targets_of(names().joined(["other/both", "both"])) == [("other", "both")]
    with pytest.raises(BadInput, match="use house/both or other/both"):
        names().joined(["both", "both"])
    with pytest.raises(UnknownTarget):
        names().joined(["house/small", "nobody/both"])
