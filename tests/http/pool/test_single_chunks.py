"""A read that is one chunk is not parsed: what a sink gets is what a parser reads all the same."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.http.pool.connection import PoolConnection
from polychat.http.timeouts import UNLIMITED

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
FIRST = b"2\r\n{}\r\n"
END = b"0\r\n\r\n"


class Transport:
    """Takes what is written, and nothing more."""

    closed = False

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


class Receiver:
    """A connection with a request under way, whose reply has begun with ``beginning`` and goes on to a sink."""

    def __init__(self, beginning: bytes = HEAD + FIRST) -> None:
        self.connection = PoolConnection()
        self.connection.connection_made(cast(Any, Transport()))
        self.body = b""
        self.chunks: list[bytes] = []
        self.begin(beginning)

    def begin(self, beginning: bytes) -> None:
        connection = self.connection
        connection.begin(b"GET / HTTP/1.1\r\n\r\n", None, UNLIMITED)
        connection.data_received(beginning)
        connection.take_body()
        connection.sink = self.take

    def take(self, data: bytes, chunk: bytes) -> None:
        self.body += data
        if chunk:
            assert chunk.lower() == framed(data).lower(), "the chunk is not that of its data"
            self.chunks.append(chunk)

    def read(self, *reads: bytes) -> None:
        for data in reads:
            self.connection.data_received(data)

    def end(self) -> bool:
        """Leave the sink; returns whether another exchange is possible."""
        self.connection.sink = None
        return self.connection.finish()


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


PARTS = st.sampled_from(
    [b"1\r\n", b"2\r\n", b"3\r\nabc\r\n", b"A", b"\r\n", b"0\r\n\r\n", b"7\r\n", b"data: {}\n\n", b"x" * 18]
)
BODY = st.lists(PARTS, min_size=1, max_size=5).map(b"".join)


async def received(chunks: list[bytes], cuts: list[int]) -> None:
    sent = b"".join(map(framed, chunks)) + END
    edges = sorted({0, len(sent), *(cut % len(sent) for cut in cuts)})
    receiver = Receiver()
    receiver.read(*(sent[begin:end] for begin, end in pairwise(edges)))
    assert receiver.body == b"".join(chunks)
    assert receiver.connection.done
    assert receiver.end()


@given(st.lists(BODY, min_size=1, max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_a_body_is_the_same_however_it_is_cut(chunks: list[bytes], cuts: list[int]) -> None:
    """Also one whose text looks like chunks, and whose reads end within the framing."""
    asyncio.run(received(chunks, cuts))


@given(st.lists(BODY, min_size=1, max_size=8))
def test_reads_that_are_chunks_are_given_as_they_came(chunks: list[bytes]) -> None:
    """Each with its framing, so that it can be sent on."""

    async def run() -> None:
        receiver = Receiver()
        receiver.read(*map(framed, chunks))
        assert receiver.chunks == [framed(chunk) for chunk in chunks]
        receiver.read(END)
        assert receiver.end()

    asyncio.run(run())


async def test_digits_may_be_capitals() -> None:
    """Some servers write sizes so: the chunk is sent on as it came."""
    receiver = Receiver()
    chunk = b"1F\r\n" + b"x" * 31 + b"\r\n"
    receiver.read(chunk, chunk)
    assert receiver.chunks == [chunk, chunk]


async def test_amid_a_chunk_nothing_is_taken_for_one() -> None:
    """A read that has the form of a chunk is the text of the larger one that it stands in."""
    receiver = Receiver()
    inner = b"1\r\n1\r\n"
    whole = inner * 3
    receiver.read(framed(b"x"), framed(b"x"), framed(whole)[:4], inner, inner, inner, b"\r\n", framed(b"y"), END)
    assert receiver.body == b"xx" + whole + b"y"
    assert receiver.end()


async def test_a_piece_that_a_chunk_ends_with_is_taken_for_none() -> None:
    """The read before it ended a byte before the chunk did, and this one goes on with the next chunk's first line."""
    receiver = Receiver()
    receiver.read(b"3\r\nab", b"1\r\n1\r\n", b"z\r\n", END)
    assert receiver.body == b"ab1" + b"z"
    assert receiver.chunks == []
    assert receiver.end()


@pytest.mark.parametrize("size", [18, 5000])
async def test_a_chunk_whose_first_line_is_cut_before_its_last_byte_is_not_sent_on(size: int) -> None:
    """The read begins with that byte and ends as a chunk does: no chunk is as long as it, or it is too long for one."""
    receiver = Receiver()
    text = b"x" * size
    receiver.read(framed(b"a"), framed(b"b"), b"%x\r" % size, b"\n" + text + b"\r\n", framed(b"c"), END)
    assert receiver.body == b"ab" + text + b"c"
    assert receiver.chunks == [framed(b"a"), framed(b"b"), framed(b"c")]
    assert receiver.end()


async def test_the_next_reply_begins_anew() -> None:
    """Its body has a length: text in the form of a chunk is text."""
    receiver = Receiver()
    receiver.read(framed(b"x"), framed(b"y"), END)
    assert receiver.end()
    receiver.body = b""
    text = framed(b"text")
    receiver.begin(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n{}" % (2 + 2 * len(text)))
    receiver.read(text, text)
    assert receiver.body == text + text
    assert receiver.connection.done


async def test_no_chunk_is_given_to_a_sink_that_is_paused() -> None:
    """It is held until the sink takes more."""
    receiver = Receiver()
    receiver.read(framed(b"a"), framed(b"b"))
    receiver.connection.pause_sink()
    receiver.read(framed(b"c"))
    assert receiver.body == b"ab"
    receiver.connection.resume_sink()
    receiver.read(framed(b"d"), END)
    assert receiver.body == b"abcd"
    assert receiver.end()


async def test_a_chunk_after_the_last_ends_the_connection() -> None:
    """It was not requested."""
    receiver = Receiver()
    receiver.read(framed(b"a"), framed(b"b"), END, framed(b"c"))
    assert receiver.body == b"ab"
    assert receiver.connection.transport.is_closing()
