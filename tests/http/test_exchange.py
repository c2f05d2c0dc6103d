"""One request to an API, from the library down to the connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.events import Finish, Start, Text, Usage
from polychat.http.exchange import Exchange
from polychat.wire.faults import Fault

from ..support.proxies import socks_proxy
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

HELLO = [[Start("one", "m")], [Text("Hel")], [Text("lo")], [Usage(1, 2, 3), Finish("complete", "stop")]]


def options(url: str) -> dict[str, Any]:
    return {"model": "openai/m", "base_url": f"{url}/v1", "api_key": "long-enough-a-key"}


async def test_a_request_and_its_answer_arrive(serve: Any) -> None:
    """Method, target, headers and body arrive; status, headers and body come back."""

    async def echo(seen: Seen, say: Say) -> None:
        await say.whole({"got": seen.json, "team": seen.headers["x-team"]}, 201, headers=[("X-Way", "back")])

    server = await serve(echo)
    headers = {"X-Team": "blue", "Content-Type": "application/json"}
    async with Exchange("POST", f"{server.url}/v1/x?a=b", headers, b'{"a":1}') as response:
        assert (response.status, response.ok, response.headers["x-way"]) == (201, True, "back")
        assert await response.json() == {"got": {"a": 1}, "team": "blue"}
    assert (server.seen[0].method, server.seen[0].target) == ("POST", "/v1/x?a=b")


async def test_an_answer_leaves_the_connection_for_the_next(serve: Any) -> None:
    """Whole and streamed; the next ask goes over the same connection."""
    server = await serve(ScriptedVendor("openai-chat", HELLO))
    assert (await polychat.ask("hi", **options(server.url))).text == "Hello"
    async with polychat.stream("hi", **options(server.url)) as reply:
        assert [piece async for piece in reply] == ["Hel", "lo"]
    assert (await polychat.ask("hi", **options(server.url))).text == "Hello"
    assert server.connections == 1


async def test_a_cut_reply_is_reported(serve: Any) -> None:
    """``Truncated``, with what came."""
    server = await serve(ScriptedVendor("openai-chat", HELLO, cut_after=2))
    with pytest.raises(errors.Truncated) as caught:
        async with polychat.stream("hi", **options(server.url)) as reply:
            async for _ in reply:
                pass
    assert (reply.verdict, caught.value.text) == ("truncated", "Hel")


async def test_a_refusal_is_reported(serve: Any) -> None:
    """By status, with the vendor's words, when to come again, and without the key that some repeat."""
    dialect = ScriptedVendor("openai-chat", fault=Fault("slow down, long-enough-a-key", "rate_limit", 429))
    server = await serve(dialect)
    with pytest.raises(errors.RateLimited, match="slow down") as caught:
        await polychat.ask("hi", **options(server.url))
    assert (caught.value.kind, caught.value.status) == ("rate_limit", 429)
    assert "long-enough" not in str(caught.value)


async def test_no_redirect_is_followed(serve: Any) -> None:
    """A key is not sent elsewhere: the redirect is an error."""

    async def elsewhere(seen: Seen, say: Say) -> None:
        assert seen.path == "/v1/chat/completions"
        await say.whole(b"", 307, headers=[("Location", "/v1/other")])

    server = await serve(elsewhere)
    with pytest.raises(errors.StatusError) as caught:
        await polychat.ask("hi", **options(server.url))
    assert caught.value.status == 307
    assert len(server.seen) == 1


async def test_an_ask_that_is_left_closes_its_connection(serve: Any) -> None:
    """Cancelled amid a silent reply, the connection is gone at once."""
    waiting, gone = asyncio.Event(), asyncio.Event()

    async def silent(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        waiting.set()
        await say.gone()
        gone.set()

    server = await serve(silent)
    task = asyncio.create_task(polychat.ask("hi", **options(server.url)))
    async with asyncio.timeout(60):
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()


async def test_an_ask_has_the_total_clock(serve: Any) -> None:
    """A server that never answers is given up."""

    async def silent(seen: Seen, say: Say) -> None:
        await say.gone()

    server = await serve(silent)
    with pytest.raises(errors.TimedOut) as caught:
        await polychat.ask("hi", timeout=0.2, **options(server.url))
    assert caught.value.clock == "total"


async def test_an_ask_goes_through_a_socks_proxy(serve: Any) -> None:
    """As through any other."""
    server = await serve(ScriptedVendor("openai-chat", HELLO))
    async with socks_proxy() as proxy:
        reply = await polychat.ask("hi", proxy=f"socks5h://127.0.0.1:{proxy.port}", timeout=20, **options(server.url))
        assert (reply.text, proxy.through) == ("Hello", 1)
