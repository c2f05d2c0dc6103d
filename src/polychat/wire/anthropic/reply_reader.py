"""The half that asks: a reply, streamed or whole, as events."""

from __future__ import annotations

from ...errors import BadReply, redact
from ...events import Event, Finish
from ..framing import DataLines, LineTooLong
from ..json_text import Halves, TooDeep, decoded
from ..limits import LIMITS, Limits
from ..reading import failed, truncated
from ..sites.deltas import TooMany
from .constants import VENDOR
from .reply_blocks import Ended, Message


class Reader:
    """A streamed reply. It is complete with ``message_stop``, or with its ``stop_reason`` where the stream stops after that.

    A ``Citation`` comes when its text is over, with its place in the answer. The blocks of tools that the backend ran
    are opaque: each comes whole, as JSON, in a ``Reasoning`` without text, and goes back as it was.
    """

    def __init__(self, vendor: str = VENDOR, limits: Limits = LIMITS) -> None:
        self.done = False
        self._lines = DataLines(limits.line)
        self._message = Message(vendor, limits)
        self._halves = Halves()
        self._depth = limits.depth

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes; cut anywhere."""
        if self.done:
            return []
        try:
            lines = self._lines.feed(data)
        except LineTooLong as error:
            return self._finished([], failed(BadReply(f"the reply holds {error}")))
        return self._read(lines)

    def end(self) -> list[Event]:
        """The body is over: the last events."""
        if self.done:
            return []
        events = self._read(self._lines.end(), last=True)
        if not (events and isinstance(events[-1], Finish)):
            told = self._message.reason is not None
            self._finished(events, self._message.completed() if told else truncated("there was no message_stop"))
        return events

    def _read(self, lines: list[bytes], last: bool = False) -> list[Event]:
        events: list[Event] = []
        take, depth = self._message.take, self._depth
        for line in lines:
            try:
                value = decoded(line, depth)
            except TooDeep as error:
                return self._finished(events, failed(BadReply(f"the reply holds {error}")))
            except ValueError:
                if last:
                    return events  # the network cut it
                if line.strip() in (b"", b"[DONE]"):  # another wire's terminator, which some servers add
                    continue
                try:
                    value = self._halves.decoded(line, depth)
                except ValueError:
                    return self._finished(events, failed(BadReply(f"not JSON in the reply: {redact(line)}")))
            try:
                take(value, events)
            except Ended as ended:
                return self._finished(events, ended.finish)
            except TooMany as error:
                return self._finished(events, failed(BadReply(str(error))))
        return events

    def _finished(self, events: list[Event], finish: Finish) -> list[Event]:
        self.done = True
        self._message.finish(events, finish)
        return events


def read_reply(body: bytes, vendor: str = VENDOR, limits: Limits = LIMITS) -> list[Event]:
    """The events of a whole reply; the last is its ``Finish``."""
    message = Message(vendor, limits)
    events: list[Event] = []
    try:
        try:
            value = decoded(body, limits.depth)
        except ValueError:
            value = Halves().decoded(body, limits.depth)
        finish = message.whole(value, events)
    except Ended as ended:
        finish = ended.finish
    except TooMany as error:
        finish = failed(BadReply(str(error)))
    except ValueError:
        finish = failed(BadReply(f"the reply is not JSON that can be read: {redact(body[:4_000])}"))
    message.finish(events, finish)
    return events


def read_count(body: bytes, limits: Limits = LIMITS) -> int:
    """How many tokens count_tokens counted. Raises ``BadReply``."""
    try:
        value = decoded(body, limits.depth)
    except ValueError:
        value = None
    match value:
        case {"input_tokens": int(tokens)} if not isinstance(tokens, bool):
            return tokens
    raise BadReply(f"no input_tokens in the reply: {redact(body[:4_000])}")
