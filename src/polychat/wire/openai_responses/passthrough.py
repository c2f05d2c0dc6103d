"""A stream that passes through: watched, and where it breaks off its end belongs to the response that the backend began."""

from __future__ import annotations

from ..contract import Writer
from ..passthrough import Reading
from .reply_reader import Reader
from .reply_writer import StreamWriter


class EventMonitor(Reading):
    """As ``Reading``; it knows how far the backend's events came."""

    def __init__(self) -> None:
        self._events = Reader()
        super().__init__(self._events, opening=b'"response.created"')

    def hand_over(self, writer: Writer) -> None:
        """What ``writer`` says goes on where the backend broke off: with its response, and the next number."""
        if isinstance(writer, StreamWriter) and self._events.response:
            writer.goes_on(self._events.response, self._events.number)
