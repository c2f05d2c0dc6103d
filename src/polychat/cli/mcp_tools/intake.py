"""How much a server may send: bounds that hold whatever it does."""

from __future__ import annotations

MOST_LINE = 16 * 1024 * 1024
"""Bytes of one message."""
MOST_BYTES = 64 * 1024 * 1024
"""Bytes of all messages until the next request is sent."""
MOST_MESSAGES = 20_000
"""Messages until the next request is sent."""


class Flooded(Exception):
    """A server sends more than is read. The text says what, as the rest of a sentence."""


class Intake:
    """Counts what a server has sent since ``expect`` was called."""

    def __init__(self, line: int = MOST_LINE, bytes_: int = MOST_BYTES, messages: int = MOST_MESSAGES) -> None:
        self.line = line
        self._most_bytes, self._most_messages = bytes_, messages
        self._bytes = self._messages = 0
        self.fault = ""
        """What it did, once it was too much."""

    def expect(self) -> None:
        """A request is sent."""
        self._bytes = self._messages = 0

    def take(self, size: int) -> None:
        """Bytes were read. Raises ``Flooded``."""
        self._bytes += size
        if self._bytes > self._most_bytes:
            self.flood(f"sent more than {self._most_bytes:,} bytes for one request")

    def take_message(self, size: int) -> None:
        """A message, or the part of one that has come so far. Raises ``Flooded``."""
        self._messages += 1
        if size > self.line:
            self.flood(f"sent a message of more than {self.line:,} bytes")
        if self._messages > self._most_messages:
            self.flood(f"sent more than {self._most_messages:,} messages for one request")

    def flood(self, fault: str) -> None:
        self.fault = fault
        raise Flooded(fault)
