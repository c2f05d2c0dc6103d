"""Replies that are passed through and monitored: their finish, their usage, and the model."""

from __future__ import annotations

from typing import Protocol

from ..errors import EmptyReply, ReplyFailed
from ..events import Event, Finish, Start, Usage
from .contract import Reader
from .framing import EVENT_END
from .reading import is_two_replies, truncated
from .repeats import Repeats


class StreamMonitor(Protocol):
    """The monitor of one stream. It never raises."""

    finish: Finish | None
    """The finish, once it is known."""
    usage: Usage | None
    served: str | None
    """The model that answers, by the backend's name."""
    error_forwarded: bool
    """Whether the forwarded bytes themselves reported a failure."""
    has_content: bool
    """Whether any part of an answer was received: text, a call, reasoning."""

    def feed(self, data: bytes) -> bytes:
        """The bytes to forward now, of the data and of what was held."""

    def end(self) -> bytes:
        """The held bytes, after the backend's body ended or failed. ``finish`` is set from here on."""


class Reading:
    """Reads all forwarded data as if it were to be translated: exact on every wire.

    A second reply is not forwarded, neither after the end of the first nor before it. ``opening`` is in the event that opens a
    reply, and in no other; empty if there is none.
    """

    def __init__(self, reader: Reader, opening: bytes = b"") -> None:
        self._reader, self._repeats = reader, Repeats(reader)
        self._opening = opening
        self._id: str | None = None
        """The reply's id, if the wire has one."""
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.served: str | None = None
        self.error_forwarded = self.has_content = False

    def feed(self, data: bytes) -> bytes:
        earlier_id = self._id
        self._take(self._repeats.feed(data))
        if (finish := self.finish) is not None:
            self.error_forwarded = _is_reported(finish)
            if is_two_replies(finish):
                return data[: self._second(data)]
            if self._opening and data.count(self._opening) > (earlier_id is None):
                return data[: self._second(data, len(data))]
        return data

    def end(self) -> bytes:
        if self.finish is None:
            self._take(self._reader.end())
        return b""

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if type(event) is Usage:
                self.usage = event
            elif type(event) is Finish:
                self.finish = event
            elif type(event) is Start:
                self._id, self.served = event.id, event.model
            else:
                self.has_content = True

    def _second(self, data: bytes, otherwise: int | None = None) -> int:
        """Where in ``data`` the second reply begins: with the first event of another id, as a separate reader finds it.

        Without such an event it is ``otherwise``, by default the end of the first event: if that was cut, its first part was
        forwarded, and the rest of it is too.
        """
        ends = [*(blank.end() for blank in EVENT_END.finditer(data)), len(data)]
        for begin, end in zip([0, *ends[:-1]], ends, strict=True):
            for event in type(self._reader)().feed(data[begin:end]):
                if type(event) is Start and event.id not in (None, self._id):
                    return begin
        return ends[0] if otherwise is None else otherwise


class WholeLines(Reading):
    """As ``Reading``, for JSON lines: a line that was cut is forwarded only as the end of a complete reply.

    Clients read each line as JSON: with a part of one, they would not read the error after it.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        self._held = bytearray()
        """The current line, whose size the reader limits."""

    def feed(self, data: bytes) -> bytes:
        super().feed(data)
        whole = data.rfind(b"\n") + 1
        if not whole:
            self._held += data
            return b""
        passes = bytes(self._held) + data[:whole] if self._held else data[:whole]
        self._held = bytearray(data[whole:])
        return passes

    def end(self) -> bytes:
        super().end()
        held, self._held = bytes(self._held), bytearray()
        return held if self.finish is not None and self.finish.verdict == "complete" else b""


def _is_reported(finish: Finish) -> bool:
    """Whether the backend itself reported the failure."""
    return isinstance(finish.error, ReplyFailed) and not isinstance(finish.error, EmptyReply)


def ending_in(events: list[Event]) -> tuple[Finish, Usage | None, str | None]:
    """The finish, the usage and the model of a reply, from its events."""
    finish = usage = served = None
    for event in events:
        if type(event) is Finish:
            finish = event
        elif type(event) is Usage:
            usage = event
        elif type(event) is Start:
            served = event.model
    return truncated("its events have no end") if finish is None else finish, usage, served
