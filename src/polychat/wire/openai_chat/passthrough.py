"""A stream of chunks that passes through: watched, and read only where it ends."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from ...errors import BadReply, EmptyReply, ReplyFailed, redact
from ...events import Finish, Usage
from ..faults import error_of
from ..framing import MAX_LINE, Lines, LineTooLong
from ..json_text import Halves, decoded
from ..passthrough import ending_in
from ..reading import complete, failed, truncated, unreadable
from .errors import fault_of_error, is_fault
from .reply_reader import FAILED, REASONS, TWO, begins_another, read_reply
from .usage import usage_in, usage_of

_MARKS = (
    *(b'finish_reason":"', b'finish_reason": "', b"[DONE]", b'"usage":{', b'"usage": {'),
    *(b'"error"', b'"message":', b'"msg":', b'"detail":', b'"message" :', b'"msg" :', b'"detail" :'),
)
"""What stands in a chunk that is more than a piece of the answer. In a text its quotes would be escaped."""
_ENDED = (*_MARKS, b'"role"')
"""Behind an end also what opens a reply, which may be another."""
_LONGEST = max(map(len, _MARKS))
_SAID = re.compile(rb'"delta":\s?\{[^{}\n]*?"(?!role")\w+":\s?(?:"[^"]|\[\s?[^\]\s]|\{\s?[^}\s])')
"""Something of an answer: a member of a delta, other than the role, that is not empty."""
_TEXT = re.compile(rb'"(?:content|reasoning_content|reasoning|arguments|text)":\s?"((?:[^"\\\r\n]|\\.)*)"')
"""The text of a piece, in its quotes."""
_LF, _CR, _QUOTE = b'\n\r"'
_LEARNED = 3
"""How often is learned what stands around the text of one stream's pieces."""
_SERVED = re.compile(rb'"model":\s?("(?:[^"\\]|\\.){1,200}")')
_END = re.compile(rb"\n\r?\n")
_NO_CHOICES = re.compile(rb'"choices":\s?\[\s?\]')


