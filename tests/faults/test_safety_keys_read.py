"""Kind: a credential of ours that a backend repeats is shown. Each way to read a reply, and each error on that way."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from polychat import errors
from polychat.http.coding import ACCEPTED
from polychat.http.pool.pool import pool
from polychat.http.pool.response import PooledResponse
from polychat.http.sending import last_check
from polychat.redact import MASK
from polychat.transport import StreamSession

from ..support.canary_key import CANARY, all_of, shows
from ..support.scripted_server import Say, Seen

SENT = {"authorization": f"Bearer {CANARY}"}
LINE = f"It is {CANARY}, or {CANARY}.\n".encode()
END = CANARY[:9].encode()
"""What could be a key's beginning, and is none: nothing of a reply is lost."""


def brotli_of(data: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(data))


CODINGS: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "gzip": gzip.compress, "br": brotli_of}


async def pieces(response: PooledResponse) -> bytes:
    return b"".join([data async for data in response.iter_content()])


async def lines(response: PooledResponse) -> bytes:
    return b"\n".join([line async for line in response.iter_lines()])


async def piped(response: PooledResponse) -> bytes:
    got: list[bytes] = []

    def sink(data: bytes) -> bool:
        got.append(data)
        return False

    await response.pipe(sink)
    response.close()
    return b"".join(got)


async def held(response: PooledResponse) -> bytes:
    """What is at hand is taken without a wait."""
    got = [await response.piece()]
    while got[-1]:
        got.append(response.held() or await response.piece())
    response.close()
    return b"".join(got)


WAYS: dict[str, Callable[[PooledResponse], Awaitable[bytes]]] = {
    "read": PooledResponse.read,
    "pieces": pieces,
    "lines": lines,
    "pipe": piped,
    "held": held,
}


def echo(coding: str, body: bytes, size: int) -> Any:
    """A server that sends ``body`` in chunks of ``size``."""

    async def handler(seen: Seen, say: Say) -> None:
        data = CODINGS[coding](body)
        await say.head(content_type="text/plain", headers=[("content-encoding", coding)])
        for start in range(0, len(data), size):
            await say.chunk(data[start : start + size])
        await say.last()

    return handler


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("way", WAYS)
async def test_no_way_to_read_a_reply_shows_it(serve: Any, way: str, coding: str) -> None:
    """Compressed or not, in reads that cut it or in one; what could be a key's beginning and is none comes through."""
    assert coding in ("identity", *ACCEPTED.split(", "))
    rare = base64.b64encode(CANARY.encode()) + b"\n" if way == "read" else b""  # only a whole body is searched for these
    body = LINE * 3 + rare + END
    for size in (7, len(body) + 100):
        server = await serve(echo(coding, body, size))
        async with await pool().request("GET", server.url, headers=SENT) as response:
            got = await WAYS[way](response)
        assert not shows(got), size
        assert got.count(MASK.encode()) == 2 * 3 + bool(rare), size
        assert got.endswith(END), size


async def test_no_error_of_a_session_shows_it(serve: Any) -> None:
    """Of a head that is no HTTP, and of a body that is no JSON: each quotes what came."""
    replies = {
        "did not send HTTP": CANARY.encode() + b"\r\n\r\n",
        "not JSON": b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(LINE), LINE),
    }
    for message, reply in replies.items():

        async def says(seen: Seen, say: Say, reply: bytes = reply) -> None:
            await say.raw(reply)
            await say.cut()

        server = await serve(says)
        async with StreamSession(SENT) as session:
            with pytest.raises(errors.BackendError, match=message) as caught:
                async with session.get(server.url) as response:
                    await response.json()
        assert MASK in str(caught.value), message
        assert not shows(all_of(caught.value)), message


async def test_no_error_of_the_pool_shows_it(serve: Any) -> None:
    """Whoever made it: here the last check before a request is sent."""

    def refuse() -> None:
        raise errors.BadReply(f"it said {CANARY}")

    server = await serve(echo("identity", LINE, 7))
    token = last_check.set(refuse)
    try:
        with pytest.raises(errors.BadReply) as caught:
            await pool().request("GET", server.url, headers=SENT)
    finally:
        last_check.reset(token)
    assert MASK in str(caught.value)
    assert not shows(all_of(caught.value))
