"""The log on standard error: a line for each request, and events of the gateway itself.

Lines are buffered and handed in batches to a thread that only writes: a consumer that does not read blocks that thread
and nothing else. Lines that do not fit are dropped and counted, and the count is logged.
"""

from __future__ import annotations

import os
import re
import select
import stat
import sys
from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from queue import SimpleQueue
from random import random as _random
from threading import Thread
from time import gmtime, monotonic, strftime, time
from typing import Any, TypeAlias

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Encoder
from msgspec.structs import replace

from ...choices import LogForm
from ...errors import redact
from .record import KindIdentity, Record, RecordKind, RequestFacts, UsualRequest, facts_of, has_passed_over, passed_over
from .request_lines import LineForm, line_of
from .usual_requests import Pending, nothing_pending

Write: TypeAlias = Callable[[bytes], object]
"""Takes whole lines; runs in a thread of its own, may block, and may raise ``OSError``."""

_SECONDS = 0.2
"""Seconds that a line is buffered at most while the writer is free."""
_BATCH = 64 * 1024
_MOST = 1024 * 1024
"""Bytes that are buffered at most while the writer is busy."""
_NAME, _ERROR, _TEXT = 120, 400, 4000
"""Maximum characters of a foreign name, of an error, and of a request's or response's text."""
_LINES = 100
"""Lines of a fact that has several, such as a traceback: the last ones."""


