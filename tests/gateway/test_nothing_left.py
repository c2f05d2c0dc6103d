"""What a request held is free when it ends, whatever became of it: nothing waits for the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from polychat.config.settings import Route
from polychat.gateway.chat.fast_path import FastChat
from polychat.gateway.chat.fast_stream import FastStream
from polychat.gateway.context import RequestContext

from ..support.running_gateway import DONE, END, FIRST, asking, configured, fault, gateway, good, row, streaming, text
from ..support.scripted_server import Say, Seen, Server

REFUSED = fault(500)
CUT = streaming(text("The sky"), cut=True)

PIECES = streaming(FIRST, text("The"), END, DONE, apart=True)


async def closes(seen: Seen, say: Say) -> None:
    """A backend that breaks the connection."""
    await say.cut()


async def garbage(seen: Seen, say: Say) -> None:
    """A backend whose reply is none."""
    await say.whole({"choices": 5})


BACKENDS: dict[str, tuple[Any, ...]] = {
    "answers": (good,),
    "answers piece by piece": (PIECES,),
    "is asked after a refusal": (REFUSED, good),
    "is asked after a broken connection": (closes, good),
    "is asked after garbage": (garbage, good),
    "refuses": (REFUSED, REFUSED),
    "breaks the connection": (closes, closes),
    "cuts its stream off": (CUT,),
}


HOLDERS = (RequestContext, FastChat, FastStream)
"""What holds all that a request needs, with a task and without one."""


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage collection meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic", "openai-responses"])
@pytest.mark.parametrize("becomes", BACKENDS)
async def test_a_request_leaves_nothing(
    becomes: str, dialect: str, stream: bool, serve: Callable[..., Awaitable[Server]]
) -> None:
    """Passed or translated, whole or streamed, answered or not; with a task, and where later ones need none, without."""
    rows = {f"house{number}": row("openai-chat", (await serve(talk)).url) for number, talk in enumerate(BACKENDS[becomes])}
    routes = {"small": Route(targets=tuple(f"{name}/small" for name in rows))}
    before = {id(one) for one in gc.get_objects() if isinstance(one, HOLDERS)}
    async with gateway(configured(rows, routes=routes)) as here:
        caller = await here.caller()
        for _ in range(3):
            caller.ask(*asking(dialect, "small", stream=stream))
            await caller.whole()
    before |= {id(head.context) for head in here.app._heads.values()}  # one of each, for all
    left = [one for one in gc.get_objects() if isinstance(one, HOLDERS) and id(one) not in before]
    assert not left, [type(each) for each in gc.get_referrers(left[0])]
