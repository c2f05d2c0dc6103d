"""What an ask cost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import polychat
from polychat import costs
from polychat.backends.registry import Registry
from polychat.config import Config
from polychat.config.settings import Price
from polychat.costs import ModelPrices, cost_of, pricing_of
from polychat.events import Finish, Start, Text, Usage
from polychat.routing import ModelResolver

from .support.scripted_vendors import ScriptedVendor

ANTHROPIC = "https://api.anthropic.com"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """The package is looked for anew in each test."""
    costs._prices.cache_clear()
    costs._rates.cache_clear()
    yield
    costs._prices.cache_clear()
    costs._rates.cache_clear()


def test_a_known_model_has_a_price() -> None:
    """More tokens cost more; what was cached costs less than what was not."""
    small, large = Usage(1000, 100), Usage(10_000, 100)
    first, second = (cost_of({}, "openai", "", "gpt-4o-mini", usage) for usage in (small, large))
    assert first is not None
    assert second is not None
    assert 0 < first < second
    cached = cost_of({}, "openai", "", "gpt-4o-mini", Usage(10_000, 100, cached_tokens=9_000))
    assert cached is not None
    assert cached < second


@pytest.mark.parametrize(
    "usage",
    [
        *(Usage(1000), Usage(1000, 0), Usage(0, 1000), Usage(1000, 100, cached_tokens=900), Usage(150_000, 7)),
        *(Usage(300_000, 100), Usage(10, 150_000), Usage(1000, 100, cache_write_tokens=500)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("vendor", "model"), [("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro")]
)
def test_a_price_is_the_packages(vendor: str, model: str, usage: Usage) -> None:
    """To the last token of each kind, though the package is asked once a model and not once a reply."""
    expected = costs._priced(vendor, "", model, usage)
    assert expected is not None
    assert cost_of({}, vendor, "", model, usage) == pytest.approx(expected)


@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize("own", ["", "house/small", "openai/gpt-4o-mini"])
@pytest.mark.parametrize(
    ("vendor", "model"), [("openai", "gpt-4o-mini"), ("openai", ""), ("house", "small"), ("house", "large")]
)
def test_prices_of_many_replies_are_those_of_each(vendor: str, model: str, own: str, *, is_elsewhere: bool) -> None:
    """Whatever was counted, in any order, and wherever the price is from: looked up once it is the same."""
    configured = {own: Price(prompt=1.0, completion=2.0)} if own else {}
    usages = (
        Usage(1000, 100),
        Usage(150_000, 7),
        Usage(10, 5, cached_tokens=3),
        Usage(None, 3),
        Usage(10, 1, cost=0.5),
        Usage(),
    )
    for ordered in (usages, usages[::-1]):
        prices = ModelPrices(configured, vendor, "", model, requested="small", is_elsewhere=is_elsewhere)
        for usage in (*ordered, *ordered):
            expected = cost_of(configured, vendor, "", model, usage, requested="small", is_elsewhere=is_elsewhere)
            assert prices.of(usage) == expected, usage


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.1:1", "http://[::1]:1", "http://10.0.0.7"])
def test_a_machine_of_ones_own_has_no_price(url: str) -> None:
    """Whatever its models and its row are called."""
    assert cost_of({}, "openai", url, "gpt-4o-mini", Usage(1000, 100)) is None
    for elsewhere in ("https://api.openai.com/v1", "", "http://["):
        assert cost_of({}, "openai", elsewhere, "gpt-4o-mini", Usage(1000, 100)) is not None


def test_a_vendor_is_known_by_its_address_too() -> None:
    """Where the prices have another name for it than we."""
    assert cost_of({}, "house-of-claude", ANTHROPIC, "claude-sonnet-4-5", Usage(1000, 100)) == cost_of(
        {}, "anthropic", "", "claude-sonnet-4-5", Usage(1000, 100)
    )


@pytest.mark.parametrize(
    ("vendor", "model", "usage"),
    [
        ("openai", "no-such-model", Usage(1, 1)),
        ("no-such-vendor", "gpt-4o-mini", Usage(1, 1)),
        ("openai", None, Usage(1, 1)),
        ("openai", "gpt-4o-mini", None),
        ("openai", "gpt-4o-mini", Usage()),
        ("openai", "gpt-4o-mini", Usage(10, 1, cached_tokens=99)),
    ],
)
def test_what_is_not_known_is_no_price(vendor: str, model: str | None, usage: Usage | None) -> None:
    """Unpriced is ``None``, never 0; counts that do not fit each other are no traceback."""
    assert cost_of({}, vendor, "", model, usage) is None


def test_without_the_package_nothing_is_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is one: its absence is no error."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert cost_of({}, "openai", "", "gpt-4o-mini", Usage(1, 1)) is None


async def test_a_reply_from_elsewhere_is_unpriced(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's price holds at the vendor; the same name at another address may cost anything."""
    answer = [[Start("one", "gpt-4o-mini")], [Text("hi")], [Usage(10, 5, 15), Finish("complete", "stop")]]
    server = await serve(ScriptedVendor("openai-chat", answer))
    reply = await polychat.ask("hi", model="openai/gpt-4o-mini", base_url=f"{server.url}/v1", api_key="k")
    assert reply.cost is None
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    assert (await polychat.ask("hi", model="openai/gpt-4o-mini", api_key="k")).cost is None


def test_what_tokens_cost_at_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``[prices]`` and the vendor's own; at another address the vendor's own price is none."""
    house = {"wire": "openai-chat", "base_url": "http://127.0.0.1:1/v1", "serves": ["small"]}
    resolver = ModelResolver(Registry(Config(providers={"house": house})))
    price = pricing_of({"house/small": Price(prompt=2.0, completion=8.0)})
    usage = Usage(1_000_000, 500_000)
    known, unknown, vendors = (resolver.plan(name).targets[0] for name in ("house/small", "house/large", "openai/gpt-4o-mini"))
    assert price(known, usage) == 6.0
    assert price(unknown, usage) is None
    assert price(vendors, Usage(1_000, 1_000)) == cost_of({}, "openai", "", "gpt-4o-mini", Usage(1_000, 1_000))
    assert price(vendors, Usage(1_000, 1_000)) is not None
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    moved = ModelResolver(Registry(Config())).plan("openai/gpt-4o-mini").targets[0]
    assert price(moved, Usage(1_000, 1_000)) is None
