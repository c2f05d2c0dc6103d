"""What a request held is free when it ends, whatever became of it: nothing waits for the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from polychat.config.settings import Route
from polychat.gateway.context import RequestContext

from ..support.running_gateway import asking, configured, fault, gateway, good, row, streaming, text
from ..support.scripted_server import Say, Seen, Server

REFUSED = fault(500)
CUT = streaming(text("The sky"), cut=True)


async def closes(seen: Seen, say: Say) -> None:
    """A backend that breaks the connection."""
    await say.cut()


async def garbage(seen: Seen, say: Say) -> None:
    """A backend whose reply is none."""
    await say.whole({"choices": 5})


BACKENDS: dict[str, tuple[Any, ...]] = {
    "answers": (good,),
    "is asked after a refusal": (REFUSED, good),
    "is asked after a broken connection": (closes, good),
    "is asked after garbage": (garbage, good),
    "refuses": (REFUSED, REFUSED),
    "breaks the connection": (closes, closes),
    "cuts its stream off": (CUT,),
}


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage collection meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
@pytest.mark.parametrize("becomes", BACKENDS)
async def test_a_request_leaves_nothing(
    becomes: str, dialect: str, stream: bool, serve: Callable[..., Awaitable[Server]]
) -> None:
    """Passed or translated, whole or streamed, answered or not."""
    rows = {f"house{number}": row("openai-chat", (await serve(talk)).url) for number, talk in enumerate(BACKENDS[becomes])}
    routes = {"small": Route(targets=tuple(f"{name}/small" for name in rows))}
    before = {id(one) for one in gc.get_objects() if isinstance(one, RequestContext)}
    async with gateway(configured(rows, routes=routes)) as here:
        for _ in range(2):
            await here.ask(*asking(dialect, "small", stream=stream))
    left = [one for one in gc.get_objects() if isinstance(one, RequestContext) and id(one) not in before]
    assert not left, [type(each) for each in gc.get_referrers(left[0])]
