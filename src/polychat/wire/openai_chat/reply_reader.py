"""Client side: a reply as events, whole or streamed, in any dialect of the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import BackendError, EmptyReply, ReplyFailed, redact
from ...events import Citation, Event, Finish, Logprobs, Start, Text, Usage
from ..faults import error_of
from ..framing import DataLines, WholeBody
from ..limits import LIMITS, ReaderLimits
from ..reading import failed, truncated, two_replies
from ..repeats import record_nothing
from ..sites.deltas import TooMany
from ..stream import Framing, StreamReader
from .choice import ReplyChoice
from .constants import VENDOR
from .errors import fault_of_error, is_fault
from .usage import usage_in, with_reasoning
from .usual_chunks import UsualChunk, usual_chunk
from .usual_replies import usual_reply
from .usual_usage import counts_of

REASONS = {
    "function_call": "tool_calls",
    "tool_call": "tool_calls",
    "model_length": "length",  # Mistral
    "max_tokens": "length",
    "sensitive": "content_filter",  # Zhipu
    "eos": "stop",
    "end_turn": "stop",
}
"""The dialects' finish reasons, by common names."""
FAILED = ("error", "network_error", "insufficient_system_resource")
"""Finish reasons that are failures, of OpenRouter and Mistral, Zhipu, DeepSeek."""

Object = dict[str, Any]


