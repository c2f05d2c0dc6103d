"""Servers that mean ill or are broken, for the session alone; ``test_hostile_servers.py`` is for both clients."""

from __future__ import annotations

import pytest

from polychat import errors
from polychat.transport import StreamSession, Timeouts

from ...support.hostile_servers import CHUNKED, FOREVER, saying


async def test_answers_before_the_answer_do_not_reset_the_clock() -> None:
    """A server may say 100 Continue as often as it likes: there is one clock for the head."""
    async with (
        saying(b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, times=FOREVER) as server,
        StreamSession(timeout=Timeouts(first=0.1, idle=0.1)) as session,
    ):
        server.heard.set()
        with pytest.raises(errors.TimedOut, match="first"):
            await session.get(server.url)


async def test_a_line_that_never_ends_has_a_limit() -> None:
    """One's own, or ours; the message names it."""
    line = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    async with saying(CHUNKED, line, times=FOREVER) as server, StreamSession() as session:
        server.heard.set()
        with pytest.raises(errors.BadReply, match="100 bytes"):
            await anext((await session.get(server.url)).iter_lines(limit=100))
        with pytest.raises(errors.BadReply, match="8,388,608 bytes"):
            await anext((await session.get(server.url)).iter_lines())


async def test_a_reason_that_is_no_text_can_be_printed() -> None:
    """Whatever bytes the status line has."""
    async with saying(b"HTTP/1.1 500 \xff\xfe \x1b[31m\r\nContent-Length: 0\r\n\r\n") as server, StreamSession() as session:
        error = (await session.get(server.url)).error()
    assert str(error).encode().decode().isprintable()
