"""Prices of one's own: ``[prices]`` of the configuration, in the library, in every dialect of the gateway and in the
command.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import polychat
from polychat import config, errors
from polychat.config.writing import config_text
from polychat.costs import cost_of
from polychat.events import Finish, Start, Text, Usage
from polychat.gateway.paths import DIALECTS

from ..support.command import run
from ..support.running_gateway import asking, configured, gateway, row
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

FILE = Path("polychat.toml")
PRICES = """[prices."House/small"]
prompt = 2
completion = 10.0
cached = 0.5
cache_write = 4
[prices."openai/plain"]
prompt = 1
"""
COUNTED = Usage(1000, 100, 1100, cached_tokens=400)
COST = (600 * 2 + 400 * 0.5 + 100 * 10) / 1_000_000


def reply_with_usage(usage: Usage = COUNTED, served: str = "small-2026-11-01") -> list[list[Any]]:
    return [[Start("x", served)], [Text("hi")], [usage, Finish("complete", "stop")]]


def priced_config(url: str, wire: str = "anthropic") -> config.Config:
    return replace(configured({"house": row(wire, url)}), prices=config.parsed(PRICES, FILE).prices)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_dialect_records_the_files_prices(serve: Any, dialect: str, stream: bool) -> None:
    """A backend that no table knows, and that answers by a dated name: the price of the name that was asked is taken."""
    served = await serve(ScriptedVendor("anthropic", reply_with_usage()))
    async with gateway(priced_config(served.url)) as here:
        path, body = asking(dialect, "house/small", stream=stream)
        assert (await here.ask(path, body)).status == 200
        (record,) = await here.app.recorded()
    assert record.cost == pytest.approx(COST)


async def test_the_library_goes_by_the_same_prices(serve: Any) -> None:
    """Also at an address of one's own, where a vendor's price is none; a model without one is unpriced, as before."""
    served = await serve(ScriptedVendor("anthropic", reply_with_usage()))
    client = polychat.Client(config=priced_config(served.url))
    assert (await client.ask("hi", model="house/small")).cost == pytest.approx(COST)
    assert (await client.ask("hi", model="HOUSE/other")).cost is None
    chat = await serve(ScriptedVendor("openai-chat", reply_with_usage(Usage(1000, 100))))
    options = {"base_url": f"{chat.url}/v1", "api_key": "k"}
    assert (await client.ask("hi", model="openai/plain", **options)).cost == pytest.approx(0.001)
    assert (await client.ask("hi", model="openai/gpt-4o-mini", **options)).cost is None


async def test_the_cost_that_the_vendor_reports_takes_precedence(serve: Any) -> None:
    """``usage.cost`` of a reply is the bill itself."""

    async def answer(seen: Seen, say: Say) -> None:
        usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, "cost": 0.125}
        message = {"role": "assistant", "content": "hi"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await say.whole({"id": "x", "model": "small", "choices": [choice], "usage": usage})

    served = await serve(answer)
    client = polychat.Client(config=priced_config(f"{served.url}/v1", "openai-chat"))
    reply = await client.ask("hi", model="house/small")
    assert reply.cost == 0.125


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(10, 1), 10 * 2 + 10),
        (Usage(10, 0, cached_tokens=10), 10 * 0.5),
        (Usage(10, 0, cache_write_tokens=5), 5 * 2 + 5 * 4),
        (Usage(10, None), 10 * 2),
        (Usage(10, 1, cost=0.5), 500_000),
        (Usage(5, 0, cached_tokens=9), 9 * 0.5),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, dollars: float) -> None:
    """Cached and written tokens are among those of the prompt, and none is counted below zero; the vendor's bill goes first."""
    assert cost_of(config.parsed(PRICES, FILE).prices, "House", "", "small", usage) == pytest.approx(dollars / 1_000_000)


def test_without_prices_of_the_cache_its_tokens_cost_as_the_prompt() -> None:
    """A provider that makes no difference needs two numbers."""
    usage = Usage(10, 0, cached_tokens=4, cache_write_tokens=3)
    assert cost_of(config.parsed(PRICES, FILE).prices, "openai", "", "plain", usage) == pytest.approx(10 / 1_000_000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[prices."small"]\nprompt = 1\n', 'is not "provider/model"'),
        ('[prices."house/"]\nprompt = 1\n', 'is not "provider/model"'),
        ('[prices."openai/x"]\nprompt = -1\n', "it must be a number"),
        ('[prices."openai/x"]\nprompt = nan\n', "it must be a number"),
        ('[prices."openai/x"]\ninput = 1\n', "is not a known key"),
        ('[prices."nobody/x"]\nprompt = 1\n', "no provider 'nobody'"),
    ],
)
async def test_a_price_that_means_nothing_is_reported_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    """``config check`` names file, line and key."""
    file = tmp_path / "polychat.toml"
    file.write_text(text)
    ran = await run("config", "check", str(file))
    assert ran.code == 2
    assert says in ran.err
    assert f"{file}:" in ran.err


def test_what_is_shown_reads_as_the_same() -> None:
    """``config show`` leaves no price out."""
    before = config.parsed(PRICES, FILE)
    assert config.parsed(config_text(before), FILE).prices == before.prices
    with pytest.raises(errors.BadInput):
        config.parsed(PRICES.replace("prompt = 2", "prompt = 'x'"), FILE)
