"""Calls of the library are asked by the router: what is known of a target is kept from one call to the next."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.client.targets import user_targets
from polychat.events import Finish, Start, Text

from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

HELLO = [[Start("one", "m")], [Text("Hello")], [Finish("complete", "stop")]]
VECTORS = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}], "usage": {}}


def options(url: str, api_key: str = "long-enough-a-key") -> dict[str, Any]:
    return {"model": "openai/m", "base_url": f"{url}/v1", "api_key": api_key}


async def answer_text(url: str, api_key: str = "long-enough-a-key") -> str:
    return (await polychat.ask("hi", **options(url, api_key))).text


async def streamed(url: str, api_key: str = "long-enough-a-key") -> str:
    async with polychat.stream("hi", **options(url, api_key)) as reply:
        return "".join([piece async for piece in reply])


async def embedded(url: str, api_key: str = "long-enough-a-key") -> str:
    await polychat.embed("hi", **options(url, api_key))
    return "Hello"


CALLS = [answer_text, streamed, embedded]


class Refusing:
    """Answers the first requests with these statuses, each with these headers, and the others well."""

    def __init__(self, *statuses: int, headers: list[tuple[str, str]] | None = None) -> None:
        self.statuses, self.headers = list(statuses), headers or []
        self._well = ScriptedVendor("openai-chat", HELLO)

    async def __call__(self, seen: Seen, say: Say) -> None:
        if self.statuses:
            await say.whole({"error": {"message": "not now"}}, self.statuses.pop(0), headers=self.headers)
        elif seen.path.endswith("/embeddings"):
            await say.whole(VECTORS)
        else:
            await self._well(seen, say)


@pytest.mark.parametrize("call", CALLS)
async def test_a_failure_that_may_pass_is_asked_once_more(call: Callable[..., Any], serve: Any) -> None:
    """A target that is named as such has the attempts of ``gateway.direct``."""
    server = await serve(Refusing(503))
    assert await call(server.url) == "Hello"
    assert len(server.seen) == 2


@pytest.mark.parametrize("call", CALLS)
async def test_a_failure_that_lasts_is_not(call: Callable[..., Any], serve: Any) -> None:
    """A refused key is reported at once; and the next call asks again, for the key may be another one now."""
    server = await serve(Refusing(401))
    with pytest.raises(errors.Unauthorized):
        await call(server.url)
    assert len(server.seen) == 1
    assert await call(server.url) == "Hello"


@pytest.mark.parametrize("call", CALLS)
async def test_nobody_asks_before_the_moment_that_a_vendor_named(call: Callable[..., Any], serve: Any) -> None:
    """Neither the call that got the refusal, nor the next one of whatever sort; one with another key does."""
    server = await serve(Refusing(429, headers=[("Retry-After", "60")]))
    with pytest.raises(errors.RateLimited) as caught:
        await call(server.url)
    assert caught.value.retry_after == 60
    for next_call in CALLS:
        with pytest.raises(errors.Resting, match="not now") as resting:
            await next_call(server.url)
        assert 55 < (resting.value.retry_after or 0) <= 60
    assert len(server.seen) == 1
    assert await call(server.url, "another-long-key") == "Hello"


@pytest.mark.parametrize("model", ["house/m", "house/m, other/m"])
async def test_a_moment_that_is_named_while_the_connection_is_opened(model: str, serve: Any, tmp_path: Any) -> None:
    """Holds for that request too: it is not sent, and another target is asked where there is one."""
    house, other = await serve(Refusing()), await serve(Refusing())
    file = tmp_path / "polychat.toml"
    row = '[providers.{}]\nwire = "openai-chat"\nbase_url = "{}/v1"\n'
    file.write_text(row.format("house", house.url) + row.format("other", other.url))
    client = polychat.Client(config=file)
    task = asyncio.ensure_future(client.ask("hi", model=model))
    health = client._targets().router({}).health
    while not (facts := health.target("house/m")) or not facts.in_flight:
        await asyncio.sleep(0)
    facts.rest.note_retry_after(errors.RateLimited("later", status=429), 60.0, time.monotonic())
    if "other" in model:
        reply = await task
        assert (reply.text, reply.provider, len(other.seen)) == ("Hello", "other", 1)
    else:
        with pytest.raises(errors.Resting, match="later"):
            await task
    assert (house.seen, facts.in_flight) == ([], 0)


WHOLE = {"id": "c", "model": "m", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}
UNREADABLE = {"id": "c", "model": "m", "choices": [{"index": 0, "message": {"content": "Hel", "tool_calls": [7]}}]}
CHUNK = b'data: {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant"}}]}\n\n'


@pytest.mark.parametrize(
    ("body", "is_whole", "is_bought"),
    [
        (json.dumps(UNREADABLE).encode(), True, True),
        (json.dumps(WHOLE).encode()[:-20], True, False),
        (b"<html>", True, False),
        (CHUNK + b'data: {"choices": [7]}\n\n', False, True),
        (b"data: <html>\n\n", False, False),
        (b'data: {"usage": {"prompt_tokens": 1}, "choices": []}\n\ndata: {"error": {"message": "no"}}\n\n', False, False),
    ],
)
async def test_replies_are_bought_once(body: bytes, is_whole: bool, is_bought: bool, serve: Any, tmp_path: Any) -> None:
    """As at the gateway: one that came and cannot be read is asked for nowhere else; one that is no reply is."""

    async def broken(seen: Seen, say: Say) -> None:
        await say.whole(body, content_type="application/json" if is_whole else "text/event-stream")

    first, second = await serve(broken), await serve(Refusing())
    file = tmp_path / "polychat.toml"
    row = '[providers.{}]\nwire = "openai-chat"\nbase_url = "{}/v1"\n'
    file.write_text(row.format("first", first.url) + row.format("second", second.url))
    client, model = polychat.Client(config=file), "first/m, second/m"
    call = client.ask if is_whole else client.stream
    with pytest.raises(errors.BadReply) if is_bought else nullcontext() as caught:
        reply = call("hi", model=model)
        assert (await reply).text if is_whole else [piece async for piece in reply]
    assert caught is None or caught.value.paid
    assert (len(first.seen), len(second.seen)) == (1, 1 - is_bought)


async def test_after_the_first_piece_nothing_is_asked_again(serve: Any) -> None:
    """What has come was handed over: a reply that is cut after it is reported as such."""
    server = await serve(ScriptedVendor("openai-chat", HELLO, cut_after=2))
    with pytest.raises(errors.Truncated):
        await streamed(server.url)
    assert len(server.seen) == 1


async def test_a_reply_that_breaks_off_is_a_failure_of_its_target(serve: Any) -> None:
    """As one that never began: some in a row, and the target is known to be ill."""
    server = await serve(ScriptedVendor("openai-chat", HELLO, cut_after=2))
    router = user_targets().router(options(server.url))
    for _ in range(5):
        with pytest.raises(errors.Truncated):
            await streamed(server.url)
    (facts,) = router.health.every()
    assert (facts.breaker(router.clock()), facts.outcomes(router.clock())) == ("open", (0, 5))


@pytest.mark.parametrize("reads", [0, 1])
async def test_a_stream_that_is_dropped_is_over(reads: int, serve: Any) -> None:
    """Its target is not taken to be busy for ever, be the stream closed or not, and not taken to have answered to the end."""
    server = await serve(ScriptedVendor("openai-chat", HELLO))
    reply = polychat.stream("hi", **options(server.url))
    facts = user_targets().router(options(server.url)).health.facts("", "openai/m")
    facts.cut(0.0, 0.0, 0.1)
    if reads:
        assert await anext(aiter(reply)) == "Hello"
    assert facts.in_flight == reads
    del reply
    gc.collect()
    assert (facts.in_flight, facts.probation.is_on) == (0, True)
    assert await streamed(server.url) == "Hello"
    assert not facts.probation.is_on


async def test_embeddings_go_on_to_the_next_target(serve: Any, tmp_path: Any) -> None:
    """A chain, an alias and a route mean for vectors what they mean for a chat."""
    sick, well = await serve(Refusing(500, 500, 500)), await serve(Refusing())
    file = tmp_path / "polychat.toml"
    tables = [
        f'[providers.{name}]\nwire = "openai-chat"\nbase_url = "{server.url}/v1"\n'
        for name, server in (("sick", sick), ("well", well))
    ]
    file.write_text("\n".join([*tables, '[routes.both]\ntargets = ["sick/m", "well/m"]\nstrategy = "ordered"\n']))
    client = polychat.Client(config=file)
    for model in ("both", "sick/m, well/m"):
        assert (await client.embed("hi", model=model)).vectors == [[1.0]]
    assert len(well.seen) == 2


class Counting:
    """Counts the requests that it has at once. It answers when it had ``expected`` of them, and its loop some more turns."""

    def __init__(self, expected: int = 1) -> None:
        self.most = self._now = 0
        self._expected = expected

    async def __call__(self, seen: Seen, say: Say) -> None:
        self._now += 1
        self.most = max(self.most, self._now)
        async with asyncio.timeout(60):
            while self.most < self._expected:
                await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        self._now -= 1
        await ScriptedVendor("openai-chat", HELLO)(seen, say)


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_requests_at_once_are_limited(concurrency: int, serve: Any, tmp_path: Any) -> None:
    """As in the gateway, also for a target that is named as such: the others wait for their turn."""
    server = await serve(vendor := Counting(concurrency))
    file = tmp_path / "polychat.toml"
    tables = [f'[providers.house]\nwire = "openai-chat"\nbase_url = "{server.url}/v1"\n']
    file.write_text("\n".join([*tables, f"[gateway.direct]\nconcurrency = {concurrency}\n"]))
    client = polychat.Client(config=file)
    replies = await asyncio.gather(*(client.ask("hi", model="house/m") for _ in range(6)))
    assert [reply.text for reply in replies] == ["Hello"] * 6
    assert vendor.most == concurrency


async def test_threads_share_what_a_target_may_have_at_once(serve: Any, tmp_path: Any) -> None:
    """Synchronous calls have a loop each: a call that waits for another's slot gets it as soon as that one is over."""
    server = await serve(vendor := Counting())
    file = tmp_path / "polychat.toml"
    table = f'[providers.house]\nwire = "openai-chat"\nbase_url = "{server.url}/v1"\n'
    file.write_text(table + "[gateway.direct]\nconcurrency = 1\nbudget = 600\n")
    client = polychat.Client(config=file)
    async with asyncio.timeout(60):
        calls = (asyncio.to_thread(asyncio.run, client.ask("hi", model="house/m")) for _ in range(4))
        assert [reply.text for reply in await asyncio.gather(*calls)] == ["Hello"] * 4
    assert vendor.most == 1


async def test_a_stream_whose_first_read_was_cancelled_can_be_read(serve: Any) -> None:
    """It asks once more then; and what was asked before is over: nothing counts as in flight."""
    silent, waits = True, asyncio.Event()

    async def answer(seen: Seen, say: Say) -> None:
        if silent:
            waits.set()
            await say.gone()
        else:
            await ScriptedVendor("openai-chat", HELLO)(seen, say)

    server = await serve(answer)
    async with polychat.stream("hi", **options(server.url)) as reply:
        reading = asyncio.ensure_future(anext(aiter(reply)))
        await waits.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        silent = False
        assert [piece async for piece in reply] == ["Hello"]
    assert (reply.verdict, len(server.seen)) == ("complete", 2)
    (facts,) = user_targets().router(options(server.url)).health.every()
    assert (facts.in_flight, facts.waiting.count) == (0, 0)