class Chunks:
    """OpenAI's chunks: a piece of the answer is told by what does not stand in it, and passes unread; the rest is read.

    ``usage`` false: the client did not ask for the usage that the stream ends with, and does not get it.
    """

    def __init__(self, *, usage: bool) -> None:
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.served: str | None = None
        self.told = False
        self._wants_usage = usage
        self.came = self._looks = self._ended = self._is_two = False
        self._before = self._behind = b""
        """What stands around the text of the last piece that was looked through: the next differ in nothing else."""
        self._around = self._learned = 0
        self._reason: str | None = None
        self._id: str | None = None
        """The reply's, by the chunk that it ended with."""
        self._gone = bytearray()
        """The part of the chunk at hand that has passed, its last ``MAX_LINE`` bytes at most."""
        self._held = bytearray()
        """The part of the chunk at hand that has not."""

    def feed(self, data: bytes) -> bytes:
        before = self._before
        # The usual read, where looking for each mark would take several times as long as all else that is done for it.
        if before and data.startswith(before) and data.endswith(self._behind) and len(data) >= self._around and not self._gone:
            text = data[len(before) : len(data) - len(self._behind)]
            if _LF not in text and _CR not in text and (_QUOTE not in text or _is_escaped(text)):
                return data
        if self._looks:
            return self._look(data)
        gone = self._gone
        if _is_marked(bytes(gone[-_LONGEST:]) + data if gone else data):
            self._looks = True  # from here on chunk by chunk: there are few more
            self._before = b""
            return self._look(data)
        if not gone and data[-2:] == b"\n\n":  # the usual read: whole chunks
            if not self.came:
                self._begin(data)
            elif self._learned < _LEARNED:
                self._learn(data)
        elif end := _last_end(gone, data):
            if not self.came:
                self._begin(bytes(gone) + data[:end])
            self._gone = bytearray(data[end:])
        else:
            gone += data
            if len(gone) > MAX_LINE:
                del gone[:-MAX_LINE]
        return data

    def end(self) -> bytes:
        gone, held = bytes(self._gone), bytes(self._held)
        self._gone, self._held = bytearray(), bytearray()
        if self.finish is not None:
            return b""
        passes = True
        if held.strip():  # a last chunk without its blank line
            passes = self._read_last(gone + held)
        elif not self.came:
            self._begin(gone)
        if self.finish is None:
            self.finish = self._verdict(whole=False)
        return held if passes and self.finish.verdict == "complete" else b""

    def _begin(self, said: bytes) -> None:
        """Before anything of the answer came: ``said`` is what came since the last whole chunk."""
        self.came = _SAID.search(said) is not None
        if self.served is None and (model := _SERVED.search(said)) is not None:
            with suppress(ValueError):
                self.served = decoded(model[1])

    def _learn(self, chunk: bytes) -> None:
        """Remember what stands around the text of a piece that has no mark."""
        self._learned += 1
        if chunk.count(b"\n") == 2 and (text := _TEXT.search(chunk)) is not None:
            self._before, self._behind = chunk[: text.start(1)], chunk[text.end(1) :]
            self._around = len(self._before) + len(self._behind)

    def _read_last(self, chunk: bytes) -> bool:
        """As ``_read``; what was cut is no end, and an error that no blank line ends is none that a client reads."""
        last = chunk[chunk.rfind(b"\n") + 1 :]
        if last.startswith(b"data:") and last[5:].strip()[:6] != b"[DONE]" and not _is_json(last[5:]):
            self.finish = truncated("the body ends within a line")
        passes = self._read(chunk)
        self.told = False
        return passes

    def _look(self, data: bytes) -> bytes:
        """What passes of the chunks that ``data`` completes: each byte is held once, and looked at when its chunk is whole."""
        if self.finish is not None:
            return b""
        if not _last_end(self._held or self._gone, data):
            self._held += data
            if len(self._held) > MAX_LINE:
                self.finish = failed(BadReply(f"the reply holds {LineTooLong(MAX_LINE)}"))
            return b""
        return self._chunks(bytes(self._held) + data if self._held else data)

    def _chunks(self, data: bytes) -> bytes:
        """What passes of the whole chunks of ``data``; what begins another is held."""
        passed: list[bytes] = []
        begin = 0
        if not self._gone and (
            begin := _marked_chunk(data, _ENDED if self._ended else _MARKS)
        ):  # what stands before it passes unread
            passed.append(data[:begin])
            if not self.came:
                self._begin(passed[0])
        for blank in _END.finditer(data, begin):
            if self.finish is not None:
                break
            chunk, gone = data[begin : blank.end()], bytes(self._gone)
            begin = blank.end()
            self._gone.clear()
            if self._read(gone + chunk) or gone:
                passed.append(chunk)
        self._held = bytearray(data[begin:])
        return b"".join(passed)

    def _read(self, chunk: bytes) -> bool:
        """Whether it is for the client."""
        for payload in _payloads(chunk):
            if self.finish is not None:
                break
            if payload[:6] == b"[DONE]":
                self.finish = self._verdict(whole=True)
            else:
                self._take(payload)
                if self._is_two:
                    return False
        return self._wants_usage or b'"usage"' not in chunk or _NO_CHOICES.search(chunk) is None

    def _take(self, payload: bytes) -> None:
        try:
            said = _read(payload)
            if is_fault(said):
                self.finish, self.told = failed(error_of(fault_of_error(said))), True
                return
            if self.served is None and isinstance(model := said.get("model"), str):
                self.served = model or None
            if (usage := usage_in(said)) is not None:
                self.usage = usage
            if self._ended and begins_another(said, self._id):
                self.finish, self._is_two = failed(BadReply(TWO)), True
                return
            for choice in said.get("choices") or []:
                self._choice(choice)
            if self._ended and self._id is None and isinstance(name := said.get("id"), str):
                self._id = name or None
        except (ValueError, TypeError, AttributeError):
            self.finish = failed(unreadable(f"a chunk that cannot be read: {redact(payload)}", payload))
            self.told = True

    def _choice(self, choice: Any) -> None:
        delta = choice.get("delta") or choice.get("message") or {}
        self.came = self.came or any(value for name, value in delta.items() if name != "role")
        reason = choice.get("finish_reason")
        if not reason or not isinstance(reason, str):
            return
        if reason in FAILED:
            self.finish, self.told = failed(ReplyFailed(f"the backend ended its answer with {redact(reason)}")), True
            return
        self._ended = self.came = True
        if not choice.get("index"):
            self._reason = REASONS.get(reason, reason)

    def _verdict(self, *, whole: bool) -> Finish:
        if not whole and not self._ended:
            return truncated("neither a finish_reason nor [DONE] came")
        if not self.came:
            return failed(EmptyReply("the backend sent an empty reply: no text, no tool call and no finish reason"))
        return complete(self._reason)


