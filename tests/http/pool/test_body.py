"""Bodies that are sent in pieces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from polychat.http.pool.body import blocks
from polychat.http.pool.connection import WRITE_SIZE
from polychat.http.pool.pool import pool

from ...support.scripted_server import Say, Seen, Server

SIZES = (1, 3, WRITE_SIZE - 1, WRITE_SIZE, WRITE_SIZE + 1, 5 * WRITE_SIZE, 0, 7)


class InPieces:
    """A body of these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for number, piece in enumerate(self.pieces):
            yield memoryview(piece) if number % 2 else piece


@given(st.lists(st.binary(max_size=20)), st.integers(1, 9))
def test_blocks_are_the_same_bytes(pieces: list[bytes], size: int) -> None:
    """In their order, none larger than asked for, and none empty."""
    made = list(blocks(InPieces(pieces), size))
    assert b"".join(made) == b"".join(pieces)
    assert all(0 < len(block) <= size for block in made)


async def test_a_server_gets_a_body_of_pieces_of_its_length(serve: Callable[..., Awaitable[Server]]) -> None:
    """And the connection serves the next request."""
    got: list[bytes] = []

    async def talk(seen: Seen, say: Say) -> None:
        got.append(seen.body)
        await say.whole({})

    server = await serve(talk)
    body = InPieces([bytes([65 + number]) * size for number, size in enumerate(SIZES)])
    for _ in range(2):
        response = await pool().request("POST", server.url, headers={}, body=body)
        assert await response.read() == b"{}"
    assert got == [b"".join(body)] * 2
    assert server.connections == 1
