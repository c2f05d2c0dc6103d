"""OpenAI's older completions, server side: a prompt in, its continuation out, by a chat backend.

Source: platform.openai.com/docs/api-reference/completions. The prompt is sent as a user message: chat backends have no other
way to continue a text.
"""

from __future__ import annotations

from typing import Any

from ...errors import BadInput
from ...events import Event, Finish, Logprobs, Refusal, Text, Usage
from ...types import ChatMessage, ChatRequest, TextPart
from ..assembly import AssembledMessage
from ..checks import json_object, several, text, whole
from ..contract import Writer
from ..framing import data_line
from ..json_text import encoded
from ..limits import LIMITS, ReaderLimits
from .constants import NAME
from .errors import error_object
from .reply_writer import WholeWriter, error_of_finish, reason_of
from .request_reader import read_fields, read_plain
from .usage import usage_object

Object = dict[str, Any]

_UNKNOWN = ("suffix", "best_of", "echo")
"""Fields without a counterpart in a chat."""


def read_completion_request(body: bytes, limits: ReaderLimits = LIMITS) -> ChatRequest:
    """The request. Raises ``BadInput`` naming the field."""
    request = ChatRequest("", [], wire=NAME)
    fields = read_plain(json_object(body, limits), request)
    prompt = _prompt(fields.pop("prompt", None))
    for name in _UNKNOWN:
        if fields.pop(name, None) not in (None, "", False, 1):
            raise BadInput(f"{name} is not supported, because a chat model answers: omit it", field=name)
    logprobs = fields.pop("logprobs", None)
    request.messages = [ChatMessage("user", [TextPart(prompt)])]
    request = read_fields(fields, request)
    request.logprobs = None if logprobs is None else whole(logprobs, "logprobs")
    return request


def _prompt(value: object) -> str:
    if isinstance(value, str):
        return value
    listed = several(value, "prompt")
    if len(listed) != 1:
        raise BadInput(f"prompt has {len(listed)} texts; the limit is 1: send each in its own request", field="prompt")
    if not isinstance(listed[0], str):
        raise BadInput("prompt contains tokens, but only text is supported: send text", field="prompt")
    return text(listed[0], "prompt[0]")


def completion_writer(request: ChatRequest, id: str, created: int, model: str | None = None) -> Writer:  # noqa: A002  # the wire's name
    """The writer of the answer to ``request``: chunks if it asked for a stream, otherwise one object."""
    frame: Object = {"id": f"cmpl-{id}", "object": "text_completion", "created": created}
    frame["model"] = request.model if model is None else model
    return _Pieces(frame, usage=bool(request.stream_usage)) if request.stream else _Whole(frame)


def _choice(text: str, number: int, reason: str | None, logprobs: list[Object] | None = None) -> Object:
    return {"text": text, "index": number, "logprobs": _logprobs(logprobs), "finish_reason": reason}


def _reason(reason: str | None) -> str:
    """The finish reason by this endpoint's names; the endpoint has no calls."""
    finish_reason = reason_of(reason, called=False)
    return "stop" if finish_reason == "tool_calls" else finish_reason


def _logprobs(tokens: list[Object] | None) -> Object | None:
    """Probabilities in this endpoint's own format: parallel lists."""
    if not tokens:
        return None
    offsets, place = [], 0
    for token in tokens:
        offsets.append(place)
        place += len(token["token"])
    tops = [{top["token"]: top["logprob"] for top in token.get("top_logprobs") or []} for token in tokens]
    names, chances = [token["token"] for token in tokens], [token["logprob"] for token in tokens]
    return {"tokens": names, "token_logprobs": chances, "top_logprobs": tops, "text_offset": offsets}


class _Pieces:
    streams = True
    status = 200
    content_type = "text/event-stream"

    def __init__(self, frame: Object, *, usage: bool) -> None:
        self.headers: list[tuple[str, str]] = [("cache-control", "no-cache")]
        self._frame = frame
        self._wants_usage = usage
        self._usage: Usage | None = None

    def write(self, events: list[Event]) -> bytes:
        written = []
        for event in events:
            match event:
                case Text() | Refusal():  # this endpoint has only text
                    written.append(self._piece(_choice(event.text, event.choice, None)))
                case Logprobs():
                    written.append(self._piece(_choice("", event.choice, None, event.tokens)))
                case Usage():
                    self._usage = event
                case Finish():
                    written.append(self._finish(event))
        return b"".join(written)

    def end(self) -> bytes:
        return b""

    def _piece(self, choice: Object) -> bytes:
        return data_line(encoded({**self._frame, "choices": [choice]}))

    def _finish(self, finish: Finish) -> bytes:
        if finish.verdict != "complete":
            return data_line(encoded(error_object(error_of_finish(finish))))
        reasons = {0: finish.reason, **(finish.others or {})}
        pieces = [self._piece(_choice("", number, _reason(reason))) for number, reason in reasons.items()]
        if self._wants_usage:
            pieces.append(data_line(encoded({**self._frame, "choices": [], "usage": usage_object(self._usage)})))
        return b"".join([*pieces, b"data: [DONE]\n\n"])


class _Whole(WholeWriter):
    def choice(self, number: int, message: AssembledMessage, reason: str | None) -> Object:
        return _choice(message.text_with_refusal, number, _reason(reason), message.logprobs)
