"""The log: what a line contains, what clients cannot put into it, and that no reader of it can stop the gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.events import Finish, Start, Text
from polychat.gateway.observe.logs import Log
from polychat.gateway.observe.record import Record

from ...support.running_gateway import asking, configured, gateway, row
from ...support.scripted_vendors import ScriptedVendor

NOON = 1_795_262_400.25  # 2026-11-21T12:00:00.250Z


def record(**facts: Any) -> Record:
    """A good request, but for ``facts``."""
    made = Record("req_1", "openai-chat", "POST", "/v1/chat/completions", 100.0)
    made.over, made.status, made.verdict, made.reason = 100.5, 200, "complete", "stop"
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def whole() -> Record:
    return record(
        **{"first": 100.125, "key": "alice", "model": "quick", "route": "fast", "provider": "house", "served": "small-2"},
        **{"attempts": 2, "stream": True, "prompt_tokens": 12, "completion_tokens": 34, "cached_tokens": 5, "cost": 0.00125},
        **{"fields_dropped": 1, "passthrough": True},
    )


class Sink:
    """Where a log writes to in a test."""

    def __init__(self) -> None:
        self.batches: list[bytes] = []
        self.came = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.broken = False

    def __call__(self, lines: bytes) -> None:
        self.came.set()
        self.open.wait(10)
        if self.broken:
            raise OSError("nobody reads")
        self.batches.append(lines)

    @property
    def lines(self) -> list[str]:
        return b"".join(self.batches).decode().splitlines()


def written(log: Log, sink: Sink) -> list[str]:
    log.close(10)
    return sink.lines


def lines_of(records: list[Record], form: Any = "json", **settings: Any) -> list[str]:
    """The lines that these make."""
    sink = Sink()
    log = Log(form, settings.pop("sample", 1.0), sink, clock=lambda: NOON, **settings)
    for one in records:
        log(one)
    return written(log, sink)


def test_a_line_tells_all_that_is_known() -> None:
    """As JSON, by names that stay."""
    [line] = lines_of([whole()])
    assert json.loads(line) == {
        **{"time": "2026-11-21T12:00:00.250Z", "request_id": "req_1", "dialect": "openai-chat", "key": "alice"},
        **{"method": "POST", "path": "/v1/chat/completions", "status": 200, "model": "quick", "route": "fast"},
        **{
            "target": "house/small-2",
            "attempts": 2,
            "passthrough": True,
            "stream": True,
            "time_to_first_token_ms": 125.0,
            "duration_ms": 500.0,
        },
        **{"prompt_tokens": 12, "completion_tokens": 34, "cached_tokens": 5, "cost_usd": 0.00125, "fields_dropped": 1},
        **{"verdict": "complete", "finish_reason": "stop"},
    }


def test_what_is_not_known_is_left_out() -> None:
    """A request that never reached a backend names none, and no tokens of it."""
    [line] = lines_of([record(status=404, verdict=None, reason=None, error="no such model", model="nope")])
    assert json.loads(line) == {
        **{"time": "2026-11-21T12:00:00.250Z", "request_id": "req_1", "dialect": "openai-chat", "method": "POST"},
        **{"path": "/v1/chat/completions", "status": 404, "stream": False, "passthrough": False, "duration_ms": 500.0},
        **{"model": "nope", "error": "no such model"},
    }


def test_a_line_leads_to_its_trace() -> None:
    """By the id in the client's header, where that is one."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    right, wrong = lines_of([record(traceparent=f"00-{trace}-b7ad6b7169203331-01"), record(traceparent="00-\x1b[31m-1")])
    assert json.loads(right)["trace_id"] == trace
    assert "trace_id" not in json.loads(wrong)


def test_people_read_the_same() -> None:
    """In columns, with what matters first."""
    good, bad = lines_of([whole(), record(status=502, verdict="failed", error="the backend broke", model="m")], "human")
    assert good == (
        "2026-11-21T12:00:00.250Z  200     500 ms  POST /v1/chat/completions    quick → house/small-2           "
        "first token 125 ms, 12+34 tokens, 5 cached, $0.001250, 2 attempts, 1 field dropped, passthrough  alice  req_1"
    )
    assert bad.index("POST") == good.index("POST")
    assert "failed, the backend broke" in bad


