"""A request that is written and not sent, and the reader of its reply: for callers that send it without a wait or a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..events import Event
from ..wire.contract import Reader, TextAnswer, TextStream
from .ready import ReadyRequest
from .vendor_reply import Change


class DirectRequest(NamedTuple):
    """Made by ``Backend.direct``. A streamed reply is read by a ``reader``, most of those that have come whole by
    ``usual_stream`` (see ``ReadsStreamsWhole``), and another reply by ``whole``. Those that need no ``change`` may be read by
    ``text_stream`` and ``text_answer`` (see ``ReadsTextAnswers``) before.
    """

    ready: ReadyRequest
    body: bytes
    whole: Callable[[bytes], list[Event]]
    change: Change | None
    reader: Callable[[], Reader]
    usual_stream: Callable[[bytes], list[Event] | None] | None
    text_answer: Callable[[bytes], TextAnswer | None] | None
    text_stream: Callable[[bytes], TextStream | None] | None

    def events(self, reply: bytes) -> list[Event]:
        """The events of a whole reply."""
        events = self.whole(reply)
        return events if self.change is None else self.change(events)

    def stream_events(self, reply: bytes) -> list[Event] | None:
        """The events of a stream that came whole; ``None`` if its end is missing."""
        events = None if self.usual_stream is None else self.usual_stream(reply)
        if events is None:
            return self.unusual_stream_events(reply)
        return events if self.change is None else self.change(events)

    def unusual_stream_events(self, reply: bytes) -> list[Event] | None:
        """As ``stream_events``, of a stream that ``usual_stream`` and ``text_stream`` do not read."""
        reader = self.reader()
        events = reader.feed(reply)
        if not reader.done:
            return None
        return events if self.change is None else self.change(events)
