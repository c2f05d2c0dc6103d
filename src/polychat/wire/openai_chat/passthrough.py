"""A stream of chunks that is passed through and monitored: only its end is decoded."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from msgspec import Raw
from msgspec.json import Decoder

from ...errors import BadReply, EmptyReply, ReplyFailed, redact
from ...events import Finish, Usage
from ..faults import error_of
from ..framing import EVENT_END, MAX_LINE, Lines, LineTooLong, padding_in
from ..json_text import LenientJSON, check_depth, decoded
from ..passthrough import ending_in
from ..reading import complete, failed, truncated, two_replies, unreadable
from ..stream import SHAPES
from .errors import fault_of_error, is_fault
from .reply_reader import FAILED, REASONS, begins_another, read_reply
from .usage import usage_in, usage_of, with_reasoning
from .usual_bodies import UsualUsage
from .usual_chunks import usual_chunk
from .usual_ending import UsualEnding
from .usual_streams import NO_CHOICES, ROLE, SMALL
from .usual_usage import counts_of

_MARKS = (
    *(b'finish_reason":"', b'finish_reason": "', b"[DONE]", b'"usage":{', b'"usage": {'),
    *(b'"error"', b'"message":', b'"msg":', b'"detail":', b'"message" :', b'"msg" :', b'"detail" :'),
)
"""Bytes that occur in a chunk which is more than a piece of the answer. Within a text their quotes would be escaped."""
_ENDED = (*_MARKS, ROLE)
"""After an end, also the bytes that open a reply, which may be another one."""
_OPENING = re.compile(
    rb'"delta":\s?\{\s?%(member)b(?:\s?,\s?%(member)b)*\s?\}'
    % {b"member": rb'"(?:role":\s?(?:"\w*"|null)|(?:content|refusal)":\s?(?:""|null|\[\s?\]))'}
)
"""The bytes that open a reply: the role, and no text."""
_HAS_ID = re.compile(rb'"id":\s?"[^"]')
_LONGEST = max(map(len, _MARKS))
_KEPT = 16 * 1024
"""Maximum bytes of a chunk that is kept for its id."""
_PIECE = re.compile(rb'"delta":\s?\{[^{}\n]*?"(?!role")\w+":\s?(?:"[^"]|\[\s?[^\]\s]|\{\s?[^}\s])')
"""A piece of the answer: a member of a delta, other than the role, that is not empty."""
_TEXT = re.compile(rb'"(?:content|reasoning_content|reasoning|arguments|text)":\s?"((?:[^"\\\r\n]|\\.)*)"')
"""The text of a piece, in its quotes."""
_LF, _CR, _QUOTE = b'\n\r"'
_NOTHING = b"\n"
"""Before the text of a piece, and where it is, as long as none was examined: no piece begins so, or has a text there."""
_MAX_LEARNED = 3
"""How often the bytes around the text of one stream's pieces are learned."""
_SERVED = re.compile(rb'"model":\s?("(?:[^"\\]|\\.){1,200}")')