class Log:
    """Takes every request's ``Record``; ``sample`` is the share of successful requests that get a line, failed ones always do.

    Failed is a status of 500 and above, and any verdict but ``complete``. With ``form`` ``off`` only events are written.
    """

    def __init__(
        self,
        form: LogForm,
        sample: float,
        write: Write | None = None,
        *,
        random: Callable[[], float] = _random,
        clock: Callable[[], float] = time,
        coloured: bool = False,
    ) -> None:
        most = _MOST
        if write is None:
            write, most, coloured = _standard_error()
        self._paint = _COLOURED if coloured else _PLAIN
        self._dim = self._paint[0]
        self._random, self._clock = random, clock
        self._writer_thread = _WriterThread(write, most, lambda lines: self._event_line("log lines dropped", {"lines": lines}))
        self._held = bytearray()
        self._kept: list[tuple[float, RequestFacts]] = []
        """Requests with records that ended, and when: lines of one kind are made together, which takes half the time."""
        self.pending: Pending = nothing_pending
        """See ``UsualRequests``."""
        self._dropped = 0
        self._timer: TimerHandle | None = None
        self._stamp = (0, "")
        """A moment in milliseconds, and how it is written."""
        self._statuses: dict[tuple[int, str | None], str] = {}
        """By status and verdict: the column of the line for people."""
        self._forms: dict[KindIdentity | None, LineForm] = {}
        """What ``_form_of`` gives for each kind."""
        self._lines: dict[KindIdentity | None, _Line] = {}
        """What ``_line_of`` gives for each kind."""
        self._form, self._sample = form, sample

    def change(self, form: LogForm, sample: float) -> None:
        """Use these settings from now on."""
        self._write_records()
        self._form, self._sample = form, sample

    def __call__(self, record: Record) -> None:
        if self._form == "off":
            return
        verdict = record.verdict
        if (
            self._sample < 1.0
            and record.status < 500
            and (verdict is None or verdict == "complete")
            and self._random() >= self._sample
        ):
            return
        self.pending()
        self._kept.append((self._clock(), facts := facts_of(record)))
        if facts[0].identity is None or len(self._kept) >= _RECORDS:
            self._write_kept()
        if self._timer is None:
            self._later()

    def expect(self) -> None:
        """Lines of usual requests will come."""
        if self._timer is None and self._form != "off":
            self._later()

    def take(self, requests: Sequence[UsualRequest]) -> None:
        """Put the lines of usual requests into the buffer."""
        if self._form == "off":
            return
        self._write_kept()
        if self._sample < 1.0:
            requests = [request for request in requests if self._random() < self._sample]
        ahead = self._clock() - monotonic()
        self._write_lines([(ahead + request[5], request) for request in requests])  # the clock was not read for each
        if self._timer is None:
            self._later()

    def event(self, message: str, **facts: Any) -> None:
        """Write an event of the gateway itself, at once. A fact may be text of several lines."""
        self._write_records()
        if len(self._held) < _MOST:
            self._held += self._event_line(message, facts)
        else:
            self._dropped += 1
        self.flush()

    def flush(self) -> None:
        """Hand the buffer to the writer; if that is busy, try again later."""
        self._write_records()
        self._hand_over()

    def close(self, seconds: float = 1.0) -> None:
        """Write the rest, and wait at most ``seconds`` for that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write_records()
        self._writer_thread.close(bytes(self._held), self._dropped, seconds)
        self._held.clear()

    def _write_records(self) -> None:
        """Put the lines of requests that ended into the buffer."""
        self.pending()
        self._write_kept()

    def _write_kept(self) -> None:
        """Put the lines of those of which there are records into the buffer."""
        kept, self._kept = self._kept, []
        self._write_lines(kept)

    def _write_lines(self, requests: Iterable[tuple[float, RequestFacts]]) -> None:
        """Put the lines of requests into the buffer, each with the moment when it was over."""
        held, is_json = self._held, self._form == "json"
        for moment, request in requests:
            if len(held) >= _BATCH and not self._has_room():
                continue
            known, stamp = self._stamp
            if int(moment * 1000) != known:
                stamp = self._time(moment)
            if is_json:
                _encoder.encode_into(self._line(request, stamp), held, -1)
                held += b"\n"
            else:
                form = self._forms.get(request[0].identity) or self._form_of(request[0])
                held += line_of(request, form, stamp, self._dim).encode()

    def _hand_over(self) -> None:
        """Give the buffer to the writer, or try again later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writer_thread.free:
            self._writer_thread.take(bytes(self._held), self._dropped)
            self._held.clear()
        else:
            self._later()

    def _has_room(self) -> bool:
        """Whether one more line may be buffered."""
        if self._writer_thread.free:
            self._hand_over()
        elif len(self._held) >= _MOST:
            self._dropped += 1
            return False
        return True

    def _later(self) -> None:
        try:
            self._timer = get_running_loop().call_later(_SECONDS, self.flush)
        except RuntimeError:  # no loop: the next event or the end writes it
            self._timer = None

    def _time(self, moment: float) -> str:
        """A moment in RFC 3339 format."""
        now = int(moment * 1000)
        known, stamp = self._stamp
        if now != known:
            stamp = f"{_second(now // 1000)}.{now % 1000:03}Z"
            self._stamp = (now, stamp)  # in one step: the writer thread uses it too
        return stamp

    def _form_of(self, kind: RecordKind) -> LineForm:
        """What the lines for people of a kind have in common."""
        record, (dim, plain, *_) = kind.common, self._paint
        known, notes = (record.status, record.verdict), _extra_facts(record)
        columns = _columns[record.method, record.path, record.model, record.provider, record.served]
        key, end = f"{_fit[record.key] or '-'}  {dim}", f"{plain}\n"
        if record.text is not None:
            request_text, response_text = record.text
            end += f"    | request: {redact(request_text, _TEXT)}\n    | response: {redact(response_text, _TEXT)}\n"
        status = self._statuses.get(known) or self._status(known)
        form = status, columns, bool(notes), f"{notes[:-2]}  {key}" if notes else key, record.stream, end
        if kind.identity is not None:
            if len(self._forms) >= _KINDS:
                self._forms.clear()
            self._forms[kind.identity] = form
        return form

    def _line(self, request: RequestFacts, stamp: str) -> _Line:
        """The line of a request as JSON."""
        kind, request_id, start, _, first, over, usage, cost = request
        return replace(
            self._lines.get(kind.identity) or self._line_of(kind),
            time=stamp,
            request_id=_sane(request_id),
            duration_ms=int((over - start) * 1e5) / 100,
            time_to_first_token_ms=UNSET if first is None else int((first - start) * 1e5) / 100,
            prompt_tokens=None if usage is None else usage.prompt_tokens,
            completion_tokens=None if usage is None else usage.completion_tokens,
            cached_tokens=None if usage is None else usage.cached_tokens,
            cost_usd=cost,
        )

    def _line_of(self, kind: RecordKind) -> _Line:
        """What the lines as JSON of a kind have in common."""
        line = _common_line(kind.common)
        if kind.identity is not None:
            if len(self._lines) >= _KINDS:
                self._lines.clear()
            self._lines[kind.identity] = line
        return line

    def _status(self, known: tuple[int, str | None]) -> str:
        """A status in the colour of what became of the request."""
        _, plain, good, bad, awful = self._paint
        status, verdict = known
        colour = awful if status >= 500 or verdict not in (None, "complete") else good if status < 400 else bad
        column = self._statuses[known] = f"{plain}  {colour}{status or '---'}{plain} "
        return column

    def _event_line(self, message: str, facts: dict[str, Any]) -> bytes:
        """An event as bytes, in the present form; the human one where that is ``off``."""
        values = {name: _fact(value) for name, value in facts.items()}
        now = self._time(self._clock())
        if self._form == "json":
            return _encoder.encode({"time": now, "event": message, **values}) + b"\n"
        dim, plain, *_ = self._paint
        line, below = f"{dim}{now}{plain}  {redact(message)}", ""
        for name, value in values.items():
            if isinstance(value, str) and "\n" in value:
                below += "".join(f"    | {part}\n" for part in value.split("\n"))
            elif value not in ("", None):
                line += f"  {name}={value}"
        return f"{line}\n{below}".encode()


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))


