"""Gateways on several machines: a backend that asks one for a pause is left alone by the others, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from polychat.gateway.shared_rests import SharedRests
from polychat.state.store import StoreUnavailable
from polychat.state.valkey import ValkeyLedger

from ..support.database_servers import valkey_server
from ..support.running_gateway import Running, asking, configured, gateway, row
from ..support.scripted_server import Say, Seen


async def pausing(seen: Seen, say: Say) -> None:
    """Asks for half a minute."""
    await say.whole({"error": {"message": "slow down"}}, 429, headers=[("retry-after", "30")])


async def test_a_pause_that_one_gateway_was_asked_for(serve: Any, tmp_path: Path) -> None:
    """Another gateway with the same key calls the backend no more until then, and one with another key does; what was
    learned is not told anew, and is over in time. A store that is away is an error, and no change."""
    upstream = await serve(pausing)
    ours, theirs = row("openai-chat", upstream.url), row("openai-chat", upstream.url)
    with valkey_server(tmp_path) as server:
        stores = [ValkeyLedger(server.url, patience=10) for _ in range(3)]
        config = configured({"house": ours, "spare": theirs})
        async with gateway(config) as first, gateway(config) as second, gateway(config) as third:
            wall = [1_000_000_000.0]
            rests = [
                SharedRests(store, here.app.health, domain_of(key), here.app.runtime.router.clock, lambda: wall[0])
                for store, here, key in zip(stores, (first, second, third), ("one", "one", "other"), strict=True)
            ]
            path, body = asking("openai-chat", "house/small")
            assert (await first.ask(path, body)).status == 429
            for here in (second, third):
                here.app.health.facts("", "house/small")
            for one in rests:
                await one.exchange()
            before = len(upstream.seen)
            answers = [await here.ask(path, body) for here in (second, third)]
            assert [answer.status for answer in answers] == [429, 429]
            assert 25 < float(answers[0].headers["retry-after"]) <= 30
            assert len(upstream.seen) == before + 1, "the third one has another key"
            until = left(second)
            await rests[1].exchange()
            assert left(second) == until
            assert stores[0].retry_times({}, wall[0] + 20) != {}
            assert stores[0].retry_times({}, wall[0] + 31) == {}
        server.stop()
        for store in stores:
            store.close()
        with pytest.raises(StoreUnavailable):
            await rests[0].exchange()


def domain_of(key: str) -> Callable[[str], str]:
    return lambda target: f"{target} {key}"


def left(here: Running) -> float:
    return round(here.app.health.facts("", "house/small").shared.rest.retry_at - monotonic(), 0)