class ChunkMonitor:
    """Monitors OpenAI's chunks: chunks without certain marks are pieces of the answer and pass undecoded; the rest is decoded.

    ``usage`` false: the client did not ask for the usage at the end of the stream, and does not get it.

    ``Reading``, which decodes each text, would be exact here too, at twice the cost (``benchmarks/RESULTS.md``): passthrough
    needs no decoded text, and this class decodes none.
    """

    def __init__(self, *, usage: bool) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.served: str | None = None
        self.error_forwarded = False
        self.may_be_usual = True
        """Whether ``_take_usual`` is tried first."""
        self._wants_usage = usage
        self.has_content = self._looks = self._ended = False
        self._before, self._behind = _NOTHING, b""
        """The bytes around the text of the last piece that was examined: later pieces have the same."""
        self._text_start = self._text_end = 0
        """Where the text is between them, the end counted from the end of the piece."""
        self._times_learned = 0
        self._is_padded = False
        """Whether the text is followed by padding that differs each time."""
        self._reason: str | None = None
        self._id: str | None = None
        """The reply's id, from its first chunk that has one; read when it is needed."""
        self._first = b""
        """The payload of that chunk, until then."""
        self._forwarded = bytearray()
        """The forwarded part of the current chunk, at most its last ``MAX_LINE`` bytes."""
        self._held = bytearray()
        """The part of the current chunk that was not forwarded."""

    def feed(self, data: bytes) -> bytes:
        # The usual read: searching for each mark would take several times as long as everything else that is done for it.
        if data.startswith(self._before) and not self._forwarded:
            event = data[: padding_in(data)] if self._is_padded else data
            # Without a text, what is around it may overlap.
            if (
                event.endswith(self._behind)
                and (text := event[self._text_start : self._text_end])
                and _LF not in text
                and _CR not in text
                and (_QUOTE not in text or _is_escaped(text))
            ):
                return data
        return self._look(data) if self._looks else self._search(data)

    def _search(self, data: bytes) -> bytes:
        """``feed``, where a mark has to be looked for."""
        forwarded = self._forwarded
        if _is_marked(bytes(forwarded[-_LONGEST:]) + data if forwarded else data):
            self._looks = True  # chunk by chunk from here on: only few follow
            self._before = _NOTHING
            return self._look(data)
        end = 0
        if not forwarded and data[-2:] == b"\n\n":  # the usual read: whole chunks
            whole = data
        elif end := _last_end(forwarded, data):
            whole = bytes(forwarded) + data[:end]
        else:
            forwarded += data
            if len(forwarded) > MAX_LINE:
                del forwarded[:-MAX_LINE]
            return data
        begin = 0 if self.has_content else self._begin(whole)
        # Some servers send the role in each chunk; this saves a function call for those.
        if whole.find(ROLE, begin) >= 0 and _OPENING.search(whole, begin) and self._second(whole, begin) < len(whole):
            self._looks = True
            self._before = _NOTHING
            return self._look(data)
        if end:
            self._forwarded = bytearray(data[end:])
        elif not begin and self._times_learned < _MAX_LEARNED:
            self._learn(data)
        return data

    def end(self) -> bytes:
        forwarded, held = bytes(self._forwarded), bytes(self._held)
        self._forwarded, self._held = bytearray(), bytearray()
        if self.finish is not None:
            return b""
        passes = True
        if held.strip():  # a last chunk without its blank line
            passes = self._read_last(forwarded + held)
        elif not self.has_content:
            self._begin(forwarded)
        finish = self._finished()
        return held if passes and finish.verdict == "complete" else b""

    def _finished(self) -> Finish:
        """The end of a body that is over."""
        if self.finish is None:
            self.finish = self._verdict(whole=False)
        return self.finish

    def _begin(self, chunks: bytes) -> int:
        """The end of the answer's first piece in ``chunks``, before which there was none; their length if there is none."""
        piece = _PIECE.search(chunks)
        self.has_content = piece is not None
        if self.served is None and (model := _SERVED.search(chunks)) is not None:
            with suppress(ValueError):
                self.served = decoded(model[1])
        if self._id is None and not self._first and (named := _HAS_ID.search(chunks)) is not None:
            line = chunks[chunks.rfind(b"\n", 0, named.start()) + 1 : chunks.find(b"\n", named.end())]
            self._first = line[5:] if len(line) <= _KEPT else b""
        return len(chunks) if piece is None else piece.end()

    def _second(self, chunks: bytes, begin: int) -> int:
        """Where in whole chunks that were not decoded, from ``begin`` on, another reply begins; their length if none does."""
        while (opening := _OPENING.search(chunks, begin)) is not None:
            line = chunks.rfind(b"\n", 0, opening.start()) + 1
            begin = chunks.find(b"\n", opening.end())
            with suppress(*SHAPES):
                if begins_another(_read(chunks[line + 5 : begin]), self._reply_id()):
                    return _after_blank_line(chunks, line)
        return len(chunks)

    def _reply_id(self) -> str | None:
        """The id of the reply since its beginning."""
        if self._first:
            first, self._first = self._first, b""
            with suppress(ValueError, AttributeError):
                name = _read(first).get("id")
                self._id = name if isinstance(name, str) and name else None
        return self._id

    def _learn(self, chunk: bytes) -> None:
        """Remember the bytes around the text of a piece without marks."""
        self._times_learned += 1
        padding = padding_in(chunk)
        event = chunk[:padding] if padding else chunk
        if chunk.count(b"\n") == 2 and (text := _TEXT.search(event)) is not None:
            self._is_padded = bool(padding)
            self._before, self._behind = event[: text.start(1)], event[text.end(1) :]
            self._text_start, self._text_end = text.start(1), -len(self._behind)

    def _read_last(self, chunk: bytes) -> bool:
        """As ``_read``, for the last chunk: a cut chunk is no end, and clients do not read an error without its blank line."""
        last = chunk[chunk.rfind(b"\n") + 1 :]
        if last.startswith(b"data:") and last[5:].strip()[:6] != b"[DONE]" and not _is_json(last[5:]):
            self.finish = truncated("the body ends within a line")
        passes = self._read(chunk)
        self.error_forwarded = False
        return passes

    def _look(self, data: bytes) -> bytes:
        """The part of ``data`` to forward: each byte is held once, and examined when its chunk is complete."""
        if self.finish is not None:
            return b""
        if not _last_end(self._held or self._forwarded, data):
            self._held += data
            if len(self._held) > MAX_LINE:
                self.finish = failed(BadReply(f"the reply holds {LineTooLong(MAX_LINE)}"))
            return b""
        return self._chunks(bytes(self._held) + data if self._held else data)

    def _chunks(self, data: bytes) -> bytes:
        """The whole chunks of ``data`` that are forwarded; the beginning of another chunk is held."""
        passed: list[bytes] = []
        begin = 0
        if forwarded := bytes(self._forwarded):
            if begin := _cut_end(forwarded, data):
                self._forwarded.clear()
                self._read(forwarded + data[:begin])
                passed.append(data[:begin])
        elif len(data) <= SMALL and (events := _events_of_a_line(data)):
            return self._events(data, events)
        elif begin := _marked_chunk(data, _ENDED if self._ended else _MARKS):  # the chunks before it pass undecoded
            begin = self._second(data[:begin], 0 if self.has_content else self._begin(data[:begin]))
            passed.append(data[:begin])
        for blank in EVENT_END.finditer(data, begin):
            if self.finish is not None:
                break
            chunk, forwarded = data[begin : blank.end()], bytes(self._forwarded)
            begin = blank.end()
            self._forwarded.clear()
            if self._read(forwarded + chunk) or forwarded:
                passed.append(chunk)
        self._held = bytearray(data[begin:])
        return b"".join(passed)

    def _events(self, data: bytes, events: list[bytes]) -> bytes:
        """The part of ``data``, which consists of these events, to forward. All are decoded: for a few, searching for marks is
        slower.
        """
        self._held.clear()
        passed: list[bytes] = []
        for number, event in enumerate(events):
            if self.finish is not None:
                break
            if self._passes(event, events, number):
                passed.append(event)
        if len(passed) == len(events):
            return data
        passed.append(b"")
        return b"\n\n".join(passed)

    def _passes(self, event: bytes, events: list[bytes], number: int) -> bool:
        """Whether an event of one line is forwarded; it is preceded by ``number`` of the ``events`` of the same read."""
        payload = event[5:].strip()
        if payload[:6] == b"[DONE]":
            self.finish = self._verdict(whole=True)
        elif payload and not self._take(payload, events, number):
            return False
        return self._wants_usage or b'"usage"' not in event or NO_CHOICES.search(event) is None

    def _read(self, chunk: bytes) -> bool:
        """Whether the event is forwarded."""
        for payload in _payloads(chunk):
            if self.finish is not None:
                break
            if payload[:6] == b"[DONE]":
                self.finish = self._verdict(whole=True)
            elif not self._take(payload):
                return False
        return self._wants_usage or b'"usage"' not in chunk or NO_CHOICES.search(chunk) is None

    def _take(self, payload: bytes, events: list[bytes] | None = None, number: int = 0) -> bool:
        """Whether the event belongs to this reply.

        If it cannot be decoded, it passes when neither it, the ``number``-th of ``events``, nor one before it has a mark.
        """
        if self.may_be_usual and self._take_usual(payload):
            return True
        try:
            chunk = _read(payload)
            if is_fault(chunk):
                self.finish, self.error_forwarded = failed(error_of(fault_of_error(chunk))), True
                return True
            if self.served is None and isinstance(model := chunk.get("model"), str):
                self.served = model or None
            if (usage := usage_in(chunk)) is not None:
                self.usage = usage
            if self.has_content and ROLE in payload and begins_another(chunk, self._reply_id()):
                self.finish = failed(two_replies())
                return False
            for choice in chunk.get("choices") or []:
                self._choice(choice)
            if self._id is None and not self._first and isinstance(name := chunk.get("id"), str):
                self._id = name or None
        except SHAPES:
            marks = _ENDED if self._ended else _MARKS
            if events is not None and not any(mark in event for event in events[: number + 1] for mark in marks):
                return True
            self.finish = failed(unreadable(f"a chunk that cannot be read: {redact(payload)}", payload))
            self.error_forwarded = True
        return True

    def _take_usual(self, payload: bytes) -> bool:
        """``_take`` for an event in one of the most common forms, which is not examined member by member; else ``False``."""
        try:
            chunk = usual_chunk(payload)
        except ValueError:
            self.may_be_usual = False  # the following events usually resemble it
            return False
        if self.has_content and ROLE in payload:
            return False
        if chunk.choices:
            choice = chunk.choices[0]
            if reason := choice.finish_reason:
                if reason in FAILED:
                    return False
                self._ended = self.has_content = True
                self._reason = REASONS.get(reason, reason)
            elif choice.delta.content:
                self.has_content = True
        if self.served is None:
            self.served = chunk.model or None
        if chunk.usage is not None:
            self.usage = with_reasoning(counts_of(chunk.usage))
        if self._id is None and not self._first:
            self._id = chunk.id or None
        return True

    def _choice(self, choice: Any) -> None:
        delta = choice.get("delta") or choice.get("message") or {}
        self.has_content = self.has_content or any(value for name, value in delta.items() if name != "role")
        reason = choice.get("finish_reason")
        if not reason or not isinstance(reason, str):
            return
        if reason in FAILED:
            self.finish, self.error_forwarded = failed(ReplyFailed(f"the backend ended the reply with {redact(reason)}")), True
            return
        self._ended = self.has_content = True
        if not choice.get("index"):
            self._reason = REASONS.get(reason, reason)

    def _verdict(self, *, whole: bool) -> Finish:
        if not whole and not self._ended:
            return truncated("neither a finish_reason nor [DONE] was received")
        if not self.has_content:
            return failed(EmptyReply("the backend sent an empty reply: no text, no tool call and no finish reason"))
        return complete(self._reason)


