"""What the gateway, a route, a key and a request decide."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polychat.config.settings import KeySettings, Route

from ...support.running_gateway import asking, configured, gateway, good, row


@pytest.mark.parametrize(
    ("key", "header", "order"),
    [
        (None, "high", "first second"),
        (None, "low", "second first"),
        ("low", "high", "second first"),
        ("high", None, "first second"),
    ],
)
async def test_the_priority_of_a_request(
    serve: Any, monkeypatch: pytest.MonkeyPatch, key: Any, header: Any, order: str
) -> None:
    """Its key's, which its header can only lower; another word is refused, naming the header."""
    monkeypatch.setenv("ONE_KEY", "sk-the-one-of-a-test")
    monkeypatch.setenv("TWO_KEY", "sk-the-two-of-a-test")
    entered, go, models_asked = asyncio.Event(), asyncio.Event(), list[str]()

    async def backend(seen: Any, say: Any) -> None:
        models_asked.append(seen.json["messages"][-1]["content"])
        entered.set()
        await go.wait()
        await good(seen, say)

    routes = {"one": Route(("house/small",), concurrency=1)}
    settings = {"keys": {"one": "env:ONE_KEY", "two": "env:TWO_KEY"}, "key_settings": {"one": KeySettings(priority=key)}}
    rows = {"house": row("openai-chat", (await serve(backend)).url)}
    async with gateway(configured(rows, routes=routes, **settings)) as here:

        def ask(text: str, key: str, more: dict[str, str]) -> Any:
            path, body = asking("openai-chat", "one", messages=[{"role": "user", "content": text}])
            return asyncio.ensure_future(here.ask(path, body, headers={"authorization": f"Bearer {key}", **more}))

        asks = [ask("zeroth", "sk-the-two-of-a-test", {})]
        await entered.wait()
        slots = here.app.runtime.router.health.target("house/small").slots
        for count, (text, name, word) in enumerate([("second", "two", None), ("first", "one", header)], 1):
            asks.append(ask(text, f"sk-the-{name}-of-a-test", {"x-polychat-priority": word} if word else {}))
            while len(slots.queue) < count:
                await asyncio.sleep(0)
        refused = await ask("third", "sk-the-two-of-a-test", {"x-polychat-priority": "urgent"})
        assert (refused.status, refused.json["error"]["param"]) == (400, "x-polychat-priority")
        go.set()
        assert [answer.status for answer in await asyncio.gather(*asks)] == [200] * 3
    assert models_asked == ["zeroth", *order.split()]
