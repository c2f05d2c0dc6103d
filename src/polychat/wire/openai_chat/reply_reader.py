"""The half that asks: a reply into events, whole or as it comes, whatever the dialect."""

from __future__ import annotations

from typing import Any

from ...errors import BackendError, BadReply, EmptyReply, ReplyFailed, redact
from ...events import Citation, Event, Finish, Logprobs, Start, Text, Usage
from ..faults import error_of
from ..framing import DataLines, LineTooLong
from ..json_text import Halves, decoded
from ..limits import LIMITS, Limits
from ..reading import failed, truncated, two_replies, unreadable
from ..sites.deltas import TooMany
from .choice import SHAPES, Choice
from .constants import VENDOR
from .errors import fault_of_error, is_fault
from .usage import usage_in

REASONS = {
    "function_call": "tool_calls",
    "tool_call": "tool_calls",
    "model_length": "length",  # Mistral
    "max_tokens": "length",
    "sensitive": "content_filter",  # Zhipu
    "eos": "stop",
    "end_turn": "stop",
}
"""The dialects' words for an end, in common ones."""
FAILED = ("error", "network_error", "insufficient_system_resource")
"""Ends that are none: of OpenRouter and Mistral, Zhipu, DeepSeek."""
_BLANK = b"\xef\xbb\xbf \t\r\n"
"""What may stand before a body."""

Object = dict[str, Any]


def read_reply(body: bytes, vendor: str = VENDOR, limits: Limits = LIMITS) -> list[Event]:
    """The events of a whole reply; the last is its ``Finish``. Never raises."""
    body = body.lstrip(_BLANK)
    try:
        value = decoded(body, limits.depth)
    except ValueError:
        try:
            value = Halves().decoded(body, limits.depth)
        except ValueError as error:
            return [failed(BadReply(f"the reply is not JSON that can be read ({error}): {redact(body) or 'it is empty'}"))]
    reading = _Reading(vendor, limits)
    events = reading.take(value, "message")
    return (
        events if reading.done else [*events, *reading.end(reading.verdict(whole=False, missing="its finish_reason is empty"))]
    )


class Reader:
    """A streamed reply: ``data:`` lines with a chunk each. A server that answers with one JSON all the same is understood."""

    def __init__(self, vendor: str = VENDOR, limits: Limits = LIMITS) -> None:
        self.done = False
        self._vendor, self._limits = vendor, limits
        self._lines = DataLines(limits.line)
        self._reading = _Reading(vendor, limits)
        self._halves = Halves()
        self._begun = False
        self._whole: list[bytes] | None = None
        self._size = 0

    def feed(self, data: bytes) -> list[Event]:
        if self.done:
            return []
        if not self._begun:
            data = self._begin(data)
        if self._whole is not None:
            return self._hold(data)
        try:
            payloads = self._lines.feed(data)
        except LineTooLong as error:
            return self._end([failed(BadReply(f"the reply holds {error}"))])
        return self._read(payloads) if payloads else []

    def end(self) -> list[Event]:
        if self.done:
            return []
        if self._whole is not None:
            return self._end(self._read_whole(b"".join(self._whole)))
        rest = self._lines.end()
        if any(payload[:6] != b"[DONE]" and not _is_json(payload) for payload in rest):
            return self._end(self._reading.end(truncated("the body ends within a line")))
        events = self._read(rest)
        return events if self.done else [*events, *self._finished(whole=False)]

    def _begin(self, data: bytes) -> bytes:
        """Tell a body that is no stream by its first byte."""
        first = data.lstrip(_BLANK)
        if first:
            self._begun = True
            if first[:1] in b"{[<":
                self._whole = []
        return first

    def _hold(self, data: bytes) -> list[Event]:
        assert self._whole is not None
        self._whole.append(data)
        self._size += len(data)
        if self._size > self._limits.event:
            return self._end([failed(BadReply(f"the reply has more than {self._limits.event:,} bytes"))])
        return []

    def _read_whole(self, body: bytes) -> list[Event]:
        if body[:1] != b"<" and not _is_json(body):
            return [truncated("the body ends within its JSON")]
        return read_reply(body, self._vendor, self._limits)

    def _read(self, payloads: list[bytes]) -> list[Event]:
        take, depth = self._reading.take, self._limits.depth
        events: list[Event] = []
        for payload in payloads:
            if payload[:6] == b"[DONE]":
                return [*events, *self._finished(whole=True)]
            if not payload or payload.isspace():
                continue
            try:
                chunk = decoded(payload, depth)
            except ValueError:
                try:
                    chunk = self._halves.decoded(payload, depth)
                except ValueError as error:
                    bad = BadReply(f"a chunk that cannot be read ({error}): {redact(payload)}")
                    return [*events, *self._end([failed(bad)])]
            events += take(chunk, "delta")
            if self._reading.done:
                return self._end(events)
        return events

    def _finished(self, *, whole: bool) -> list[Event]:
        return self._end(self._reading.end(self._reading.verdict(whole=whole)))

    def _end(self, events: list[Event]) -> list[Event]:
        self.done = True
        return events


