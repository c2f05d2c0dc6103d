"""Kinds of fault: a backend that says it has nothing left is asked until it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from polychat import Client
from polychat.config.settings import Route
from polychat.gateway.paths import DIALECTS

from ..support.running_gateway import DONE, END, FIRST, asking, completion, configured, gateway, good, row, text
from ..support.scripted_server import Say, Seen

LAST = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "50s"), ("x-ratelimit-limit-requests", "1")]


async def last_one(seen: Seen, say: Say) -> None:
    """Answers, and says that this was the last request for a while."""
    if seen.json.get("stream"):
        await say.head(headers=LAST, content_type="text/event-stream")
        await say.chunk(FIRST + text("Hello") + END + DONE)
        await say.last()
    else:
        await say.whole(completion("Hello"), headers=LAST)


def two(first: str, second: str) -> Any:
    vendors = {"house": row("openai-chat", first), "other": row("openai-chat", second)}
    return configured(
        vendors, routes={"fast": Route(("house/small", "other/small"), strategy="ordered"), "alone": Route(("house/small",))}
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_before_it_refuses(serve: Any, dialect: str, *, stream: bool) -> None:
    """The next request goes to another target, whether replies pass or are translated; where there is none it goes there."""
    first, second = await serve(last_one), await serve(good)
    async with gateway(two(first.url, second.url)) as here:
        for _ in range(3):
            await here.ask(*asking(dialect, "fast", stream=stream))
        assert (len(first.seen), len(second.seen)) == (1, 2)
        assert (await here.ask(*asking(dialect, "alone", stream=stream))).status == 200
    assert len(first.seen) == 2


async def test_the_library_too(serve: Any) -> None:
    """Heeds what a backend says of its limits."""
    first, second = await serve(last_one), await serve(good)
    client = Client(config=two(first.url, second.url))
    for _ in range(3):
        await client.ask("hi", model="fast")
    assert (len(first.seen), len(second.seen)) == (1, 2)
