"""A stream that is passed through and monitored; if it is cut, its end belongs to the response that the backend began."""

from __future__ import annotations

from ..contract import Writer
from ..passthrough import Reading
from .reply_reader import Reader
from .reply_writer import StreamWriter


class EventMonitor(Reading):
    """As ``Reading``, and records the backend's response and its last sequence number."""

    def __init__(self) -> None:
        self._events = Reader()
        super().__init__(self._events, opening=b'"response.created"')

    def continue_with(self, writer: Writer) -> None:
        """Make ``writer`` continue where the backend's stream was cut: with the same response, and the next sequence number."""
        if isinstance(writer, StreamWriter) and self._events.response:
            writer.continue_from(self._events.response, self._events.number)
