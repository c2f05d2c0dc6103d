"""The simplest reader (a line is a word), for tests of what brings bytes to a reader."""

from __future__ import annotations

from polychat.events import Event, Text
from polychat.wire.framing import Lines
from polychat.wire.reading import complete, truncated


class Words:
    """A line is a word, ``.`` is the end."""

    def __init__(self) -> None:
        self.done = False
        self._lines = Lines()

    def feed(self, data: bytes) -> list[Event]:
        return self._read(self._lines.feed(data))

    def end(self) -> list[Event]:
        return [*self._read(self._lines.end()), *([] if self.done else [truncated("there was no full stop")])]

    def _read(self, lines: list[bytes]) -> list[Event]:
        self.done = self.done or b"." in lines
        return [complete() if line == b"." else Text(line.decode()) for line in lines]
