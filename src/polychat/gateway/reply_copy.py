"""A copy of a response as its client gets it, for requests that repeat that client's.

The responder of the first request fills it; others read along, each at its own pace, and what is whole may be kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Owner = TypeVar("Owner")


class ReplyCopy(Generic[Owner]):
    """One response: its head, its pieces, and how it ended. ``begun`` and ``over`` are set once each."""

    __slots__ = (
        *("beats", "fingerprint", "is_whole", "lines", "over", "owner", "pieces", "size", "status", "stream", "until"),
        *("_changed", "_give_up", "_grew", "_readers"),
    )

    def __init__(self, owner: Owner, fingerprint: bytes, grew: Callable[[ReplyCopy[Owner], int], None]) -> None:
        """``owner`` is the request. ``grew`` is told of each piece before it is added, and may ``drop`` it."""
        self.owner: Owner | None = owner
        """``None`` once the response is over."""
        self.fingerprint = fingerprint
        self.status = 0
        """0 before it has begun."""
        self.lines = b""
        """The ``header_lines`` of its head."""
        self.stream = False
        """Whether it comes in pieces."""
        self.pieces: list[bytes] = []
        self.beats: set[int] = set()
        """Which of the pieces are heartbeats: a reply that is over needs none."""
        self.size = 0
        self.is_whole = False
        """Whether its end was sent."""
        self.over: bool = False
        self.until = 0.0
        """Until when it is kept."""
        self._grew = grew
        self._readers = 0
        self._give_up: Callable[[], None] | None = None
        self._changed: asyncio.Future[None] | None = None

    # The request whose response it is

    def start(self, status: int, lines: bytes, *, stream: bool) -> None:
        self.status, self.lines, self.stream = status, lines, stream
        self._wake()

    def piece(self, data: bytes) -> bytes:
        """As a tap of the responder: gives ``data`` unchanged."""
        if data and not self.over:
            self._grew(self, len(data))
            if not self.over:
                self.pieces.append(data)
                self.size += len(data)
                self._wake()
        return data

    def beat(self, data: bytes) -> None:
        """A heartbeat was sent."""
        if not self.over:
            self.beats.add(len(self.pieces))
            self.piece(data)

    def end(self) -> None:
        """The response was sent to its end."""
        self.is_whole = not self.over
        self._wake()

    def close(self) -> None:
        """The request is over; nothing follows."""
        self.over, self.owner, self._give_up = True, None, None
        if self.is_whole and self.beats:
            self.pieces = [piece for place, piece in enumerate(self.pieces) if place not in self.beats]
            self.beats = set()
        if not self._readers:
            self._join()
        self._wake()

    def drop(self) -> None:
        """Keep none of it: it is too large. Those who read along do not get its end."""
        self.over, self.is_whole, self.pieces, self.beats = True, False, [], set()
        self._wake()

    def goes_on(self, give_up: Callable[[], None]) -> bool:
        """The first client has left. Whether others read along: ``give_up`` is then called when the last of them has left."""
        self._give_up = give_up if self._readers else None
        return bool(self._readers)

    @property
    def has_readers(self) -> bool:
        return bool(self._readers)

    # Requests that repeat it

    def __enter__(self) -> ReplyCopy[Owner]:
        """Read along."""
        self._readers += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._readers -= 1
        if not self._readers and self._give_up is not None:
            give_up, self._give_up = self._give_up, None
            give_up()

    async def changed(self) -> None:
        """Returns when there is more of it, or it is over."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)  # one reader that leaves wakes no other

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set_result(None)

    def _join(self) -> None:
        if len(self.pieces) > 1:
            self.pieces = [b"".join(self.pieces)]
