"""Bytes into lines, lines into the payloads of a stream (server-sent events, JSON lines), and their writers."""

from __future__ import annotations

import json
import re
from typing import Any

from ..values import mypyc_attr

MAX_LINE = 8 * 1024 * 1024
"""Default maximum bytes of one line. AI Engine's `end` line repeats the whole reply, escaped twice."""
EVENT_END = re.compile(rb"\n\r?\n")
"""The blank line that ends a server-sent event."""


@mypyc_attr(allow_interpreted_subclasses=True)
class FramingError(ValueError):
    """Bytes that cannot be split into payloads; the message names what the reply holds that is not allowed."""


class CutShort(FramingError):
    """A body ended within an element of its framing, which the message names."""


_PADDING = b',"obfuscation":"'


def padding_in(event: bytes, end: bytes = b'"}\n\n') -> int:
    """Where the last member of an event begins if it is padding by which OpenAI hides the length of a text; otherwise 0.

    ``end`` is what follows the padding: for a payload that was cut out of its event, a quote and a brace.
    """
    begin = event.rfind(_PADDING)
    if begin < 0 or not event.endswith(end):
        return 0
    return begin if event[begin + len(_PADDING) : -len(end)].isalnum() else 0


class LineTooLong(FramingError):
    """A line, or an event of several lines, exceeds ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"a line of more than {limit:,} bytes")
        self.limit = limit


class TooLong(LineTooLong):
    """A body that is held until it is complete exceeds ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.args = (f"more than {limit:,} bytes",)


class Lines:
    """Splits bytes into lines at LF, CRLF and CR, wherever reads are cut. A line is returned without its end."""

    __slots__ = ("_after_cr", "_held", "limit")

    def __init__(self, limit: int = MAX_LINE) -> None:
        self.limit = limit
        # Not a list of pieces: a peer that sends byte by byte would make it forty times as large.
        self._held: bytes | bytearray = b""
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes. Raises ``LineTooLong``."""
        if not data:
            return []
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]  # the second half of a CRLF that was cut between reads
        self._after_cr = data[-1:] == b"\r" if data else False
        if data.find(b"\r") >= 0:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        held = self._held
        could_be_long = len(held) + len(data) > self.limit  # else no line of these is complete, and none is examined
        lines = data.split(b"\n")
        rest = lines.pop()
        if held:
            if lines:
                lines[0] = b"".join((held, lines[0]))
                self._held = rest
            elif type(held) is bytearray:
                held += rest
            else:
                self._held = bytearray(held) + rest
        elif rest:
            self._held = rest
        if could_be_long and (len(self._held) > self.limit or any(len(line) > self.limit for line in lines)):
            raise LineTooLong(self.limit)
        return lines

    def end(self) -> list[bytes]:
        """The text after the last line end: one line, or none."""
        rest, self._held = bytes(self._held), b""
        return [rest] if rest else []


class DataLines(Lines):
    """The payload of each ``data:`` line by itself, for services that send one JSON value per line; blank lines are optional.

    The space after the colon is optional. Other fields, comments and blank lines are skipped.
    """

    __slots__ = ()

    def feed(self, data: bytes) -> list[bytes]:
        if data[-2:] == b"\n\n" and not (self._held or self._after_cr) and len(data) <= self.limit and data.find(b"\r") < 0:
            payloads = data[6:-2].split(b"\n\ndata: ")
            # If there are no other line ends, all lines but the blank ones begin so, and the buffer holds nothing else.
            if data[:6] == _DATA and b"".join(payloads).find(b"\n") < 0:
                return payloads
            if data[:6] == b"event:":
                events = data.split(b"\n" + _DATA)
                if data.count(b"\ndata:") == len(events) - 1:
                    del events[0]
                    return [event.partition(b"\n")[0] for event in events]
        return _payloads(super().feed(data))

    def end(self) -> list[bytes]:
        return _payloads(super().end())


_DATA = b"data: "


def _payloads(lines: list[bytes]) -> list[bytes]:
    payloads = []
    for line in lines:  # a slice costs half of ``startswith``, and a comprehension is a separate call
        if line[:6] == b"data: ":
            payloads.append(line[6:])
        elif line[:5] == b"data:":
            payloads.append(line[5:])
    return payloads


def data_line(payload: str | bytes | dict[str, Any]) -> bytes:
    """One ``data:`` line and the blank line after it; a dict is written as ASCII JSON without spaces, as PHP does."""
    if isinstance(payload, dict):
        payload = json.dumps(payload, separators=(",", ":"))
    return b"data: " + (payload.encode() if isinstance(payload, str) else payload) + b"\n\n"


@mypyc_attr(allow_interpreted_subclasses=True)
class Events:
    """Complete server-sent events: the name (``message`` if there is none) and the data lines joined by LF.

    An event ends at a blank line. Comments, ids and retry times are skipped.
    Source: the HTML standard, section "Server-sent events".
    """

    __slots__ = ("_data", "_lines", "_name", "_size", "limit")

    def __init__(self, line: int = MAX_LINE, event: int = MAX_LINE) -> None:
        self._lines = Lines(line)
        self.limit = event
        self._name = "message"
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events that ``data`` completes. Raises ``LineTooLong``."""
        return self._events(self._lines.feed(data))

    def end(self) -> list[tuple[str, bytes]]:
        """A last event without a blank line counts if its lines are complete: some servers omit the blank line."""
        return self._events([*self._lines.end(), b""])

    def _events(self, lines: list[bytes]) -> list[tuple[str, bytes]]:
        events = []
        for line in lines:
            if not line:
                if self._data:
                    events.append((self._name, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)))
                    self._data = []
                    self._size = 0
                self._name = "message"
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._size += len(line)
                if self._size > self.limit:
                    raise LineTooLong(self.limit)
            elif line.startswith(b"event:"):
                self._name = line[6:].strip().decode("utf-8", "replace")
        return events


class JSONLines:
    """One JSON value per line; blank lines are skipped."""

    __slots__ = ("_lines",)

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._lines = Lines(limit)

    def feed(self, data: bytes) -> list[bytes]:
        return [line for line in self._lines.feed(data) if line]

    def end(self) -> list[bytes]:
        return self._lines.end()


class WholeBody:
    """A body that is one payload, held until its end."""

    __slots__ = ("_held", "limit")

    def __init__(self, limit: int = MAX_LINE) -> None:
        self.limit = limit
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Nothing yet. Raises ``TooLong``."""
        self._held += data
        if len(self._held) > self.limit:
            raise TooLong(self.limit)
        return []

    def end(self) -> list[bytes]:
        """The body."""
        return [bytes(self._held)]


def event(name: str, payload: bytes) -> bytes:
    """One named event with one line of data."""
    return b"event: " + name.encode() + b"\ndata: " + payload + b"\n\n"
