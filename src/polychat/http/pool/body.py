"""The body of a request as the pool sends it: bytes, or pieces that are made while they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias


class BodyInPieces(Protocol):
    """A body that is never held as a whole: each piece is made when it is sent. ``len`` is its size in bytes."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes | memoryview]: ...


RequestBody: TypeAlias = bytes | BodyInPieces


def blocks(body: RequestBody, size: int) -> Iterator[bytes | memoryview]:
    """The same bytes in blocks of at most ``size``: small pieces are joined, and large ones are not copied."""
    pieces: Iterable[bytes | memoryview] = (body,) if isinstance(body, bytes) else body
    together = bytearray()
    for piece in pieces:
        if together and len(together) + len(piece) > size:
            yield bytes(together)
            together.clear()
        if len(piece) <= size:
            together += piece
            continue
        view = memoryview(piece)
        for start in range(0, len(view), size):
            yield view[start : start + size]
    if together:
        yield bytes(together)
