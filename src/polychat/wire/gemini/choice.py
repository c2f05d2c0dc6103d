"""One candidate of a reply, assembled from the chunks."""

from __future__ import annotations

import re
from contextlib import suppress

from ...errors import BackendError, BadReply, FaultKind, redact
from ...events import Citation, Event, Logprobs, Media, Reasoning, Text
from ...types import Opaque
from ..faults import Fault, error_of
from ..json_text import json_of
from ..limits import ReaderLimits
from ..sites.deltas import ToolCalls, TooMany, is_finished
from .constants import FAILED, NO_REASON, REASONS, Object, carried, opaque_of
from .message_reader import base64_of
from .metadata import AnswerText, cited, grounded, logprobs_of, visited
from .partial import put

SHAPES = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""Exceptions of reading a value that does not have this wire's shape."""
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ReplyChoice:
    """One candidate. ``take`` and ``sources`` raise ``KeyError``, ``TypeError`` and the like for values of another shape."""

    __slots__ = (
        *("_block", "_calls", "_count", "_grounding", "_limits", "_message", "_pages", "_partial", "_prefix", "_sealed"),
        *("_size", "_vendor", "answer", "has_content", "index", "reason", "thinking"),
    )

    def __init__(self, index: int, vendor: str, limits: ReaderLimits, reply: object) -> None:
        self.index = index
        self.has_content = False
        """Whether any content of the answer was received."""
        self.reason: str | None = None
        """Why it ended, by this wire's name."""
        self.thinking = False
        """A reasoning block is open."""
        self.answer = AnswerText(limits.event)
        self._vendor, self._limits = vendor, limits
        self._calls = ToolCalls(limits, index)
        self._count = 0
        # Calls without ids get ids that are unique across the replies of a conversation: some vendors require that.
        is_plain = isinstance(reply, str) and _PLAIN_ID.fullmatch(reply)
        self._prefix = f"call_{reply}_{index}_" if is_plain else None
        self._block = 0
        self._message = ""
        self._partial: Object | None = None
        """A call whose arguments arrive in parts and are not complete."""
        self._sealed: Opaque | None = None
        """The signature of that call."""
        self._size = 0
        self._grounding: Object = {}
        self._pages: Object = {}

    def take(self, candidate: Object) -> list[Event]:
        """The events of one candidate of a chunk."""
        events: list[Event] = []
        for part in (candidate.get("content") or {}).get("parts") or ():
            self._part(part, events)
        if logprobs := candidate.get("logprobsResult"):
            with suppress(*SHAPES):
                events.append(Logprobs(logprobs_of(logprobs), self.index))
        if citations := candidate.get("citationMetadata"):
            with suppress(*SHAPES):
                events += cited(citations, self.answer, self.index)
        if isinstance(grounding := candidate.get("groundingMetadata"), dict):
            self._grounding = {**self._grounding, **grounding}
        if isinstance(pages := candidate.get("urlContextMetadata"), dict):
            self._pages = {**self._pages, **pages}
        reason = candidate.get("finishReason")
        if reason not in NO_REASON:
            self.reason = str(reason)
            self._message = str(candidate.get("finishMessage") or "")
        return events

    def sources(self) -> list[Citation]:
        """The pages that support the answer; they come last, and some servers repeat them."""
        citations: list[Citation] = []
        with suppress(*SHAPES):  # metadata of an unknown shape must not cost the answer
            citations += grounded(self._grounding, self.answer, self.index)
        with suppress(*SHAPES):
            urls = {source.url for source in citations}
            citations += [page for page in visited(self._pages, self.index) if page.url not in urls]
        return citations

    def error(self) -> BackendError | None:
        """The error, if this end is a failure."""
        reason = self.reason or ""
        if reason in FAILED or (reason not in REASONS and not self.has_content):
            kind: FaultKind = "invalid_request" if reason == "MISSING_THOUGHT_SIGNATURE" else "server"
            return error_of(Fault(self._message or f"the model stopped: {reason}", kind, code=reason))
        if self._partial is not None and is_finished(self.why()):
            return BadReply(f"the arguments for the tool {redact(str(self._partial.get('name')), 60)} are incomplete")
        return self._calls.end(self.why())

    def unfinished(self) -> list[Event]:
        """The arguments of an unfinished call as far as they were received: JSON that is cut."""
        call, self._partial = self._partial, None
        with suppress(*SHAPES, TooMany):  # a call that is too long, or names no tool, has failed before
            return [] if call is None else self._begun(call, json_of(call["args"])[:-1], self._sealed)
        return []

    def why(self) -> str | None:
        """The reason by its common name, otherwise the wire's own; the wire reports STOP after calls too."""
        common = REASONS.get(self.reason or "", self.reason)
        return "tool_calls" if common == "stop" and self._calls else common

    def _part(self, part: Object, events: list[Event]) -> None:
        signature = part.get("thoughtSignature")
        signature = signature if isinstance(signature, str) and signature else None
        self.has_content = True
        if "functionCall" in part:  # the reasoning that its signature may contain was sent before it
            self._call(part["functionCall"], signature and carried(signature, self._vendor)[0], events)
            return
        opaque = signature and opaque_of(signature, self._vendor)
        if "text" in part:
            self._text(part["text"], opaque, events, thought=part.get("thought") is True)
        elif "inlineData" in part:
            self._media(part, events)
        elif part.keys() - {"thoughtSignature", "thought"}:
            # Code that the backend ran, and calls of its own tools: only the vendor reads them, and requires them back.
            self._over()
            sealed = Opaque(self._vendor, json_of(part), redacted=True)
            events.append(Reasoning("", sealed, self._block, self.index))
            self._over(always=True)

    def _media(self, part: Object, events: list[Event]) -> None:
        if part.get("thought") is True:
            return
        self._over()
        with suppress(*SHAPES):
            media = part["inlineData"]
            events.append(Media(base64_of(media["data"]), _str(media["mimeType"]), self.index))

    def _text(self, text: str, opaque: Opaque | None, events: list[Event], *, thought: bool) -> None:
        if thought:
            if text or opaque is not None:
                events.append(Reasoning(_str(text), opaque, self._block, self.index))
            self.thinking = self.thinking or bool(text)
            if opaque is not None:
                self._over(always=True)
            return
        if text:
            self._over()
            events.append(Text(_str(text), self.index))
            self.answer.add(text)
        if opaque is not None:
            self._over()
            events.append(Reasoning("", opaque, self._block, self.index))
            self._over(always=True)

    def _call(self, call: Object, opaque: Opaque | None, events: list[Event]) -> None:
        self._over()
        if "partialArgs" in call or "willContinue" in call or self._partial is not None:
            self._sealed = self._sealed or opaque
            whole = self._grown(call)
            if whole is None:
                return
            call, opaque, self._sealed = whole, self._sealed, None
        arguments = call.get("args")
        if not isinstance(arguments, dict | None):
            raise TypeError("arguments that are not an object")
        events += self._begun(call, "" if arguments is None else json_of(arguments), opaque)

    def _begun(self, call: Object, arguments: str, opaque: Opaque | None) -> list[Event]:
        call_id = call.get("id") or (None if self._prefix is None else f"{self._prefix}{self._count}")
        piece = self._calls.take(
            index=self._count, call_id=call_id and _str(call_id), name=_str(call["name"]), arguments=arguments, opaque=opaque
        )
        self._count += 1
        return [] if piece is None else [piece]

    def _grown(self, piece: Object) -> Object | None:
        """The call whose arguments arrive in parts, once it is complete."""
        call = self._partial if self._partial is not None else {**piece, "args": {}}
        if any(piece.get(name) and call.get(name) and piece[name] != call[name] for name in ("name", "id")):
            raise TypeError("a call within another one")
        for part in piece.get("partialArgs") or ():
            self._size += put(call["args"], part)
            if self._size > self._limits.arguments:
                raise TooMany(f"more than {self._limits.arguments:,} characters of tool arguments in one reply")
        if piece.get("willContinue") is True:
            self._partial = call
            return None
        self._partial = None
        return call

    def _over(self, *, always: bool = False) -> None:
        """End the open reasoning block."""
        if self.thinking or always:
            self._block += 1
            self.thinking = False


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a value other than text where text is required")
    return value