_KINDS = 1000
_RECORDS = 64
_PLAIN = ("",) * 5
_COLOURED = ("\x1b[2m", "\x1b[0m", "\x1b[32m", "\x1b[33m", "\x1b[31m")
"""Dim, reset, success, client error, failure."""


class _Line(Struct, omit_defaults=True, gc=False):
    """A request as JSON. Fields with their default value are omitted."""

    time: str
    request_id: str
    dialect: str
    method: str
    path: str
    status: int
    duration_ms: float
    time_to_first_token_ms: float | UnsetType
    stream: bool
    passthrough: bool
    key: str = ""
    model: str = ""
    route: str = ""
    target: str = ""
    attempts: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    fields_dropped: int = 0
    verdict: str | None = None
    finish_reason: str = ""
    error: str = ""
    failed_attempts: list[str] | UnsetType = UNSET
    continued: list[str] | UnsetType = UNSET
    passed_over: list[str] | UnsetType = UNSET
    trace_id: str = ""
    request_text: str | UnsetType = UNSET
    response_text: str | UnsetType = UNSET


_encoder = Encoder()
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-")


def _common_line(record: Record) -> _Line:
    """The line of a request, without its own facts, which others of its kind do not share."""
    provider = record.provider
    line = _Line(
        time="",
        request_id="",
        dialect=record.dialect,
        method=record.method,
        path=_fit[record.path],
        status=record.status,
        duration_ms=0.0,
        time_to_first_token_ms=UNSET,
        stream=record.stream,
        passthrough=record.passthrough,
        key=_fit[record.key],
        model=_fit[record.model],
        route=_fit[record.route],
        target=_fit[f"{provider}/{record.served}"] if provider else "",
        attempts=record.attempts,
        fields_dropped=record.fields_dropped,
        verdict=record.verdict,
        finish_reason=_fit[record.reason or ""],
    )
    if record.error:
        line.error = redact(record.error, _ERROR)
    if record.failures:
        line.failed_attempts = _failures(record)
    if record.seams:
        line.continued = _listed(record.seams)
    if passed := passed_over(record):
        line.passed_over = _listed(f"{name}: {reason}" for name, reason in passed.items())
    if record.traceparent and (trace := _TRACE.match(record.traceparent)) is not None:
        line.trace_id = trace[1]
    if record.text is not None:
        line.request_text, line.response_text = (redact(text, _TEXT) for text in record.text)
    return line


_LISTED = 8
"""Failed attempts, and targets that were passed over, that are listed, at most."""


def _failures(record: Record) -> list[str]:
    """Each attempt that failed, by its target's name."""
    return _listed(f"{failure.target}: {failure.outcome}: {failure.reason}" for failure in record.failures)


def _listed(lines: Iterable[str]) -> list[str]:
    return [redact(line, _ERROR) for line in islice(lines, _LISTED)]


def _extra_facts(record: Record) -> str:
    """Further facts of a request, for people."""
    notes = ""
    if record.attempts > 1:
        notes += f"{record.attempts} attempts, "
    if record.fields_dropped:
        notes += f"{record.fields_dropped} field{'s' if record.fields_dropped > 1 else ''} dropped, "
    if record.passthrough:
        notes += "passthrough, "
    if record.reason is not None and record.reason != "stop":
        notes += f"{_fit[record.reason]}, "
    if record.verdict is not None and record.verdict != "complete":
        notes += f"{record.verdict}, "
    if record.error:
        notes += f"{redact(record.error, _ERROR)}, "
    elif record.failures:  # another target answered: the log names those that did not
        seams = f"continued {'; '.join(_listed(record.seams))}, " if record.seams else ""
        notes += f"{seams}after {'; '.join(_failures(record))}, "
    if has_passed_over(record) and (passed := passed_over(record)):
        untold = [f"{name}: {reason}" for name, reason in passed.items() if name not in record.error]
        notes += f"passed over {'; '.join(_listed(untold))}, " if untold else ""
    return notes