def _is_json(payload: bytes) -> bool:
    """Whether it can be read at all, however deep: only then it was not cut."""
    try:
        Halves().decoded(payload, len(payload))
    except (ValueError, RecursionError):
        return False
    return True


class _Reading:
    """What was read of one reply so far, chunk by chunk: a whole reply is one chunk whose deltas are messages."""

    def __init__(self, vendor: str, limits: Limits) -> None:
        self.done = False
        self._vendor, self._limits = vendor, limits
        self._started = False
        self._is_message = False
        """It came whole."""
        self._plain: Choice | None = None
        """The first answer, where nothing waits to be told before more of its text."""
        self._usage: Usage | None = None
        self._choices: dict[int, Choice] = {}
        self._pages: Object = {}
        self._stop_sequence: str | None = None
        self._id: str | None = None
        """The reply's, by its first chunk."""

    def take(self, chunk: Any, of: str) -> list[Event]:
        """The events of one chunk; ``of`` is ``delta`` or ``message``."""
        self._is_message = of == "message"
        try:
            if type(chunk) is not dict:
                pass  # an error, as some wrap it, or nothing that is known
            elif self._plain is not None:
                if (text := _usual(chunk)) is not None:
                    self._plain.came = True
                    return [Text(text)]
                if (reason := _usual_end(chunk)) is not None:
                    self._plain.ended, self._plain.reason = True, reason
                    return []
            elif not self._started and _is_usual_start(chunk):
                self._plain = self._choice(0)
                return self._start(chunk, chunk["choices"])
            events = self._take(chunk, of)
        except TooMany as error:
            return self._fail(BadReply(str(error)))
        except SHAPES:
            return self._fail(unreadable(f"a chunk of another shape than OpenAI's: {redact(str(chunk))}", chunk))
        last = events[-1] if events else None
        self._plain = self._choices[0] if type(last) is Text and last.choice == 0 else None
        return events

    def _take(self, chunk: Any, of: str) -> list[Event]:
        if is_fault(chunk):
            return self._fail(error_of(fault_of_error(chunk)))
        if "choices" not in chunk and "usage" not in chunk and chunk.get("object") != "chat.completion.chunk":
            raise KeyError
        choices = chunk.get("choices") or []
        events = self._start(chunk, choices)
        if (usage := usage_in(chunk)) is not None:
            self._usage = usage
        for name in ("citations", "search_results"):
            if chunk.get(name):
                self._pages[name] = chunk[name]
        for said in choices:
            events += self._chosen(said, of, chunk)
            if self.done:
                break
        return events

    def _chosen(self, said: Object, of: str, chunk: Object) -> list[Event]:
        choice = self._choice(said.get("index") or 0)
        if choice.came and begins_another(chunk, self._id):
            return self._fail(two_replies())
        words = said[of] if said.get(of) is not None else said.get("message") or said.get("delta") or {}
        events = choice.said(words)
        if said.get("logprobs") and (tokens := _tokens(said["logprobs"])):
            events.append(Logprobs(tokens, choice.number))
        reason = said.get("finish_reason")
        if reason and isinstance(reason, str):  # some write "" for none
            if reason in FAILED:
                return [*events, *self._fail(_failure(said, reason))]
            choice.ended = True
            choice.reason = REASONS.get(reason, reason)
            if choice.number == 0 and isinstance(stop := said.get("stop_reason"), str) and stop:
                self._stop_sequence = stop  # vLLM's and SGLang's word for which of the ask's texts it was
        return events

    def _choice(self, number: int) -> Choice:
        choice = self._choices.get(number)
        if choice is None:
            if type(number) is not int or number < 0:
                raise TypeError
            if len(self._choices) >= self._limits.calls:
                raise TooMany(f"more than {self._limits.calls} answers in one reply")
            choice = self._choices[number] = Choice(number, self._vendor, self._limits)
        return choice

    def _start(self, chunk: Object, choices: list[Object]) -> list[Event]:
        if self._started:
            return []
        known, model = chunk.get("id"), chunk.get("model")
        if not isinstance(known, str) or not known:
            known = None
        if not isinstance(model, str) or not model:
            model = None
        self._started = bool(choices) or known is not None or model is not None  # Azure begins with a chunk that says nothing
        self._id = known
        return [] if known is None and model is None else [Start(known, model)]

    def _fail(self, error: BackendError) -> list[Event]:
        self.done = True
        return [failed(error)] if self._usage is None else [self._usage, failed(error)]

    def end(self, finish: Finish) -> list[Event]:
        """The last events: what came and was not told yet, and ``finish``."""
        self.done = True
        complete = finish.verdict == "complete"
        events = [event for choice in self._choices.values() for event in choice.rest(complete=complete)]
        events += _sources(self._pages) if self._pages else []
        return [*events, finish] if self._usage is None else [*events, self._usage, finish]

    def verdict(self, *, whole: bool, missing: str = "neither a finish_reason nor [DONE] came") -> Finish:
        """``whole``: the wire's own end was read, and not just the body's. ``missing`` says of what there is no sign else."""
        choices = self._choices.values()
        empty = all_ended = True
        for choice in choices:
            if choice.came or choice.ended:
                empty = False
            if not choice.ended:
                all_ended = False
        if not whole and not (choices and all_ended) and not (empty and self._is_message):
            return truncated(missing)
        first = self._choices.get(0)
        reason = None if first is None else first.why()
        for choice in choices:
            if (error := choice.wrong()) is not None:
                return Finish("failed", reason, error)
        if empty:
            return failed(EmptyReply("the backend sent an empty reply: no text, no tool call and no finish reason"))
        others = None
        if len(choices) > 1 or first is None:
            others = {choice.number: choice.why() for choice in choices if choice.number} or None
        return Finish("complete", reason, stop_sequence=self._stop_sequence, others=others)


