"""GPTalk's stream, read and written: each line repeats the whole reply so far."""

from __future__ import annotations

from typing import Any

from ..errors import EmptyReply, ReplyFailed, redact
from ..events import Event, Finish, Text
from ..wire.framing import DataLines, WholeBody, data_line
from ..wire.reading import complete, failed, truncated
from ..wire.sites.deltas import Cumulative
from ..wire.stream import BadShape, Framing, StreamReader


def failure_in(value: object) -> str | None:
    """The error that a body such as ``{"code": 1, "msg": "…"}`` reports; ``None`` for any other body."""
    match value:
        case {"content": _}:
            return None
        case {"message": str(why)} | {"msg": str(why)}:
            return redact(why) or "no reason given"
        case {"code": code}:
            return f"code {redact(str(code))}"
    return None


class Reader(StreamReader):
    """The stream's bytes as events: each ``data:`` line has the whole reply so far, ``[DONE]`` is the end."""

    SHAPE = "a line of the stream is not JSON with content"

    def __init__(self) -> None:
        super().__init__()
        self._so_far = Cumulative()

    def framing_for(self, body: bytes) -> Framing:
        return WholeBody() if body[:1] == b"{" else DataLines()

    def take(self, value: Any, events: list[Event]) -> None:
        if (failure := failure_in(value)) is not None:
            raise ReplyFailed(f"the stream failed: {failure}")
        match value:
            case {"content": str(whole)}:
                try:
                    text = self._so_far.take(whole)
                except ValueError as error:
                    raise BadShape(str(error)) from error
                if text:
                    events.append(Text(text))
            case _:
                raise BadShape(self.SHAPE)

    def terminated(self) -> Finish:
        is_empty = not self._so_far.whole.strip()
        return failed(EmptyReply("the stream ended without any text")) if is_empty else complete()

    def over(self, broken: str) -> Finish:
        return truncated(broken or "there was no [DONE]")


class StreamWriter:
    """An answer in GPTalk's format: each line repeats all of it so far, ``[DONE]`` is the end, and is sent only for a complete
    answer.
    """

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