class _NameCache(dict[str, str]):
    """Foreign names, shortened and redacted for the log. Recent ones are cached: redacting one costs microseconds."""

    def __missing__(self, name: str) -> str:
        fit = redact(name, _NAME)
        if len(name) <= 2 * _NAME:
            if len(self) >= 1000:
                self.clear()
            self[name] = fit
        return fit


class _RequestColumns(dict[tuple[str, str, str, str, str], str]):
    """Method, path, model and target in two columns for people; cached as names are."""

    def __missing__(self, names: tuple[str, str, str, str, str]) -> str:
        method, path, model, provider, served = (_fit[name] for name in names)
        who = f"{model} → {provider}/{served}" if provider else model
        columns = f"{f'{method} {path}':<27}  {who:<30}  "
        if sum(map(len, names)) <= 4 * _NAME:
            if len(self) >= 1000:
                self.clear()
            self[names] = columns
        return columns


_fit, _columns = _NameCache(), _RequestColumns()


def _sane(request_id: str) -> str:
    return request_id if request_id.isprintable() else redact(request_id)


def _fact(value: object) -> object:
    if isinstance(value, str):
        return "\n".join(_indented(line) for line in value.strip().split("\n")[-_LINES:])
    return value if value is None or isinstance(value, (bool, int, float)) else redact(str(value))


def _indented(line: str) -> str:
    """A line, redacted, with its indentation: tracebacks need it."""
    return " " * min(len(line) - len(line.lstrip(" ")), 40) + redact(line, _ERROR)


class _WriterThread:
    """Writes batches in its own thread, one at a time. ``notice`` makes the line that reports lost lines."""

    def __init__(self, write: Write, most: int, notice: Callable[[int], bytes]) -> None:
        self.free = True
        """Whether the last batch is written, or has failed."""
        self._write, self._most, self._notice = write, most, notice
        self._batches: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._failed = self._reported = 0

    def take(self, batch: bytes, dropped: int) -> None:
        """Write whole lines. ``dropped`` counts all lines so far that there was no room for."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="polychat-log", daemon=True)
            self._thread.start()
        self.free = False
        self._batches.put((batch, dropped))

    def close(self, batch: bytes, dropped: int, seconds: float) -> None:
        if self._thread is not None or batch:
            self.take(batch, dropped)
            self._batches.put(None)
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.join(seconds)

    def _run(self) -> None:
        while (taken := self._batches.get()) is not None:
            batch, dropped = taken
            lost = self._failed + dropped
            if lost > self._reported and self._went(self._notice(lost - self._reported)):
                self._reported = lost
            for piece in _pieces(batch, self._most):
                if not self._went(piece):
                    self._failed += piece.count(b"\n")
            self.free = True

    def _went(self, piece: bytes) -> bool:
        try:
            self._write(piece)
        except OSError:  # the consumer is gone, or the disk is full: there is nowhere to report it
            return False
        return True


def _pieces(lines: bytes, most: int) -> Iterator[bytes]:
    """Cut after lines, each piece at most ``most`` bytes where no line is longer."""
    start = 0
    while len(lines) - start > most:
        end = lines.rfind(b"\n", start, start + most) + 1 or lines.find(b"\n", start) + 1
        yield lines[start:end]
        start = end
    if start < len(lines):
        yield lines[start:]


def _standard_error() -> tuple[Write, int, bool]:
    """How to write to standard error, how much at a time, and whether in colours."""
    stream = sys.stderr
    try:
        number = stream.fileno()
        mode = os.fstat(number).st_mode
    except (AttributeError, OSError, ValueError):  # none, or one that is made of Python
        return (lambda lines: stream and stream.write(lines.decode())), _MOST, False
    coloured = os.isatty(number) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    # Workers share it. A file takes a write whole; a pipe may mix what is longer than this with others' lines.
    most = _MOST if stat.S_ISREG(mode) else getattr(select, "PIPE_BUF", 512)
    return (lambda lines: _written(number, lines)), most, coloured


def _written(number: int, lines: bytes) -> None:
    left = memoryview(lines)
    while left:
        try:
            left = left[os.write(number, left) :]
        except BlockingIOError:  # another process that shares the stream made it non-blocking
            select.select((), (number,), ())
