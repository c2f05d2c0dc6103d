"""The half that asks: a reply into events, whole or as it comes. Chats and answers to a prompt are read alike."""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from typing import Any

from ...errors import BackendError, BadReply, EmptyReply, redact
from ...events import Event, Finish, Logprobs, Media, Reasoning, Start, Text, Usage
from ...types import Opaque
from ..faults import error_of
from ..framing import JSONLines, LineTooLong
from ..json_text import Halves, decoded, encoded
from ..limits import LIMITS, Limits
from ..reading import complete, failed, truncated, unreadable
from ..sites.deltas import ToolCalls, TooMany
from ..tags import untagged
from .constants import CALL_SIGNATURE, DURATIONS, THOUGHT_SIGNATURE, VENDOR, image_type
from .errors import fault_in

Object = dict[str, Any]


def read_reply(body: bytes, vendor: str = VENDOR, limits: Limits = LIMITS) -> list[Event]:
    """The events of a whole reply; the last is its ``Finish``. Lines where one object is due are understood. Never raises."""
    reader = Reader(vendor, limits)
    try:
        said = _decoded(body, limits.depth) if len(body) <= limits.event else None
    except ValueError:
        said = None
    if isinstance(said, dict):  # one object, perhaps laid out over several lines
        events = reader.take(said, body)
        return events if reader.done else [*events, truncated("the reply does not say that it is done")]
    events = reader.feed(body)
    return events if reader.done else [*events, *reader.end()]


