"""``request`` and ``stream``, and the verdict of every reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.backends.backend import Backend
from polychat.backends.registry import Registry
from polychat.backends.service import ServiceBackend
from polychat.events import Citation, Event, Finish, Text, Usage
from polychat.providers import AsyncGeneratorProvider
from polychat.types import Messages


class Scripted(AsyncGeneratorProvider):
    """Gives the batches a test put here; remembers what it was asked."""

    batches: list[list[Event]] = []
    asked: list[Any] = []
    closed = 0

    @classmethod
    async def reply(
        cls, model: str | None, messages: Messages, call: Any, *, pause: Any = None
    ) -> AsyncGenerator[list[Event], None]:
        cls.asked.append((model, messages))
        try:
            for batch in cls.batches:
                yield batch
            if pause is not None:
                await pause.wait()
        finally:
            cls.closed += 1


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target ``scripted/…`` is the provider above."""

    def resolve(registry: Registry, target: str) -> tuple[Backend, str | None]:
        return ServiceBackend(Scripted, registry.config), target.partition("/")[2] or None

    monkeypatch.setattr(Registry, "resolve", resolve)
    monkeypatch.setattr(Scripted, "asked", [])
    monkeypatch.setattr(Scripted, "closed", 0)


def script(monkeypatch: pytest.MonkeyPatch, *batches: list[Event]) -> None:
    monkeypatch.setattr(Scripted, "batches", list(batches))


async def test_a_whole_reply_has_all_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, sources, usage, the backend's reason and the verdict."""
    page = Citation("t", "http://u", "s")
    script(monkeypatch, [Text("Hel")], [Text("lo"), page], [Usage(1, 2, 3), Finish("complete", "stop")])
    reply = await polychat.ask("hi", model="scripted/m", system="be kind")
    assert (reply.text, reply.sources, reply.usage, reply.reason, reply.verdict) == (
        "Hello",
        [page],
        Usage(1, 2, 3),
        "stop",
        "complete",
    )
    assert (reply.provider, reply.model) == ("Scripted", "m")
    assert Scripted.asked == [("m", [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}])]


@pytest.mark.parametrize(
    ("finish", "verdict"),
    [
        (Finish("truncated", error=errors.Truncated("cut")), "truncated"),
        (Finish("failed", error=errors.ReplyFailed("no")), "failed"),
    ],
)
async def test_a_failure_comes_after_the_pieces_before_it(
    monkeypatch: pytest.MonkeyPatch, finish: Finish, verdict: str
) -> None:
    """The pieces are read first; the error holds their text; the stream keeps the verdict."""
    script(monkeypatch, [Text("a"), Text("b"), finish])
    pieces = []
    async with polychat.stream("hi", model="scripted/m") as reply:
        with pytest.raises(type(finish.error)) as caught:
            async for piece in reply:
                pieces.append(piece)
    assert (pieces, reply.text, reply.verdict, caught.value.text, caught.value.provider) == (
        ["a", "b"],
        "ab",
        verdict,
        "ab",
        "Scripted",
    )
    with pytest.raises(type(finish.error)):
        await polychat.ask("hi", model="scripted/m")


async def test_the_rest_of_a_stream_is_read_as_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was read before; the request is sent once, and a stream that has ended gives the same again."""
    script(monkeypatch, [Text("a"), Text("b")], [Text("c")], [Usage(1, 2, 3), Finish("complete", "stop")])
    for read in range(4):
        async with polychat.stream("hi", model="scripted/m") as reply:
            pieces = [await anext(reply) for _ in range(read)]
            whole = await reply.whole()
            assert "".join(pieces) == "abc"[:read]
            assert (whole.text, whole.verdict, whole.reason, whole.usage) == ("abc", "complete", "stop", Usage(1, 2, 3))
            assert await reply.whole() == whole
    assert len(Scripted.asked) == Scripted.closed == 4


async def test_leaving_early_ends_the_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving the block closes the provider's reply; the verdict is ``cancelled``, and what came is kept."""
    script(monkeypatch, [Text("a"), Text("b")])
    async with polychat.stream("hi", model="scripted/m", pause=asyncio.Event()) as reply:
        async for _ in reply:
            break
        assert reply.verdict is None
    assert (Scripted.closed, reply.verdict, reply.text, reply.reply().verdict) == (1, "cancelled", "a", "cancelled")


async def test_a_cancelled_caller_ends_the_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling the task that reads closes the provider's reply before the cancellation is over."""
    script(monkeypatch, [Text("a")])
    left = asyncio.Event()
    replies = []

    async def read() -> None:
        async with polychat.stream("hi", model="scripted/m", pause=asyncio.Event()) as reply:
            replies.append(reply)
            async for _ in reply:
                left.set()

    task = asyncio.create_task(read())
    await left.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (Scripted.closed, replies[0].verdict) == (1, "cancelled")


async def test_a_stream_that_is_not_read_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend is asked when the first piece is wanted."""
    script(monkeypatch, [Text("a")])
    async with polychat.stream("hi", model="scripted/m") as reply:
        pass
    assert (Scripted.asked, reply.verdict) == ([], "cancelled")


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_refused_at_once(prompt: str) -> None:
    """Nothing to ask is an error before anything is sent."""
    with pytest.raises(errors.BadInput) as caught:
        polychat.stream(prompt, model="scripted/m")
    assert caught.value.field == "prompt"