def _events_of_a_line(data: bytes) -> list[bytes]:
    """The events of ``data``, each without its blank line, if each is one line of data; otherwise empty."""
    if data[:5] != b"data:" or data[-2:] != b"\n\n" or data.find(b"\r") >= 0:
        return []
    events = data.split(b"\n\n")
    events.pop()
    size = len(events)
    return events if data.count(_LF) == size + size and data.count(b"\n\ndata:") == size - 1 else []


def _marked_chunk(data: bytes, marks: tuple[bytes, ...]) -> int:
    """Where the first chunk begins that must be decoded: whole chunks precede it. The last may be cut."""
    first = len(data)
    for mark in marks:
        place = data.find(mark, 0, first)
        if place >= 0:
            first = place
    return _after_blank_line(data, first)


def _after_blank_line(data: bytes, before: int) -> int:
    """Where the chunk begins that contains ``before``: after the last blank line."""
    lf, crlf = data.rfind(b"\n\n", 0, before), data.rfind(b"\n\r\n", 0, before)
    return max(lf + 2 if lf >= 0 else 0, crlf + 3 if crlf >= 0 else 0)


def _last_end(begun: bytearray, data: bytes) -> int:
    """The end of the last chunk that ``data`` completes, after the part of it that came before; 0 if it completes none."""
    if end := _after_blank_line(data, len(data)):
        return end
    return _cut_end(begun, data)