_SILENT = frozenset(
    (
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "system_fingerprint",
        "service_tier",
        "obfuscation",
        "provider",
        "p",
    )
)
"""Fields of a chunk that say nothing beside ``choices``, and ``usage`` if it is empty."""


_OPENING = {"role", "content", "refusal"}
_PLAIN_ENDS = ("stop", "length", "tool_calls", "content_filter")
"""Reasons that mean here what they mean everywhere."""


def _usual(chunk: Any) -> str | None:
    """The text of the usual chunk, straight: a piece of the first answer's text and nothing else."""
    choices = chunk.get("choices")
    if not choices or len(choices) != 1 or chunk.get("usage") is not None or not _SILENT.issuperset(chunk):
        return None
    said = choices[0]
    delta = said.get("delta")
    if not delta or len(delta) != 1 or said.get("finish_reason") or said.get("logprobs") is not None or said.get("index"):
        return None
    content = delta.get("content")
    return content if type(content) is str and content else None


def begins_another(chunk: Object, known: str | None) -> bool:
    """Whether a chunk opens another reply than the one of the id ``known``: who speaks, nothing said, and another id.

    Some servers give each chunk an id of its own, but no other of their chunks looks so.
    """
    name = chunk.get("id")
    return known is not None and isinstance(name, str) and name not in ("", known) and _is_usual_start(chunk)


def _is_usual_start(chunk: Any) -> bool:
    """Whether it is the usual first chunk: who speaks, and nothing said yet."""
    choices = chunk.get("choices")
    if not choices or len(choices) != 1 or chunk.get("usage") is not None or not _SILENT.issuperset(chunk):
        return False
    said = choices[0]
    delta = said.get("delta")
    if not delta or said.get("finish_reason") or said.get("logprobs") is not None or said.get("index"):
        return False
    return delta.keys() <= _OPENING and not delta.get("content") and delta.get("refusal") is None


def _usual_end(chunk: Any) -> str | None:
    """The reason of the usual last chunk, straight: an empty delta, and why the first answer ended."""
    choices = chunk.get("choices")
    if not choices or len(choices) != 1 or chunk.get("usage") is not None or not _SILENT.issuperset(chunk):
        return None
    said = choices[0]
    reason = said.get("finish_reason")
    if (
        said.get("delta") != {}
        or said.get("stop_reason")
        or reason not in _PLAIN_ENDS
        or said.get("logprobs") is not None
        or said.get("index")
    ):
        return None
    return str(reason)


def _failure(said: Object, reason: str) -> BackendError:
    if said.get("error"):
        return error_of(fault_of_error(said))
    return ReplyFailed(f"the backend ended its answer with {redact(reason)}")


def _sources(pages: Object) -> list[Event]:
    """Perplexity's lists, which every chunk repeats: the pages with titles, else the addresses alone."""
    found = pages.get("search_results")
    listed = [page for page in found if isinstance(page, dict)] if isinstance(found, list) else []
    told = [Citation(_said(page, "title"), page["url"], _said(page, "snippet")) for page in listed if _said(page, "url")]
    if told:
        return [*told]
    urls = pages.get("citations")
    return [Citation("", url) for url in urls if isinstance(url, str)] if isinstance(urls, list) else []


def _said(page: Object, name: str) -> str:
    value = page.get(name)
    return value if isinstance(value, str) else ""


def _tokens(logprobs: Any) -> list[Object]:
    """The probabilities that are such; what else stands there is left out."""
    listed = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [dict(token) for token in listed if isinstance(token, dict)] if isinstance(listed, list) else []