def test_the_text_is_in_the_line_only_if_it_was_kept() -> None:
    """The record holds the text where the configuration wants it logged."""
    entry = record(text=("Why?\nI ask.", "Because."))
    assert {"request_text": "Why? I ask.", "response_text": "Because."}.items() <= json.loads(lines_of([entry])[0]).items()
    assert lines_of([entry], "human")[1:] == ["    | request: Why? I ask.", "    | response: Because."]


def test_the_time_moves_on() -> None:
    """A second that is remembered is not the next one."""
    moments = iter([NOON, NOON + 0.5, NOON + 1.0])
    sink = Sink()
    log = Log("json", 1.0, sink, clock=lambda: next(moments))
    for _ in range(3):
        log(record())
    log.close()
    assert [json.loads(line)["time"][17:] for line in sink.lines] == ["00.250Z", "00.750Z", "01.250Z"]


# What strangers send

foreign = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    ["\x1b]0;owned\x07", "a\r\n2026-11-21T12:00:00.000Z  200 forged", "\ud800half", "\u2028", "\x9b31m", "x" * 5000]
)


@settings(max_examples=80)
@given(name=foreign, error=foreign, form=st.sampled_from(["json", "human"]))
def test_nothing_a_client_sends_becomes_more_than_text_in_its_line(name: str, error: str, form: str) -> None:
    """No control character, no line of its own, no half letter; whichever field it comes in."""
    hostile = record(
        **dict.fromkeys(("request_id", "model", "path", "served", "key", "reason", "route", "provider"), name),
        error=error,
        text=(name, error),
    )
    sink = Sink()
    log = Log(form, 1.0, sink, clock=lambda: NOON)
    log(hostile)
    log.event("news", name=name, error=error)
    log.close(10)
    text = b"".join(sink.batches).decode()
    assert all(letter == "\n" or letter.isprintable() for letter in text)
    lines = text.split("\n")[:-1]
    if form == "json":
        assert [json.loads(line)["time"] for line in lines] == ["2026-11-21T12:00:00.250Z"] * 2
    else:
        assert [line for line in lines if not line.startswith("    | ")] == [lines[0], lines[3]]


@pytest.mark.parametrize("form", ["json", "human"])
def test_no_secret_gets_into_it(form: str) -> None:
    """Whatever field it was put in by mistake, remembered or not."""
    secret = "api_key=sk-1234567890"
    fields = dict.fromkeys(("model", "path", "served", "reason", "error"), secret)
    lines = lines_of([record(**fields, provider="p", status=500, text=(secret, secret))] * 2, form)
    assert "sk-123" not in "".join(lines)
    assert "api_key=…" in lines[0]


def test_names_without_end_do_not_fill_the_memory() -> None:
    """Ten thousand names, some of them long, leave at most a thousand remembered."""
    from polychat.gateway.observe import logs

    lines_of([record(model=f"made-up-{number}" + "x" * (number % 2 * 1000)) for number in range(3000)], "human")
    assert len(logs._fit) <= 1000
    assert len(logs._columns) <= 1000
    assert max(map(len, logs._fit)) <= 240


# Which requests get a line


def test_failed_requests_always_get_a_line() -> None:
    """Of good ones none does at a sample of 0; a client's own faults are no failures."""
    support_table = [(200, "complete"), (404, None), (500, None), (200, "failed"), (200, "truncated"), (0, "cancelled")]
    lines = lines_of([record(status=status, verdict=verdict) for status, verdict in support_table], sample=0.0)
    assert [(line["status"], line.get("verdict")) for line in map(json.loads, lines)] == support_table[2:]


def test_good_requests_get_lines_by_lot() -> None:
    """Each draws below the sample, or stays unsaid."""
    lots = iter([0.1, 0.25, 0.9, 0.2])
    lines = lines_of([record(request_id=str(number)) for number in range(4)], sample=0.25, random=lambda: next(lots))
    assert [json.loads(line)["request_id"] for line in lines] == ["0", "3"]


