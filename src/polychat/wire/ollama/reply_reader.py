"""Client side: a reply as events, whole or streamed. Replies of chat and generate are read the same way."""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from typing import Any

from ...errors import EmptyReply
from ...events import Event, Finish, Logprobs, Media, Reasoning, Start, Text, Usage
from ...types import Opaque
from ..faults import error_of
from ..framing import JSONLines
from ..json_text import LenientJSON, json_of
from ..limits import LIMITS, ReaderLimits
from ..reading import complete, failed, truncated
from ..sites.deltas import ToolCalls
from ..stream import Ended, StreamReader
from ..tags import untagged
from ..token_counts import token_count
from .constants import CALL_SIGNATURE, DURATIONS, REASONING_SIGNATURE, VENDOR, image_type
from .errors import fault_in

Object = dict[str, Any]


def read_reply(body: bytes, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> list[Event]:
    """The events of a whole reply; the last is its ``Finish``. Several lines instead of one are accepted. Never raises."""
    reader = Reader(vendor, limits)
    if len(body) <= limits.event and b"\n" in body.strip() and _is_object(body, limits.depth):
        return reader.read(body)  # one object, formatted over several lines
    events = reader.feed(body)
    return events if reader.done else [*events, *reader.end()]


class Reader(StreamReader):
    """A streamed reply: lines of JSON; the last has ``done``."""

    SHAPE = "a line that is not in Ollama's format"

    def __init__(self, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> None:
        super().__init__(JSONLines(limits.line), limits)
        self.durations: dict[str, int] = {}
        """Nanoseconds by the wire's names, after the last line: ``total_duration`` and so on, which ``Usage`` does not have."""
        self._vendor = vendor
        self._calls = ToolCalls(limits)
        self._count = 0
        self._block = 0
        self._started = False
        self._has_content = False
        """Whether any content of the answer was received."""

    def take(self, value: Any, events: list[Event]) -> None:
        try:
            # The usual line, on a short path: a piece of text and nothing else.
            message = value["message"]
            if len(value) == 4 and len(message) == 2 and "role" in message and value["done"] is False and self._started:
                content = message["content"]
                if type(content) is str and content:
                    self._has_content = True
                    events.append(Text(content))
                    return
        except (KeyError, TypeError):
            pass
        if value.get("error"):
            raise error_of(fault_in(value["error"]))
        events += self._start(value)
        events += self._message_events((value["message"] if "message" in value else _generated(value)) or {})
        events += self._pictures(value.get("images"))
        if tokens := [dict(token) for token in _listed(value.get("logprobs")) if isinstance(token, dict)]:
            events.append(Logprobs(tokens))
        if value.get("done"):
            events += _usage(value)
            raise Ended(self._finish(value))

    def whole(self, value: Any, events: list[Event]) -> Finish:
        self.take(value, events)
        return truncated("the reply has no done")

    def over(self, broken: str) -> Finish:
        return truncated(broken or "no line has done")

    def _start(self, line: Object) -> list[Event]:
        if self._started:
            return []
        self._started = True
        model = line.get("model")
        return [Start(None, model)] if isinstance(model, str) and model else []

    def _message_events(self, message: Object) -> list[Event]:
        events: list[Event] = []
        thought, signature = (_text_or_none(message.get(name)) for name in ("thinking", REASONING_SIGNATURE))
        if thought or signature:
            events.append(Reasoning(thought or "", self._opaque(signature), self._block))
            self._block += bool(signature)
        if content := message.get("content"):
            events.append(Text(_text(content)))
        events += self._pictures(message.get("images"))
        for call in message.get("tool_calls") or []:
            events += self._call(call)
        self._has_content = self._has_content or bool(events)
        return events

    def _pictures(self, images: Any) -> list[Event]:
        """An image that cannot be read must not cost the text."""
        events: list[Event] = []
        for image in _listed(images):
            with suppress(ValueError, TypeError):
                data = b64decode(image, validate=True)
                events.append(Media(data, image_type(data)))
        self._has_content = self._has_content or bool(events)
        return events

    def _call(self, call: Object) -> list[Event]:
        """A complete call; many have no id, and in some versions all have the same index."""
        function = call["function"]
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = json_of(arguments or {})
        call_id = call.get("id")
        piece = self._calls.take(
            index=self._count,
            call_id=call_id if isinstance(call_id, str) else None,
            name=_text(function["name"]),
            arguments=arguments,
            opaque=self._opaque(call.get(CALL_SIGNATURE)),
        )
        self._count += 1
        return [] if piece is None else [piece]

    def _opaque(self, signature: Any) -> Opaque | None:
        return untagged(signature, self._vendor) if signature and isinstance(signature, str) else None

    def _finish(self, line: Object) -> Finish:
        """The finish that the last line reports."""
        self.durations = {name: took for name in DURATIONS if type(took := line.get(name)) is int}
        reason = line.get("done_reason")
        reason = reason if isinstance(reason, str) and reason else None
        if (error := self._calls.end(reason)) is not None:
            return failed(error)
        if not self._has_content and reason is None:
            return failed(EmptyReply("the backend sent an empty reply: no text, no tool call and no finish reason"))
        return complete("tool_calls" if self._calls and reason in ("stop", None) else reason)


def _generated(line: Object) -> Object:
    """The message in a line of ``/api/generate``. Raises ``KeyError`` for a line without one."""
    image = line.get("image")
    if not line.get("done") and image is None and "thinking" not in line:
        line["response"]  # a line with none of these does not belong to a reply
    rest = {name: value for name, value in line.items() if name != "images"}
    return {**rest, "content": line.get("response"), "images": None if image is None else [image]}


def _usage(line: Object) -> list[Event]:
    prompt, completion = line.get("prompt_eval_count"), line.get("eval_count")
    prompt, completion = map(token_count, (prompt, completion))
    if prompt is None and completion is None:
        return []
    return [Usage(prompt, completion, None if prompt is None or completion is None else prompt + completion)]


def _is_object(body: bytes, depth: int) -> bool:
    try:
        return isinstance(LenientJSON().decoded(body, depth), dict)
    except ValueError:
        return False


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
