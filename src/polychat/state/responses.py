"""Replies that a later request may go on from, in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Protocol, TypeAlias

from ..types import ChatMessage

Messages: TypeAlias = list[ChatMessage] | Callable[[], list[ChatMessage]]
"""A conversation, or what reads it from the bytes that it came in."""


class Bounds(Protocol):
    """How much is kept, and for how long."""

    @property
    def replies(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class StoredResponse:
    """One reply, for a request that continues from it."""

    __slots__ = ("_messages", "body", "items", "key", "size", "until")

    def __init__(self, key: str, body: bytes, messages: Messages, size: int, until: float, items: bytes | None = None) -> None:
        self.key = key
        """The name of the key of its request: no other key may read it."""
        self.body = body
        self._messages = messages
        self.size = size
        self.until = until
        self.items = items
        """The conversation and the reply as they are sent, separated by commas; of one from a database."""

    @property
    def messages(self) -> list[ChatMessage]:
        """The conversation with this reply at its end, instructions left out."""
        return self._messages if isinstance(self._messages, list) else self._messages()


class ResponseStore:
    """Those of one process, bounded in number, bytes and time; the oldest goes first."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._kept: OrderedDict[str, StoredResponse] = OrderedDict()
        self._clock = clock
        self.size = 0
        """Bytes, about: those of the replies and of the conversations before them."""

    def put(self, name: str, key: str, body: bytes, messages: Messages, request_size: int, bounds: Bounds) -> None:
        """Keep a reply; ``request_size`` is how many bytes of conversation went before it."""
        size = len(body) + request_size
        if size > bounds.bytes or not bounds.replies:
            return
        self.drop(name)
        self._kept[name] = StoredResponse(key, body, messages, size, self._clock() + bounds.seconds)
        self.size += size
        while len(self._kept) > bounds.replies or self.size > bounds.bytes:
            self.drop(next(iter(self._kept)))

    def get(self, name: str, key: str) -> StoredResponse | None:
        """A reply that was asked with the same key, and is not too old."""
        kept = self._kept.get(name)
        if kept is not None and self._clock() >= kept.until:
            self.drop(name)
            return None
        return kept if kept is not None and kept.key == key else None

    def drop(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.size -= kept.size