def read_reply(body: bytes, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> list[Event]:
    """The events of a whole reply; the last is its ``Finish``. Never raises."""
    events = usual_reply(body)
    return Reader(vendor, limits).read(body) if events is None else events


class Reader(StreamReader):
    """Reads ``data:`` lines with a chunk each. One JSON object in place of a stream is accepted too.

    A whole reply is read as one chunk whose deltas are messages.
    """

    SHAPE = "a chunk that is not in OpenAI's format"

    def __init__(self, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> None:
        super().__init__(None, limits)
        self._vendor = vendor
        self._started = False
        self._is_message = False
        """Whether the reply is one whole object."""
        self._plain: ReplyChoice | None = None
        """The first answer, unless an event must come before more of its text."""
        self._usage: Usage | None = None
        self._choices: dict[int, ReplyChoice] = {}
        self._pages: Object = {}
        self._stop_sequence: str | None = None
        self._id: str | None = None
        """The reply's id, from its first chunk."""
        self.may_be_usual = True

    def framing_for(self, body: bytes) -> Framing:
        return WholeBody(self._limits.event) if body[:1] in b"{[<" else DataLines(self._limits.line)

    def text_recorder(self) -> Callable[[str], None] | None:
        """See ``RecordsText``."""
        return record_nothing if self._plain is not None else None

    def take_usual(self, payload: bytes, events: list[Event]) -> bool:
        plain = self._plain
        if plain is None and self._started:
            return False
        try:
            chunk = usual_chunk(payload)
        except ValueError:
            self.may_be_usual = False  # the following chunks usually resemble it
            return False
        if not chunk.choices:
            return self._take_counts(chunk)
        choice = chunk.choices[0]
        content, reason = choice.delta.content, choice.finish_reason
        if plain is None:
            if content or reason or chunk.usage is not None or (content is None and choice.delta.role is None):
                return False
            self._plain = self._choice(0)
            self._begin(chunk.id or None, chunk.model or None, events)
        elif content and not reason and chunk.usage is None:
            plain.has_content = True
            events.append(Text(content))
        elif content is None and choice.delta.role is None and reason in _PLAIN_ENDS:
            plain.ended, plain.reason = True, reason
            if chunk.usage is not None:
                self._usage = with_reasoning(counts_of(chunk.usage))
        else:
            return False
        return True

    def _take_counts(self, chunk: UsualChunk) -> bool:
        """Whether a chunk without choices was one with only the counts of tokens, which are kept."""
        if chunk.usage is None or not self._started:
            return False
        self._usage = with_reasoning(counts_of(chunk.usage))
        return True

    def take(self, value: Any, events: list[Event]) -> None:
        if type(value) is not dict:
            pass  # an error in another wrapping, or an unknown chunk
        elif self._plain is not None:
            choice = _only_choice(value)
            if choice is not None and (text := _usual(choice)) is not None:
                self._plain.has_content = True
                events.append(Text(text))
                return
            if choice is not None and (reason := _usual_end(choice)) is not None:
                self._plain.ended, self._plain.reason = True, reason
                return
        elif not self._started and _is_usual_start(value):
            self._plain = self._choice(0)
            self._start(value, value["choices"], events)
            return
        before = len(events)
        self._chunk(value, "delta", events)
        last = events[-1] if len(events) > before else None
        self._plain = self._choices[0] if type(last) is Text and last.choice == 0 else None

    def whole(self, value: Any, events: list[Event]) -> Finish:
        self._is_message = True
        self._chunk(value, "message", events)
        return self._verdict("its finish_reason is empty")

    def terminated(self) -> Finish:
        return self._verdict()

    def over(self, broken: str) -> Finish:
        return truncated(broken) if broken else self._verdict("neither a finish_reason nor [DONE] was received")

    def rest(self, finish: Finish) -> list[Event]:
        complete = finish.verdict == "complete"
        events: list[Event] = []
        for choice in self._choices.values():
            events += choice.rest(complete=complete)
        if self._pages:
            events += _sources(self._pages)
        if self._usage is not None:
            events.append(self._usage)
        return events

    def _chunk(self, chunk: Any, of: str, events: list[Event]) -> None:
        """Add the events of a chunk. ``of`` is ``delta`` or ``message``."""
        if is_fault(chunk):
            raise error_of(fault_of_error(chunk))
        if "choices" not in chunk and "usage" not in chunk and chunk.get("object") != "chat.completion.chunk":
            raise KeyError
        choices = chunk.get("choices") or []
        self._start(chunk, choices, events)
        if (usage := usage_in(chunk)) is not None:
            self._usage = usage
        for name in ("citations", "search_results"):
            if chunk.get(name):
                self._pages[name] = chunk[name]
        for entry in choices:
            self._chosen(entry, of, chunk, events)

    def _chosen(self, entry: Object, of: str, chunk: Object, events: list[Event]) -> None:
        """Add the events of one of a chunk's choices."""
        choice = self._choice(entry.get("index") or 0)
        if choice.has_content and begins_another(chunk, self._id):
            raise two_replies()
        events += choice.take(entry[of] if entry.get(of) is not None else entry.get("message") or entry.get("delta") or {})
        if entry.get("logprobs") and (tokens := _tokens(entry["logprobs"])):
            events.append(Logprobs(tokens, choice.number))
        reason = entry.get("finish_reason")
        if reason and isinstance(reason, str):  # some servers write "" for none
            if reason in FAILED:
                raise _failure(entry, reason)
            choice.ended = True
            choice.reason = REASONS.get(reason, reason)
            if choice.number == 0 and isinstance(stop := entry.get("stop_reason"), str) and stop:
                self._stop_sequence = stop  # vLLM's and SGLang's value for which stop sequence of the request it was

    def _choice(self, number: int) -> ReplyChoice:
        choice = self._choices.get(number)
        if choice is None:
            if type(number) is not int or number < 0:
                raise TypeError
            if len(self._choices) >= self._limits.calls:
                raise TooMany(f"more than {self._limits.calls} answers in one reply")
            choice = self._choices[number] = ReplyChoice(number, self._vendor, self._limits)
        return choice

    def _start(self, chunk: Object, choices: list[Object], events: list[Event]) -> None:
        if self._started:
            return
        reply_id, model = chunk.get("id"), chunk.get("model")
        if not isinstance(reply_id, str) or not reply_id:
            reply_id = None
        if not isinstance(model, str) or not model:
            model = None
        # Azure begins with a chunk without content.
        if choices or reply_id is not None or model is not None:
            self._begin(reply_id, model, events)

    def _begin(self, reply_id: str | None, model: str | None, events: list[Event]) -> None:
        """Start the reply with the id and the model of its first chunk, if it has them."""
        self._started = True
        self._id = reply_id
        if reply_id is not None or model is not None:
            events.append(Start(reply_id, model))

    def _verdict(self, missing: str = "") -> Finish:
        """The finish. ``missing`` names the end that was not received, unless each answer has one; empty if the wire's own end
        was.
        """
        plain = self._plain
        if plain is not None and plain.ended and len(self._choices) == 1 and plain.wrong() is None:
            return Finish("complete", plain.why(), stop_sequence=self._stop_sequence)
        choices = self._choices.values()
        empty = all_ended = True
        for choice in choices:
            if choice.has_content or choice.ended:
                empty = False
            if not choice.ended:
                all_ended = False
        if missing and not (choices and all_ended) and not (empty and self._is_message):
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
"""Fields of a chunk without content besides ``choices``, and ``usage`` if it is empty."""


_OPENING = {"role", "content", "refusal"}
_PLAIN_ENDS = ("stop", "length", "tool_calls", "content_filter")
"""Finish reasons with the same meaning on all wires."""


def _usual(choice: Any) -> str | None:
    """The text of the usual chunk's only answer, on a short path: a piece of text and nothing else."""
    delta = choice.get("delta")
    if type(delta) is not dict or len(delta) != 1 or choice.get("finish_reason"):
        return None
    content = delta.get("content")
    return content if type(content) is str and content else None


def _only_choice(chunk: Any) -> Any:
    """The first answer of a chunk that has nothing else and no probabilities; ``None`` for any other chunk."""
    if not _SILENT.issuperset(chunk) or chunk.get("usage") is not None or chunk.get("object") == "error":
        return None
    choices = chunk.get("choices")
    if not choices or len(choices) != 1:
        return None
    choice = choices[0]
    return None if choice.get("logprobs") is not None or choice.get("index") else choice


def begins_another(chunk: Object, reply_id: str | None) -> bool:
    """Whether a chunk opens a reply other than ``reply_id``: a role, no text, and another id.

    Some servers give each chunk a new id, but only their first chunk has this form.
    """
    name = chunk.get("id")
    return reply_id is not None and isinstance(name, str) and name not in ("", reply_id) and _is_usual_start(chunk)


def _is_usual_start(chunk: Any) -> bool:
    """Whether it is the usual first chunk: a role, and no text yet."""
    choice = _only_choice(chunk)
    if choice is None or choice.get("finish_reason"):
        return False
    delta = choice.get("delta")
    return bool(delta) and delta.keys() <= _OPENING and not delta.get("content") and delta.get("refusal") is None


def _usual_end(choice: Any) -> str | None:
    """The finish reason of the usual last chunk's only answer, on a short path: an empty delta, and the reason."""
    reason = choice.get("finish_reason")
    if choice.get("delta") != {} or choice.get("stop_reason") or reason not in _PLAIN_ENDS:
        return None
    return str(reason)


def _failure(reply: Object, reason: str) -> BackendError:
    if reply.get("error"):
        return error_of(fault_of_error(reply))
    return ReplyFailed(f"the backend ended the reply with {redact(reason)}")


def _sources(pages: Object) -> list[Event]:
    """Perplexity's lists, which every chunk repeats: pages with titles, otherwise only URLs."""
    results = pages.get("search_results")
    listed = [page for page in results if isinstance(page, dict)] if isinstance(results, list) else []
    citations = [
        Citation(_text_of(page, "title"), page["url"], _text_of(page, "snippet")) for page in listed if _text_of(page, "url")
    ]
    if citations:
        return [*citations]
    urls = pages.get("citations")
    return [Citation("", url) for url in urls if isinstance(url, str)] if isinstance(urls, list) else []


def _text_of(page: Object, name: str) -> str:
    value = page.get(name)
    return value if isinstance(value, str) else ""


def _tokens(logprobs: Any) -> list[Object]:
    """The valid probabilities; other entries are skipped."""
    listed = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [dict(token) for token in listed if isinstance(token, dict)] if isinstance(listed, list) else []
