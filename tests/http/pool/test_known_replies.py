"""Replies whose head is recognized are read as the parser reads them, and nothing else is recognized."""

from __future__ import annotations

import asyncio
import socket
from itertools import product
from typing import Any, cast

import pytest

from polychat.backends.relay import rate_limits_in, rate_limits_on
from polychat.http.pool.connection import PoolConnection
from polychat.http.pool.known_replies import KnownReplies, KnownReply
from polychat.http.timeouts import UNLIMITED

LINES = (
    b"Date: Sun, 29 Nov 2026 18:00:00 GMT",
    b"x-ratelimit-remaining-requests: 99",
    b"Content-Length: 2",
    b"Connection: keep-alive",
    b"x-request-id: req_1",
)


def reply(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK", body: bytes = b"{}") -> bytes:
    return b"\r\n".join([status, *lines, b"", body])


CHUNKED = (LINES[0], b"Content-Type: text/event-stream", b"transfer-encoding: chunked")


def stream(*chunks: bytes, lines: tuple[bytes, ...] = CHUNKED, rest: bytes = b"") -> bytes:
    return reply(*lines, body=b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + rest + b"\r\n")


class Transport:
    """A connection that is written to in vain."""

    def __init__(self) -> None:
        self.closed = False
        self.socket, self.peer = socket.socketpair()

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.socket.close()
        self.peer.close()


def read(replies: KnownReplies | None, *reads: bytes) -> tuple[bool, Any]:
    """Whether a reply is recognized, and what the connection knows of it and does."""
    connection, transport = PoolConnection(), Transport()
    connection.connection_made(cast(Any, transport))
    connection.known_replies = replies
    connection.begin(b"", None, UNLIMITED)
    for data in reads:
        connection.data_received(data)
    limits = rate_limits_on(connection)
    assert limits == rate_limits_in(connection.headers)
    content_type = connection.content_type
    facts = (connection.status, connection.reason, connection.headers, limits, content_type, connection.coding, connection.held)
    state = (connection.done, connection.received_any, connection.keep_alive, connection.state, repr(connection.error))
    is_free = connection.finish()
    transport.close()
    return connection.known_reply is not None, (facts, state, is_free, transport.closed)


@pytest.fixture
async def replies() -> KnownReplies:
    """Of a server that has sent a few alike."""
    known = KnownReplies()
    for number in range(3):
        assert not read(known, reply(*LINES[:-1], b"x-request-id: first_%d" % number))[0]
        assert not read(known, stream(b"first %d" % number))[0]
    return known


async def test_a_reply_like_the_earlier_ones_is_recognized(replies: KnownReplies) -> None:
    """Whatever the values of its lines, with a body of any length, but not without one, in pieces, or behind another status."""
    others = [line.partition(b": ")[0] + b": another; value" for line in LINES]
    like = [*others[:2], b"Content-Length: 5", LINES[3], others[4]]
    recognized, facts = read(replies, reply(*like, body=b"[1,2]"))
    assert (recognized, facts) == (True, read(None, reply(*like, body=b"[1,2]"))[1])
    unlike = (
        reply(*LINES[:2], b"Content-Length: 0", *LINES[3:], body=b""),
        reply(*LINES, status=b"HTTP/1.1 201 Created"),
        reply(*LINES[:3], b"Connection: close", LINES[4]),
        reply(*LINES, b"x-more: 1"),
        reply(*LINES[1:]),
        reply(*LINES[::-1]),
        reply(LINES[0] + b" " * 60_000, *LINES[1:]),
    )
    for data in unlike:
        recognized, facts = read(replies, data)
        assert (recognized, facts) == (False, read(None, data)[1]), data
    for place in range(1, len(reply(*LINES))):
        data = reply(*LINES)[:place], reply(*LINES)[place:]
        recognized, facts = read(replies, *data)
        assert (recognized, facts) == (False, read(None, *data)[1]), place


async def test_a_stream_that_comes_at_once_is_recognized(replies: KnownReplies) -> None:
    """With a few chunks of any size and any content; not with many, none, an extension, trailers, or in pieces."""
    for data in (stream(b"a"), stream(b"x" * 10, b"\r\n0\r\n\r\n"), stream(b"one" * 99, b"two"), stream(*[b"."] * 24)):
        recognized, facts = read(replies, data)
        assert (recognized, facts) == (True, read(None, data)[1]), data
    unlike = (
        stream(),
        stream(*[b"."] * 25),
        stream(b"." * 8192),
        stream(b"a", rest=b"x: 0\r\n"),
        stream(b"a") + b"0\r\n\r\n",
        stream(b"a") + stream(b"b"),
        stream(b"a").replace(b"\r\n1\r\n", b"\r\n1;x=y\r\n"),
        stream(b"a").replace(b"\r\n1\r\n", b"\r\n01\r\n"),
        stream(b"a").replace(b"\r\n1\r\na\r\n", b"\r\n\r\n\r\n"),
        stream(b"a").replace(b"\r\n1\r\n", b"\r\n+1\r\n"),
        stream(b"a").replace(b"\r\n1\r\n", b"\r\n0x1\r\n"),
        stream(b"a").replace(b"\r\n1\r\n", b"\r\nffffff\r\n"),
        stream(b"a", lines=(*CHUNKED[:2], b"transfer-encoding: gzip, chunked")),
        stream(b"a", lines=(*CHUNKED, b"Content-Length: 1")),
        stream(b"a", lines=(*CHUNKED, CHUNKED[2])),
    )
    for data in unlike:
        recognized, facts = read(replies, data)
        assert (recognized, facts) == (False, read(None, data)[1]), data
    data = stream(b"one", b"two")
    for place in range(1, len(data)):
        recognized, facts = read(replies, data[:place], data[place:])
        assert (recognized, facts) == (False, read(None, data[:place], data[place:])[1]), place


NEXT = {
    "known": reply(*LINES),
    "known stream": stream(b"one", b"two"),
    "others' headers": reply(b"Keep-Alive: timeout=5", *LINES, b"content-encoding: gzip", status=b"HTTP/1.1 404 No"),
    "nothing yet": b"",
}


async def test_the_next_exchange_knows_nothing_of_the_last(replies: KnownReplies) -> None:
    """Whether its reply was recognized or parsed: the next is as on a connection that parses every reply."""
    for names in product(NEXT, repeat=3):
        seen: list[list[Any]] = [[], []]
        for known, facts in zip((replies, None), seen, strict=True):
            connection, transport = PoolConnection(), Transport()
            connection.connection_made(cast(Any, transport))
            connection.known_replies = known
            for name in names:
                connection.begin(b"", None, UNLIMITED)
                for data in (b"", NEXT[name]):
                    if data:
                        connection.data_received(data)
                    facts.append((connection.has_head, connection.done, connection.received_any, connection.partly_sent))
                    facts.append((connection.status, connection.reason, connection.coding, connection.announced))
                    facts.append([*connection.headers])
                    facts.append((connection.held, connection.content_type, connection.state, repr(connection.error)))
                    facts.append(rate_limits_on(connection))
                if not connection.finish():
                    break
            transport.close()
        assert seen[0] == seen[1], names


def facts_of(connection: PoolConnection) -> tuple[Any, ...]:
    reply = connection.status, connection.reason, [*connection.headers], connection.held, connection.content_type
    state = connection.has_head, connection.done, connection.received_any, connection.state, repr(connection.error)
    return (*reply, *state)


@pytest.mark.parametrize("name", [name for name in NEXT if name.startswith("known")])
async def test_a_taker_gets_what_is_recognized(replies: KnownReplies, name: str) -> None:
    """It gets all that a connection that parses the reply knows of it. Then the connection is free, and the next reply is read
    as on one that parsed this one; if it does not take the reply, the connection has it.
    """
    for following in NEXT.values():
        seen: list[list[Any]] = []
        for known, takes in ((None, False), (replies, True), (replies, False)):
            connection, transport = PoolConnection(), Transport()
            connection.connection_made(cast(Any, transport))
            connection.known_replies = known
            taken: list[Any] = []

            def take(form: KnownReply, values: tuple[bytes, ...], body: bytes) -> bool:
                taken.append(([*zip(form.names, values, strict=True)], body))  # noqa: B023  # it is called before the next
                return takes and connection.finish()  # noqa: B023

            connection.taker = take
            connection.begin(b"", None, UNLIMITED)
            connection.data_received(NEXT[name])
            assert len(taken) == (known is not None)
            if takes:
                seen.append([*taken, "free"])
                assert (connection.state, connection.headers, connection.held) == ("free", [], b"")
            else:
                seen.append([(connection.headers, connection.held), "free"])
                assert connection.state == "whole"
                assert connection.finish()
            connection.taker = None
            connection.begin(b"", None, UNLIMITED)
            if following:
                connection.data_received(following)
            seen[-1].append(facts_of(connection))
            transport.close()
        assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_a_status_without_a_reason_has_none(replies: KnownReplies, before: bytes) -> None:
    """Not that of the recognized reply before it, nor of the head before it."""
    connection, transport = PoolConnection(), Transport()
    connection.connection_made(cast(Any, transport))
    connection.known_replies = replies
    for data, reason in ((reply(*LINES), b"OK"), (before + b"HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n", b"")):
        connection.begin(b"", None, UNLIMITED)
        connection.data_received(data)
        assert (connection.done, connection.reason) == (True, reason)
        assert connection.finish()
    transport.close()


async def test_a_reason_is_whole_however_it_is_cut() -> None:
    """It is what was sent, though each byte comes alone, and nothing of the head before it."""
    data = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    for size in range(1, len(data)):
        _, (facts, state, *_) = read(None, *(data[at : at + size] for at in range(0, len(data), size)))
        assert (facts[:2], state[0]) == ((404, b"Not Found"), True), size


async def test_no_byte_makes_a_difference(replies: KnownReplies) -> None:
    """A reply with any byte left out, doubled, or replaced by one that means something is read as without earlier ones."""
    for data in (reply(*LINES), stream(b"{}", b"0123456789")):
        seen = set()
        for place in range(len(data)):
            for middle in (b"", data[place : place + 1] * 2, b"\r", b"\n", b"\0", b" ", b":", b"5", b"\xe9", b"\r\n"):
                changed = data[:place] + middle + data[place + 1 :]
                recognized, facts = read(replies, changed)
                assert facts == read(None, changed)[1], changed
                seen.add(recognized)
        assert seen == {True, False}


async def test_what_is_learned_is_a_whole_head_of_a_last_reply() -> None:
    """Not a head before it whose reason has a 200, a value with spaces around it, the first of many lines, or one too large."""
    length, kept = b"Content-Length: 2", b"Connection: keep-alive"
    many = [length, *(b"x-%d: 1" % number for number in range(62)), kept, b"x-ratelimit-limit-requests: 1"]
    like = {
        reply(length, status=b"HTTP/1.1 102 a 200 b"): reply(length, status=b"HTTP/1.1 102 a 200 b", body=b"") + reply(length),
        reply(length, b"Connection:  keep-alive"): reply(length, b"Connection:  keep-alive"),
        reply(*many): reply(*many),
        reply(length, b"x-a: %b" % (b"v" * 70_000)): reply(length, b"x-a: v"),
    }
    for data, earlier in like.items():
        replies = KnownReplies()
        for _ in range(3):
            read(replies, earlier)
        recognized, facts = read(replies, data)
        assert (recognized, facts) == (False, read(None, data)[1]), data[:80]


async def test_a_server_that_sends_other_lines_each_time_is_not_looked_at_for_long() -> None:
    """Neither its lines nor what was made of them are kept without end."""
    replies = KnownReplies()
    for number in range(200):
        read(replies, reply(*LINES, b"x-%d: 1" % number))
    assert (replies.known, replies.can_learn, len(replies._seen)) == ([], False, 64)
    replies = KnownReplies()
    for number in range(100):
        read(replies, reply(*LINES, b"x-%d: 1" % (number // 3)))
    assert (len(replies.known), replies.can_learn) == (4, False)


async def test_long_streams_and_failures_teach_nothing() -> None:
    """What cannot be recognized is not looked at, so that it does not use up the looks at what can."""
    replies = KnownReplies()
    for _ in range(100):
        read(replies, stream(b"one", b"two")[:-9], stream(b"one", b"two")[-9:])
        read(replies, reply(*LINES, status=b"HTTP/1.1 500 Internal Server Error"))
        read(replies, reply(b"content-encoding: gzip", *LINES))
        await asyncio.sleep(0)
    assert (replies._tries, replies.known) == (0, [])
