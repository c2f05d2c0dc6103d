"""``Timeouts``: what a caller may give as ``timeout=``, and that each limit is kept wherever it is given."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.config import Config
from polychat.config.settings import Route
from polychat.http.timeouts import STEPS
from polychat.transport import StreamSession, Timeouts

from ..support.running_gateway import row
from ..support.scripted_server import Say, Seen


async def silent(seen: Seen, say: Say) -> None:
    await say.gone()


async def pausing(seen: Seen, say: Say) -> None:
    """A reply that begins and falls silent."""
    await say.head(content_type="text/event-stream")
    await say.chunk(b": begun\n\n")
    await say.gone()


def test_seconds_are_the_total() -> None:
    """The other limits stay what they are; ``Timeouts`` are taken as they are given."""
    assert Timeouts.of(20, STEPS) == STEPS._replace(total=20)
    assert Timeouts.of(None, Timeouts()) == Timeouts(total=None)
    assert Timeouts.of(Timeouts(first=5), STEPS) == Timeouts(30.0, 5, 300.0, 600.0)


@pytest.mark.parametrize(
    "timeout", [0, -1.0, float("nan"), True, "20", (1, 2, 3, 4), Timeouts(first=0), Timeouts(idle="x"), Timeouts(total=False)]
)  # type: ignore[arg-type]
async def test_what_is_no_time_is_refused(timeout: Any) -> None:
    """By the field's name, and before anything is sent: in an ask, and in a session."""
    with pytest.raises(errors.BadInput, match="number of seconds above 0") as caught:
        await polychat.ask("hi", model="openai/small", base_url="http://127.0.0.1:9", api_key="k", timeout=timeout)
    assert caught.value.field == "timeout"
    with pytest.raises(errors.BadInput, match="number of seconds above 0"):
        StreamSession(timeout=timeout)


@pytest.mark.parametrize(("clock", "backend"), [("first", silent), ("idle", pausing), ("total", silent)])
@pytest.mark.parametrize("limit", ["by the caller", "by the route", "over the route's"])
async def test_each_limit_is_kept(serve: Any, clock: str, backend: Any, limit: str) -> None:
    """Whether the caller says it, the route, or the caller against the route."""
    server = await serve(backend)
    route = {"total": "timeout", "first": "first_timeout", "idle": "idle_timeout"}[clock]
    rules = {"by the caller": {}, "by the route": {route: 0.05}, "over the route's": {route: 50.0}}[limit]
    config = Config(
        providers={"house": row("openai-chat", server.url)},
        routes={"fast": Route(targets=("house/small",), attempts=1, **rules)},
    )
    options: dict[str, Any] = {} if limit == "by the route" else {"timeout": Timeouts(**{clock: 0.05})}
    async with asyncio.timeout(60):
        with pytest.raises((errors.TimedOut, errors.Truncated)) as caught:
            await polychat.Client("fast", config=config).ask("hi", **options)
    cause: Any = caught.value
    while not isinstance(cause, errors.TimedOut):
        cause = cause.__cause__
    assert (cause.clock, cause.seconds) == (clock, 0.05)


async def test_seconds_leave_the_routes_other_limits(serve: Any) -> None:
    """``timeout=20`` is the total of a route whose ``first_timeout`` ends the wait before."""
    server = await serve(silent)
    config = Config(
        providers={"house": row("openai-chat", server.url)},
        routes={"fast": Route(targets=("house/small",), attempts=1, first_timeout=0.05)},
    )
    with pytest.raises(errors.TimedOut) as caught:
        await polychat.Client("fast", config=config).ask("hi", timeout=20)
    assert (caught.value.clock, caught.value.seconds) == ("first", 0.05)


async def test_a_request_of_a_session_has_its_own(serve: Any) -> None:
    """In place of the session's: seconds are its total, ``Timeouts`` all four."""
    server = await serve(silent)
    async with StreamSession(timeout=60) as session:
        with pytest.raises(errors.TimedOut, match="total"):
            await session.get(server.url, timeout=0.05)
        with pytest.raises(errors.TimedOut, match="first"):
            await session.get(server.url, timeout=Timeouts(first=0.05))


@pytest.mark.parametrize(
    ("keyword", "backend", "clock"), [("idle_timeout", silent, "first"), ("idle_timeout", pausing, "idle")]
)
async def test_the_earlier_keywords_of_a_session_still_limit(serve: Any, keyword: str, backend: Any, clock: str) -> None:
    """Each keeps its limit, and warns of what replaces it; a keyword that never was is refused as Python does."""
    server = await serve(backend)
    with pytest.warns(DeprecationWarning, match=f"{keyword} is deprecated: use timeout=Timeouts"):
        session = StreamSession(**{keyword: 0.05})
    with pytest.raises((errors.TimedOut, errors.Truncated)) as caught:
        async with session, session.get(server.url) as response:
            await response.read()
    cause: Any = caught.value
    while not isinstance(cause, errors.TimedOut):
        cause = cause.__cause__
    assert cause.clock == clock
    with pytest.warns(DeprecationWarning, match="connect_timeout is deprecated"):
        StreamSession(connect_timeout=5.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'idle'"):
        StreamSession(idle=5.0)  # type: ignore[call-arg]