def _cut_end(begun: bytes | bytearray, data: bytes) -> int:
    """Where in ``data`` the chunk ends that ``begun`` begins, if the blank line itself was cut; otherwise 0."""
    if data[:1] == b"\n" and begun.endswith((b"\n", b"\n\r")):
        return 1
    return 2 if data[:2] == b"\r\n" and begun.endswith(b"\n") else 0


def _is_marked(data: bytes) -> bool:
    for mark in _MARKS:  # noqa: SIM110  # a regular expression of all of them, or a generator, takes several times as long
        if mark in data:
            return True
    return False


def _is_escaped(text: bytes) -> bool:
    """Whether each quote in the text is escaped."""
    return b'"' not in text.replace(b"\\\\", b"").replace(b'\\"', b"")


_PLAIN_ENDS = frozenset({"stop", "length", "tool_calls", "content_filter"})


_ending = Decoder(UsualEnding)
_counts = Decoder(UsualUsage | None)


def ending_of(body: bytes) -> tuple[Finish, Usage | None, str | None]:
    """The finish, the usage and the model of a whole reply; of the usual reply without decoding its answer.

    What the answer is made of is not looked at: a ``content`` that is a number has reached a client that reads this wire, as
    the vendor sent it, and the reply did end. Where it is translated, the reader refuses it, because it has no words for it.
    """
    try:
        check_depth(body)
        if not body.isascii():
            body.decode()  # members that are not kept are not decoded
        reply = _ending.decode(body)
        reason, served = reply.choices[0].finish_reason, reply.model
        if reason in _PLAIN_ENDS and reply.error is None and reply.object != "error":
            usage = _usage_in(reply.usage)
            if usage is not None:  # else some servers have it elsewhere
                return Finish("complete", reason), usage, served if served and type(served) is str else None
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    return ending_in(read_reply(body))


def _usage_in(member: Raw) -> Usage | None:
    """The counts of a whole reply, from its member ``usage``; most are of OpenAI's own form."""
    try:
        counts = _counts.decode(member)
    except ValueError:
        read = decoded(bytes(member))
        return usage_of(read) if read else None
    if counts is None:
        return None
    usage = counts_of(counts)
    return with_reasoning(usage) if usage.reasoning_tokens else usage


def _payloads(chunk: bytes) -> list[bytes]:
    payloads = [line[5:].strip() for line in Lines(len(chunk) + 1).feed(chunk + b"\n") if line.startswith(b"data:")]
    return [payload for payload in payloads if payload]


def _read(payload: bytes) -> Any:
    """Raises ``ValueError``. The bytes are forwarded unchanged: half an emoji is left to the client."""
    try:
        return decoded(payload)
    except ValueError:
        return LenientJSON().decoded(payload)


def _is_json(payload: bytes) -> bool:
    try:
        _read(payload)
    except ValueError:
        return False
    return True