def test_it_can_be_changed_while_it_runs() -> None:
    """What is written next is in the new form."""
    sink = Sink()
    log = Log("human", 1.0, sink)
    log(record())
    log.change("json", 0.0)
    log(record())
    log(record(status=500))
    human, line = written(log, sink)
    assert human.startswith("20")
    assert json.loads(line)["status"] == 500


def test_off_leaves_only_news() -> None:
    """Without a line a request, a configuration that is broken is still reported."""
    sink = Sink()
    log = Log("off", 1.0, sink, clock=lambda: NOON)
    log(record(status=500))
    log.event("configuration not reloaded; the previous one stays in force", error="line 3")
    assert written(log, sink) == [
        "2026-11-21T12:00:00.250Z  configuration not reloaded; the previous one stays in force  error=line 3"
    ]


def test_news_may_have_several_lines() -> None:
    """A traceback is read below its event, and is one string as JSON; the text of it steers nothing."""
    trace = "Traceback:\n  File one\n\x1b[31mValueError: token=abcdefgh\n"
    sink = Sink()
    log = Log("human", 1.0, sink, clock=lambda: NOON)
    log.event("a defect", request_id="req_1", trace=trace, tries=3, none=None)
    log.change("json", 1.0)
    log.event("a defect", trace=trace, tries=3)
    first, *below, line = written(log, sink)
    assert first == "2026-11-21T12:00:00.250Z  a defect  request_id=req_1  tries=3"
    assert below == ["    | Traceback:", "    |   File one", "    | \ufffd[31mValueError: token=…"]
    assert json.loads(line) == {
        **{"time": "2026-11-21T12:00:00.250Z", "event": "a defect", "tries": 3},
        "trace": "Traceback:\n  File one\n\ufffd[31mValueError: token=…",
    }


# When and how it is written


async def until(event: threading.Event) -> None:
    async with asyncio.timeout(60):
        await asyncio.to_thread(event.wait, 10)


async def test_lines_are_written_together_and_soon() -> None:
    """Those of a moment go out in one piece, without anybody asking."""
    sink = Sink()
    log = Log("json", 1.0, sink)
    for _ in range(3):
        log(record())
    assert not sink.came.is_set()
    await until(sink.came)
    log.close(10)
    assert [batch.count(b"\n") for batch in sink.batches] == [3]


def test_many_lines_do_not_wait() -> None:
    """64 KiB are a batch, and no line of it is lost or torn."""
    sink = Sink()
    log = Log("json", 1.0, sink)
    for number in range(1000):
        log(record(request_id=str(number)))
    assert sink.came.wait(10)
    assert [json.loads(line)["request_id"] for line in written(log, sink)] == [str(number) for number in range(1000)]
    assert all(batch.endswith(b"\n") for batch in sink.batches)


@pytest.mark.parametrize("form", ["json", "human"])
def test_a_reader_that_does_not_read_stops_nobody(form: Any) -> None:
    """Lines are held up to a bound, the rest is counted, and reported once somebody reads again."""
    sink = Sink()
    sink.open.clear()
    log = Log(form, 1.0, sink)
    log.event("begun")
    assert sink.came.wait(10)
    for _ in range(20_000):
        log(record())
    assert len(log._held) < 1_100_000
    sink.open.set()
    lines = written(log, sink)
    notice = next(line for line in lines if "log lines dropped" in line)
    lost = json.loads(notice)["lines"] if form == "json" else int(notice.rpartition("=")[2])
    assert lost > 0
    assert lost + len(lines) == 20_000 + 2


def test_news_is_bounded_too() -> None:
    """A gateway that reports without end to nobody does not grow."""
    sink = Sink()
    sink.open.clear()
    log = Log("json", 1.0, sink)
    log.event("begun")
    assert sink.came.wait(10)
    for _ in range(4000):
        log.event("again", why="x" * 400)
    assert len(log._held) < 1_100_000
    sink.open.set()
    lines = written(log, sink)
    assert len(lines) + sum(json.loads(line).get("lines", 0) for line in lines) == 4002


def test_a_reader_that_is_gone_is_no_error() -> None:
    """What it did not get is reported to the next one."""
    sink = Sink()
    sink.broken = True
    log = Log("json", 1.0, sink)
    for _ in range(3):
        log(record())
    log.close(10)
    sink.broken = False
    log.event("here again")
    lines = [json.loads(line) for line in written(log, sink)]
    assert [(line["event"], line.get("lines")) for line in lines] == [("log lines dropped", 3), ("here again", None)]


