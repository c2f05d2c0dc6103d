"""A request that is written and not sent, and the reader of its reply: for callers that send it without a wait or a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..events import Event
from ..wire.contract import Reader
from .ready import ReadyRequest
from .vendor_reply import Change


class DirectRequest(NamedTuple):
    """Made by ``Backend.direct``. A streamed reply is read by a ``reader``, another one by ``whole``."""

    ready: ReadyRequest
    body: bytes
    whole: Callable[[bytes], list[Event]]
    change: Change | None
    reader: Callable[[], Reader]

    def events(self, reply: bytes) -> list[Event]:
        """The events of a whole reply."""
        events = self.whole(reply)
        return events if self.change is None else self.change(events)