class Reader:
    """A streamed reply: lines of JSON, of which the last says ``done``."""

    def __init__(self, vendor: str = VENDOR, limits: Limits = LIMITS) -> None:
        self.done = False
        self.durations: dict[str, int] = {}
        """Nanoseconds, by the wire's names, once done: ``total_duration`` and its like, which have no place in ``Usage``."""
        self._vendor, self._limits = vendor, limits
        self._lines = JSONLines(limits.line)
        self._halves = Halves()
        self._calls = ToolCalls(limits)
        self._count = 0
        self._block = 0
        self._started = False
        self._came = False
        """Something of an answer came."""

    def feed(self, data: bytes) -> list[Event]:
        if self.done:
            return []
        try:
            lines = self._lines.feed(data)
        except LineTooLong as error:
            return self._fail(BadReply(f"the reply holds {error}"))
        return self._read(lines)

    def end(self) -> list[Event]:
        if self.done:
            return []
        rest = self._lines.end()
        try:
            for line in rest:
                _decoded(line, self._limits.depth)
        except ValueError:
            return self._ended(truncated("it was cut within a line"))
        events = self._read(rest)
        return events if self.done else [*events, *self._ended(truncated("no line said that it is done"))]

    def _read(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        depth = self._limits.depth
        for line in lines:
            try:
                said = decoded(line, depth)
            except ValueError:
                if not line.strip():
                    continue
                try:
                    said = self._halves.decoded(line, depth)
                except ValueError as error:
                    return [*events, *self._fail(BadReply(f"a line that cannot be read ({error}): {redact(line)}"))]
            try:
                # The usual line, straight: a piece of text and nothing else.
                message = said["message"]
                if len(said) == 4 and len(message) == 2 and "role" in message and said["done"] is False and self._started:
                    content = message["content"]
                    if type(content) is str and content:
                        self._came = True
                        events.append(Text(content))
                        continue
            except (KeyError, TypeError):
                pass
            events += self.take(said, line)
            if self.done:
                break
        return events

    def take(self, said: Any, line: bytes) -> list[Event]:
        """The events of one line, decoded; ``line`` is what to show of it."""
        try:
            return self._take(said)
        except TooMany as error:
            return self._fail(BadReply(str(error)))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return self._fail(unreadable(f"a line of another shape than Ollama's: {redact(line)}", said))

    def _take(self, said: Object) -> list[Event]:
        if said.get("error"):
            return self._fail(error_of(fault_in(said["error"])))
        events = self._start(said)
        message = said["message"] if "message" in said else _generated(said)
        events += self._said(message or {})
        events += self._pictures(said.get("images"))
        if tokens := [dict(token) for token in _listed(said.get("logprobs")) if isinstance(token, dict)]:
            events.append(Logprobs(tokens))
        if said.get("done"):
            events += self._finish(said)
        return events

    def _start(self, said: Object) -> list[Event]:
        if self._started:
            return []
        self._started = True
        model = said.get("model")
        return [Start(None, model)] if isinstance(model, str) and model else []

    def _said(self, message: Object) -> list[Event]:
        events: list[Event] = []
        thought, signature = (_text_or_none(message.get(name)) for name in ("thinking", THOUGHT_SIGNATURE))
        if thought or signature:
            events.append(Reasoning(thought or "", self._opaque(signature), self._block))
            self._block += bool(signature)
        if content := message.get("content"):
            events.append(Text(_text(content)))
        events += self._pictures(message.get("images"))
        for call in message.get("tool_calls") or []:
            events += self._call(call)
        self._came = self._came or bool(events)
        return events

    def _pictures(self, images: Any) -> list[Event]:
        """What is no image is no reason to lose the words."""
        events: list[Event] = []
        for image in _listed(images):
            with suppress(ValueError, TypeError):
                data = b64decode(image, validate=True)
                events.append(Media(data, image_type(data)))
        self._came = self._came or bool(events)
        return events

    def _call(self, call: Object) -> list[Event]:
        """Each comes whole, many of them without an id, and in some versions all with the same index."""
        function = call["function"]
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = encoded(arguments or {}).decode()
        known = call.get("id")
        piece = self._calls.take(
            index=self._count,
            call_id=known if isinstance(known, str) else None,
            name=_text(function["name"]),
            arguments=arguments,
            opaque=self._opaque(call.get(CALL_SIGNATURE)),
        )
        self._count += 1
        return [] if piece is None else [piece]

    def _opaque(self, signature: Any) -> Opaque | None:
        return untagged(signature, self._vendor) if signature and isinstance(signature, str) else None

    def _finish(self, said: Object) -> list[Event]:
        self.durations = {name: took for name in DURATIONS if type(took := said.get(name)) is int}
        reason = said.get("done_reason")
        reason = reason if isinstance(reason, str) and reason else None
        usage = _usage(said)
        if (error := self._calls.end(reason)) is not None:
            return [*usage, *self._fail(error)]
        if not self._came and reason is None:
            return [
                *usage,
                *self._fail(EmptyReply("the backend sent an empty reply: no text, no tool call and no finish reason")),
            ]
        if self._calls and reason in ("stop", None):
            reason = "tool_calls"
        return [*usage, *self._ended(complete(reason))]

    def _fail(self, error: BackendError) -> list[Event]:
        return self._ended(failed(error))

    def _ended(self, finish: Finish) -> list[Event]:
        self.done = True
        return [finish]


def _generated(said: Object) -> Object:
    """The message that a line of ``/api/generate`` stands for. Raises ``KeyError`` for a line that is none."""
    image = said.get("image")
    if not said.get("done") and image is None and "thinking" not in said:
        said["response"]  # what has none of these is no line of a reply
    rest = {name: value for name, value in said.items() if name != "images"}
    return {**rest, "content": said.get("response"), "images": None if image is None else [image]}


def _usage(said: Object) -> list[Event]:
    asked, answered = said.get("prompt_eval_count"), said.get("eval_count")
    asked, answered = (count if type(count) is int else None for count in (asked, answered))
    if asked is None and answered is None:
        return []
    return [Usage(asked, answered, None if asked is None or answered is None else asked + answered)]


def _decoded(line: bytes, depth: int) -> Any:
    """Raises ``ValueError``."""
    try:
        return decoded(line, depth)
    except ValueError:
        return Halves().decoded(line, depth)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
