"""What an ask cost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import polychat
from polychat import costs
from polychat.costs import cost_of
from polychat.events import Finish, Start, Text, Usage

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
