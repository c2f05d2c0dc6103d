"""GPTalk's stream, read and written: each line repeats the whole reply so far."""

from __future__ import annotations

from ..errors import BadReply, EmptyReply, ReplyFailed, redact
from ..events import Event, Finish, Text
from ..wire.framing import DataLines, LineTooLong, data_line
from ..wire.reading import complete, failed, parsed, truncated
from ..wire.sites.deltas import Cumulative

_HEAD = 4096
"""Bytes of a body that is no stream which are kept to see what it says instead."""


def failure_in(value: object) -> str | None:
    """What a body such as ``{"code": 1, "msg": "…"}`` says went wrong; ``None`` where it is no such body."""
    match value:
        case {"content": _}:
            return None
        case {"message": str(why)} | {"msg": str(why)}:
            return redact(why) or "no reason given"
        case {"code": code}:
            return f"code {redact(str(code))}"
    return None


class StreamReader:
    """The stream's bytes into events: each ``data:`` line holds the whole reply so far, ``[DONE]`` ends."""

    def __init__(self) -> None:
        self.done = False
        self._lines = DataLines()
        self._so_far = Cumulative()
        self._head = b""

    def feed(self, data: bytes) -> list[Event]:
        if self.done:
            return []
        if len(self._head) < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
        try:
            return self._read(self._lines.feed(data))
        except LineTooLong as error:
            return self._ended([failed(BadReply(f"the stream holds {error}"))])

    def end(self) -> list[Event]:
        if self.done:
            return []
        events = self._read(self._lines.end())
        if events and isinstance(events[-1], Finish):
            return events
        failure = failure_in(parsed(self._head))
        if failure is not None:
            return self._ended([*events, failed(ReplyFailed(f"the stream failed: {failure}"))])
        return self._ended([*events, truncated("there was no [DONE]")])

    def _read(self, payloads: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for payload in payloads:
            events += self._event(payload)
            if self.done:
                break
        return events

    def _event(self, payload: bytes) -> list[Event]:
        if payload.startswith(b"[DONE]"):
            empty = not self._so_far.whole.strip()
            return self._ended([failed(EmptyReply("the stream ended without any text")) if empty else complete()])
        value = parsed(payload)
        failure = failure_in(value)
        if failure is not None:
            return self._ended([failed(ReplyFailed(f"the stream failed: {failure}"))])
        match value:
            case {"content": str(whole)}:
                return self._new(whole, payload)
        return self._ended([failed(BadReply(f"a line of the stream is not JSON with content: {redact(payload)}"))])

    def _new(self, whole: str, payload: bytes) -> list[Event]:
        try:
            new = self._so_far.take(whole)
        except ValueError as error:
            return self._ended([failed(BadReply(f"{error}: {redact(payload)}"))])
        return [Text(new)] if new else []

    def _ended(self, events: list[Event]) -> list[Event]:
        self.done = True
        return events


class StreamWriter:
    """An answer as GPTalk streams it: each line repeats the whole so far, ``[DONE]`` ends. No end is claimed that was not."""

    streams = True
    status = 200
    content_type = "text/event-stream"

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = [("Cache-Control", "no-cache")]
        self._whole = ""

    def write(self, events: list[Event]) -> bytes:
        new = "".join(event.text for event in events if isinstance(event, Text))
        self._whole += new
        line = data_line({"content": self._whole}) if new else b""
        return line + b"".join(_last(event) for event in events if isinstance(event, Finish))

    def end(self) -> bytes:
        return b""


def _last(finish: Finish) -> bytes:
    match finish.verdict:
        case "complete":
            return data_line("[DONE]")
        case "failed":
            return data_line({"code": 500, "message": str(finish.error)})
    return b""