def _marked_chunk(data: bytes, marks: tuple[bytes, ...]) -> int:
    """Where the first chunk begins that must be read: what stands before it are whole chunks. The last may be cut."""
    first = min((place for mark in marks if (place := data.find(mark)) >= 0), default=len(data))
    return _behind_blank(data, first)


def _behind_blank(data: bytes, before: int) -> int:
    """Where the chunk begins that ``before`` stands in: behind the last blank line."""
    lf, crlf = data.rfind(b"\n\n", 0, before), data.rfind(b"\n\r\n", 0, before)
    return max(lf + 2 if lf >= 0 else 0, crlf + 3 if crlf >= 0 else 0)


def _last_end(begun: bytearray, data: bytes) -> int:
    """Where in ``data`` the last chunk ends that it completes, after what of it has come; 0 where it completes none."""
    if end := _behind_blank(data, len(data)):
        return end
    # The blank line itself may be cut.
    if data[:1] == b"\n" and begun.endswith((b"\n", b"\n\r")):
        return 1
    return 2 if data[:2] == b"\r\n" and begun.endswith(b"\n") else 0


def _is_marked(data: bytes) -> bool:
    for mark in _MARKS:  # noqa: SIM110  # a regular expression of all of them, or a generator, takes several times as long
        if mark in data:
            return True
    return False


def _is_escaped(text: bytes) -> bool:
    """Whether each quote in the text is the text's own."""
    return b'"' not in text.replace(b"\\\\", b"").replace(b'\\"', b"")


_PLAIN_ENDS = frozenset({"stop", "length", "tool_calls", "content_filter"})


def ending_of(body: bytes) -> tuple[Finish, Usage | None, str | None]:
    """How a whole reply ends, what it cost, and which model answered: of the usual reply without reading its answer."""
    try:
        said = decoded(body)
        (choice,) = said["choices"]
        if choice["finish_reason"] in _PLAIN_ENDS and type(choice["message"]) is dict and said.get("error") is None:
            usage, served = said.get("usage"), said.get("model")
            finish = Finish("complete", choice["finish_reason"])
            return finish, usage_of(usage) if usage else None, served if type(served) is str else None
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return ending_in(read_reply(body))


def _payloads(chunk: bytes) -> list[bytes]:
    said = [line[5:].strip() for line in Lines(len(chunk) + 1).feed(chunk + b"\n") if line.startswith(b"data:")]
    return [payload for payload in said if payload]


def _read(payload: bytes) -> Any:
    """Raises ``ValueError``. What passes is not changed: half an emoji is the client's to read as it came."""
    try:
        return decoded(payload)
    except ValueError:
        return Halves().decoded(payload)


def _is_json(payload: bytes) -> bool:
    try:
        _read(payload)
    except ValueError:
        return False
    return True
