"""Guards: what runs before a request and after it may refuse, answer, read the pieces, or do nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from polychat.events import Event, Finish, Start, Text, Usage
from polychat.gateway.admission.guards import Guards, in_order
from polychat.gateway.chat.replies import EventReply, OpenReply
from polychat.gateway.context import Guard, RequestContext
from polychat.gateway.paths import DIALECTS
from polychat.gateway.responder import Refused
from polychat.wire.faults import Fault

from ...support.running_gateway import asking, configured, gateway, good, row, with_guards


class Answers(Guard):
    """A cache that always has something."""

    def __init__(self) -> None:
        self.over: list[str | None] = []
        self.closed = 0

    async def before(self, context: RequestContext) -> OpenReply | None:
        assert context.chat is not None
        return EventReply(self._events(), [Start("one", "kept"), Text("kept")])

    async def _events(self) -> AsyncGenerator[list[Event], None]:
        try:
            yield [Usage(1, 2, 3), Finish("complete", "stop")]
        finally:
            self.closed += 1

    def after(self, context: RequestContext) -> None:
        self.over.append(context.record.verdict)


class Refuses(Guard):
    async def before(self, context: RequestContext) -> None:
        raise Refused(Fault("the budget of this key is used up until tomorrow", "rate_limit", 429, retry_after=60.0))


class Taps(Guard):
    """Sees the pieces, and writes over them."""

    def __init__(self) -> None:
        self.seen = b""

    async def before(self, context: RequestContext) -> None:
        context.responder.tap(self._change)

    def _change(self, data: bytes) -> bytes:
        self.seen += data
        return data.replace(b'"stop"', b'"tapped"')


class Notes(Guard):
    """Writes down in which order it was asked."""

    def __init__(self, name: str, order: list[str]) -> None:
        self._name, self._order = name, order

    async def before(self, context: RequestContext) -> None:
        self._order.append(self._name)

    def after(self, context: RequestContext) -> None:
        self._order.append(f"after {self._name}")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_is_answered_in_a_backends_place(serve: Any, stream: bool) -> None:
    """The backend is not asked, the client gets the reply in its dialect, and the reply is closed and recorded."""
    backend = await serve(good)
    cache = Answers()
    async with gateway(configured({"house": row("openai-chat", backend.url)}), **with_guards([], [cache])) as here:
        answer = await here.ask(*asking("openai-chat", stream=stream))
        assert answer.status == 200
        assert b"kept" in answer.body
        record = (await here.app.recorded())[-1]
    assert (record.verdict, record.completion_tokens, record.passthrough) == ("complete", 2, False)
    assert (backend.seen, cache.over, cache.closed) == ([], ["complete"], 1)
    assert "x-polychat-provider" not in answer.headers, "nobody was asked"


@pytest.mark.parametrize("place", ["head", "chat"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_request_is_refused_in_its_dialect(serve: Any, dialect: str, place: str) -> None:
    """With the guard's status, text and time, at any position of the guard; no backend is called."""
    backend = await serve(good)
    placed: dict[str, list[Guard]] = {"head": [], "chat": [], place: [Refuses()]}
    async with gateway(configured({"house": row("openai-chat", backend.url)}), **with_guards(**placed)) as here:
        answer = await here.ask(*asking(dialect))
    assert (answer.status, answer.headers["retry-after"]) == (429, "60")
    assert b"the budget of this key" in answer.body
    assert backend.seen == []


@pytest.mark.parametrize("stream", [False, True])
async def test_pieces_are_tapped(serve: Any, stream: bool) -> None:
    """What the guard makes of each piece is what the client gets; it sees all that would have been sent."""
    backend = await serve(good)
    tap = Taps()
    async with gateway(configured({"house": row("openai-chat", backend.url)}), **with_guards([tap], [])) as here:
        plain = await here.ask(*asking("openai-chat", stream=stream))
    assert plain.body == tap.seen.replace(b'"stop"', b'"tapped"')
    assert b'"tapped"' in plain.body


async def test_the_order(serve: Any) -> None:
    """Heads before chats, each in the order given; ``after`` once for each, also where a request was refused."""
    backend = await serve(good)
    order: list[str] = []
    head: list[Guard] = [Notes("a", order), Notes("b", order)]
    chat: list[Guard] = [Notes("c", order), Notes("d", order)]
    async with gateway(configured({"house": row("openai-chat", backend.url)}), **with_guards(head, chat)) as here:
        await here.ask(*asking("openai-chat"))
        await here.app.recorded()
        assert order == ["a", "b", "c", "d", "after a", "after b", "after c", "after d"]
        order.clear()
        await here.ask("/v1/models")  # no chat
        await here.app.recorded(2)
        assert order == ["a", "b", "after a", "after b", "after c", "after d"]


async def test_a_guard_that_fails_at_the_end(serve: Any) -> None:
    """Is a defect for the log: the client has its answer, the other guards their turn, and the request is over."""

    class Breaks(Guard):
        def after(self, context: RequestContext) -> None:
            raise RuntimeError("broken")

    backend = await serve(good)
    order: list[str] = []
    head: list[Guard] = [Breaks(), Notes("a", order)]
    async with gateway(configured({"house": row("openai-chat", backend.url)}), **with_guards(head, [])) as here:
        answer = await here.ask(*asking("openai-chat"))
        await here.app.recorded()
        assert (answer.status, order, here.app.running) == (200, ["a", "after a"], 0)
        assert [str(error) for error in here.app.bugs] == ["broken"]
        here.app.bugs.clear()


def test_what_does_nothing_is_not_asked() -> None:
    """A guard that has no ``before`` or no ``after`` costs nothing in that place; without guards there is nothing to ask."""

    class Only(Guard):
        def after(self, context: RequestContext) -> None:
            pass

    last, first = Only(), Refuses()
    assert in_order([last, first]) == Guards((first,), (), (last,))
    assert in_order([]) == Guards()