def test_the_end_does_not_wait_for_a_reader() -> None:
    """A stuck writer holds the end up for the given time."""
    sink = Sink()
    sink.open.clear()
    log = Log("json", 1.0, sink)
    log(record())
    log.close(0.01)
    assert sink.batches == []
    sink.open.set()


# Standard error


@contextmanager
def standard_error(monkeypatch: pytest.MonkeyPatch, make: Callable[[], tuple[int, int]] = os.pipe) -> Iterator[tuple[int, int]]:
    """This process' standard error is a pipe here: its two ends."""
    read, write = make()
    with open(read, "rb", closefd=False), open(write, "w", closefd=False) as stream, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        patched.delenv("NO_COLOR", raising=False)
        patched.setenv("TERM", "xterm")
        try:
            yield read, write
        finally:
            os.close(read)
            os.close(write)


def gathered(read: int, until: bytes) -> bytes:
    data = b""
    while until not in data and select.select([read], [], [], 10)[0]:
        data += os.read(read, 65536)
    return data


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_pipe_gets_all_of_it(monkeypatch: pytest.MonkeyPatch, blocking: bool) -> None:
    """Also where it fills, and where somebody who shares it made it non-blocking; in pieces that the system keeps whole."""
    with standard_error(monkeypatch) as (read, write):
        os.set_blocking(write, blocking)
        sizes: list[int] = []
        real = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: sizes.append(len(data)) or real(fd, data))
        log = Log("json", 1.0)
        for number in range(1000):
            log(record(request_id=str(number)))
        log.event("that was it")
        lines = (await asyncio.to_thread(gathered, read, b"that was it")).decode().splitlines()
        log.close(10)
    assert [json.loads(line)["request_id"] for line in lines[:-1]] == [str(number) for number in range(1000)]
    assert max(sizes) <= select.PIPE_BUF


def test_what_is_taken_in_part_is_written_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal may take less than it is given."""
    with standard_error(monkeypatch) as (read, _):
        real = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:100]))
        log = Log("json", 1.0)
        log(whole())
        log.close(10)
        assert json.loads(gathered(read, b"\n"))["target"] == "house/small-2"


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe gets none, and neither does a terminal with NO_COLOR."""
    seen = {}
    for name, make, no_color in (("terminal", os.openpty, ""), ("unwanted", os.openpty, "1"), ("pipe", os.pipe, "")):
        with standard_error(monkeypatch, make) as (read, _), monkeypatch.context() as patched:
            patched.setenv("NO_COLOR", no_color)
            log = Log("human", 1.0)
            log(record(status=500, request_id="the_end"))
            log.close(10)
            seen[name] = gathered(read, b"the_end").decode()
    assert "\x1b[31m500\x1b[0m" in seen["terminal"]
    assert "\x1b" not in seen["unwanted"] + seen["pipe"]
    assert re.sub(r"\x1b\[\d+m", "", seen["terminal"]).split()[1:] == seen["pipe"].split()[1:]


def test_a_stream_made_of_python_will_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As notebooks and test runners put in place of the real one; and without any nothing fails."""
    log = Log("human", 1.0)
    log.event("hello")
    log.close(10)
    assert capsys.readouterr().err.endswith("hello\n")
    monkeypatch.setattr(sys, "stderr", None)
    log = Log("human", 1.0)
    log.event("hello")
    log.close(10)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_all_of_a_replys_text_is_kept_where_the_log_is_to_hold_it(serve: Any, dialect: str, stream: bool) -> None:
    """The first words too, of one that passes as of one that is translated."""
    batches = [[Start("1", "m"), Text("Hel")], [Text("lo")], [Finish("complete", "stop")]]
    server = await serve(ScriptedVendor("openai-chat", batches))
    async with gateway(configured({"house": row("openai-chat", server.url)}, log_text=True)) as here:
        await here.ask(*asking(dialect, stream=stream))
        (record,) = await here.app.recorded()
    assert record.passthrough == (dialect == "openai-chat")
    assert record.text == ("hi", "Hello")
