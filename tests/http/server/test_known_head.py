"""A head that comes again on its connection, and heads that nearly do."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from polychat.config.settings import Limits
from polychat.http.server.asgi import Scope
from polychat.http.server.cycle import FastPath, RequestCycle
from polychat.http.server.known_head import KnownHead, KnownHeads
from polychat.http.server.protocol import ServerConnection
from polychat.http.server.request_parser import RequestParser
from polychat.http.server.state import ServerState

from ...support.compiled import replaces_compiled
from ...support.server_in_thread import App, Hosted, request

FIRST = request("/a?b=c", b"hello", b"X-Key: one", b"Accept: */*")
LINE = b"content-length: 5"


def _with_length(length: bytes, body: bytes) -> bytes:
    return FIRST.replace(LINE, b"content-length: " + length).replace(b"hello", body)


AGAIN = (FIRST, *(request("/a?b=c", b"x" * size, b"X-Key: one", b"Accept: */*") for size in (1, 9, 10, 12345)))
OTHERS = (
    *(FIRST[:at] + b"Z" + FIRST[at + 1 :] for at in range(0, FIRST.index(b"hello"), 3)),
    *(_with_length(length, b"hello") for length in (b"", b"+5", b"-5", b"0x5", b"5 ", b" 5", b"5,5", b"05", b"6", b"1" * 30)),
    _with_length(b"4", b"hello"),
    _with_length(b"0", b""),
    FIRST.replace(LINE, LINE + b"\r\n" + LINE),
    FIRST.replace(LINE, LINE + b"\r\nexpect: 100-continue"),
    FIRST.replace(LINE, b"transfer-encoding: chunked").replace(b"hello", b"2\r\nhi\r\n0\r\n\r\n"),
    FIRST.replace(b"\r\n", b"\n"),
    b"\r\n" + FIRST,
    FIRST + FIRST,
    FIRST + request("/b"),
    FIRST[:-1],
    request("/b", b"hello"),
    request("/b"),
)


class NoFastPath:
    """Leaves all requests to tasks."""

    def begin(self, cycle: RequestCycle, body: bytes) -> bool:
        return False


def _met(here: Hosted, app: App, data: bytes, *before: bytes) -> tuple[list[Any], list[Any]]:
    """What a client that sends ``data`` gets, and what the application gets."""
    with here.client() as client:
        for request in before:
            client.send(request).answer()
        app.seen.clear()
        client.send(data)
        client.socket.shutdown(socket.SHUT_WR)
        answers = [(answer.status, answer.body) for answer in client.answers()]
    return answers, [{name: value for name, value in scope.items() if name != "client"} for scope in app.seen]


@pytest.mark.parametrize("data", [*AGAIN, *OTHERS])
def test_what_follows_a_known_head_is_read_as_if_it_came_first(here: Hosted, app: App, data: bytes) -> None:
    """Answers and scopes are those of a connection on which nothing came before, also where another began with that head."""
    alone = _met(here, app, data)
    assert _met(here, app, data, FIRST, FIRST) == alone
    app.fast_path = lambda scope: NoFastPath()
    assert _met(here, app, data, FIRST) == alone
    assert _met(here, app, data) == alone


@replaces_compiled
def test_a_head_that_comes_again_is_not_parsed(here: Hosted, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that tells another length; what the application changes in its scope is not in the next."""
    known: list[bool] = []
    compare = KnownHead.request

    def counted(self: KnownHead, data: bytes, limit: int) -> Any:
        result = compare(self, data, limit)
        known.append(result is not None)
        return result

    monkeypatch.setattr(KnownHead, "request", counted)
    with here.client() as client:
        for data in (FIRST, *AGAIN):
            body = data.rpartition(b"\r\n\r\n")[2]
            assert client.send(data).answer().json["body"] == body.decode()
            scope = app.seen[-1]
            assert dict(scope["headers"])[b"content-length"] == b"%d" % len(body)
            scope["headers"].append((b"x-own", b"1"))
            scope["polychat.fields"][b"x-own"] = b"1"
            scope["path"] = "/own"
    assert known == [True] * len(AGAIN)
    assert all(b"x-own" not in dict(scope["headers"][:-1]) for scope in app.seen)


@replaces_compiled
def test_a_connection_begins_with_the_head_of_another(here: Hosted, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not parsed, and the request is the new client's; a large head is not kept."""
    found: list[bool] = []
    of = KnownHeads.of

    def counted(self: KnownHeads, data: bytes) -> KnownHead | None:
        known = of(self, data)
        found.append(known is not None)
        return known

    monkeypatch.setattr(KnownHeads, "of", counted)
    app.fast_path = lambda scope: NoFastPath()
    large = request("/a", b"hello", b"X-Key: " + b"k" * 5000)
    for data in (FIRST, AGAIN[3], large, large):
        with here.client() as client:
            address = client.socket.getsockname()
            client.send(data).answer()
            assert app.seen[-1]["client"] == address
            client.send(FIRST).answer()
            assert app.seen[-1]["client"] == address
    assert found == [False, True, False, False]


class Echoes:
    """Answers requests in the call that brings them, some with streams, but for bodies that begin with ``task``."""

    def __init__(self) -> None:
        self.begun: list[tuple[RequestCycle, dict[str, Any]]] = []
        """The cycles, and what each was like."""

    def begin(self, cycle: RequestCycle, body: bytes) -> bool:
        names = ("body", "complete", "disconnected", "end_delivered", "fast_run", "keep_alive", "more_body", "started", "task")
        facts = {name: getattr(cycle, name) for name in (*names, "head_sent", "is_spent")}
        self.begun.append((cycle, facts))
        if body.startswith(b"task"):
            return False
        if body.startswith(b"stream"):
            cycle.respond_stream_now(b"", body)
        else:
            cycle.respond_now(200, b"", body)
        return True


def test_a_request_after_one_without_a_task_begins_as_any(here: Hosted, app: App) -> None:
    """It may take the place of the one before, of which nothing is left; one that had a task is nobody's next."""
    echoes = Echoes()
    app.fast_path = lambda scope: echoes
    bodies = [b"hello", b"stream", b"tasks", b"three", b"four", b"task", b"tasks again", b"streamed", b"end"]
    with here.client() as client:
        for body in bodies:
            answer = client.send(request("/a?b=c", body, b"X-Key: one", b"Accept: */*")).answer()
            assert (answer.json["body"].encode() if body.startswith(b"task") else answer.body) == body
            assert ("transfer-encoding" in answer.headers) == body.startswith(b"stream")
    begun = [facts for _, facts in echoes.begun]
    assert [facts.pop("body") for facts in begun] == bodies
    assert all(facts == begun[0] for facts in begun)
    assert not any(begun[0].get(name) for name in ("complete", "started", "head_sent", "is_spent", "more_body", "disconnected"))
    cycles = [cycle for cycle, _ in echoes.begun]
    assert [later is cycle for cycle, later in itertools.pairwise(cycles)] == [
        not body.startswith(b"task") for body in bodies[:-1]
    ]


def test_a_known_head_is_held_to_the_limit_of_now(here: Hosted) -> None:
    """A limit that a reload lowered holds for what comes again, too."""
    with here.client() as client:
        client.send(FIRST).answer()
        limits = here.server.state.limits
        here.call(setattr, here.server.state, "limits", limits.replace(head=40))
        assert client.send(FIRST).answer().status == 431


class Transport:
    """Collects what is written."""

    def __init__(self) -> None:
        self.out, self.closing = bytearray(), False
        self.write = self.out.extend
        self.socket: socket.socket | None = None

    def get_extra_info(self, name: str) -> Any:
        return self.socket if name == "socket" else None

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.closing = True


class Later(Echoes):
    """Answers requests for ``later`` only when ``answer`` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[RequestCycle] = []

    def begin(self, cycle: RequestCycle, body: bytes) -> bool:
        if body != b"later":
            return super().begin(cycle, body)
        self.waiting.append(cycle)
        return True

    def answer(self) -> None:
        self.waiting.pop().respond_now(200, b"", b"now")


@pytest.mark.parametrize("ends", [True, False])
async def test_what_comes_while_a_request_without_a_task_waits_is_answered_after_it(*, ends: bool) -> None:
    """A client that has ended its side gets the answers too, and then the connection is closed."""
    app, transport, later = App(), Transport(), Later()
    app.fast_path = lambda scope: later
    connection = ServerConnection(ServerState(app, Limits()), asyncio.get_running_loop())
    connection.connection_made(cast(Any, transport))
    transport.socket, peer = socket.socketpair()
    with transport.socket, peer:
        for body in (b"hello", b"later", b"later"):
            connection.data_received(request("/a?b=c", body, b"X-Key: one", b"Accept: */*"))
        if ends:
            peer.shutdown(socket.SHUT_WR)
            assert connection.eof_received()
        for _ in range(2):
            assert (connection.state, transport.closing) == ("half closed" if ends else "answering", False)
            later.answer()
    assert connection.state == ("closed" if ends else "idle")
    answers = bytes(transport.out)
    assert [answers.count(b"\r\n\r\n" + body) for body in (b"hello", b"now")] == [1, 2]
    connection.connection_lost(None)


async def _met_in_pieces(
    pieces: Sequence[bytes], find: Callable[[Scope], FastPath | None], first: bytes = FIRST
) -> tuple[bytes, list[Any], int]:
    """What is written and what the application gets, when ``pieces`` follow ``first`` and a request with the same head; and how
    many of them waited for the next.
    """
    app, transport = App(), Transport()
    app.fast_path = find
    state = ServerState(app, Limits())
    connection = ServerConnection(state, asyncio.get_running_loop())
    connection.connection_made(cast(Any, transport))
    held = 0
    for data in (first, first, *pieces):
        connection.data_received(data)
        held += connection.state == "held"
        while state.tasks and not (connection._parser.last and connection._parser.last.more_body):
            await asyncio.sleep(0)
    if not connection.eof_received():
        transport.close()
    connection.connection_lost(None)
    while state.tasks:
        await asyncio.sleep(0)
    state.close()
    scopes = [{**scope, "client": None} for scope in app.seen[2:]]
    return re.sub(rb"date: [^\r]+", b"", bytes(transport.out)), scopes, held


async def test_what_comes_in_two_reads_is_answered_as_if_no_head_were_known() -> None:
    """Wherever it is divided: a request waits for its body if its head is known, and is not changed by that."""
    end = FIRST.index(b"hello")
    for data in (*AGAIN, *OTHERS):
        places = range(1, len(FIRST)) if data is FIRST else {end - 1, end, end + 1, len(data) // 2}
        for place in places:
            pieces = data[:place], data[place:]
            *alone, none_held = await _met_in_pieces(pieces, lambda scope: None)
            *known, held = await _met_in_pieces(pieces, lambda scope: NoFastPath())
            assert (known, none_held) == (alone, 0), pieces
            if data is FIRST:
                assert held == (place >= end), pieces


def _identified(request_id: bytes, trace: bytes = b"traceparent: 00-1-2-01", *more: bytes, body: bytes = b"hello") -> bytes:
    return request("/a?b=c", body, b"X-Key: one", b"X-Request-ID: " + request_id, trace, *more)


@replaces_compiled
async def test_requests_that_differ_in_what_identifies_them_are_read_as_if_each_came_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """These headers' values are matched, in one read or in two, and are those of the request itself; all else is parsed."""
    parsed: list[bytes] = []
    feed = RequestParser.feed
    monkeypatch.setattr(RequestParser, "feed", lambda self, data: (parsed.append(bytes(data)), feed(self, data))[1])
    first = _identified(b"one")
    usual = [
        *(_identified(value) for value in (b"two", b"a" * 500, b"a=b, c d")),
        *(_identified(b"two", b"TraceParent".lower() + b": 00-3-4-00", body=b"x" * size) for size in (1, 1000)),
    ]
    unusual = [
        *(
            _identified(value)
            for value in (b"", b" two", b"two ", b"t\two", b"t\xe9", b"a" * 600, b"t\x00", b"t\rx", b"t\nx: y")
        ),
        *(_identified(b"two", trace) for trace in (b"traceparent:00-3", b"Traceparent: 00-3", b"tracestate: 00-3", b"x: y")),
        *(_identified(b"two", b"traceparent: 00", line) for line in (b"x-request-id: three", b"content-length: 5", b"x: y")),
        _identified(b"two")[:-1],
        _identified(b"two") + b"x",
    ]
    for data in (*usual, *unusual):
        end = data.index(b"\r\n\r\n") + 4
        for pieces in ([data], [data[:end], data[end:]], [data[:-7], data[-7:]]):
            *alone, _ = await _met_in_pieces(pieces, lambda scope: None, first)
            parsed.clear()
            *known, held = await _met_in_pieces(pieces, lambda scope: NoFastPath(), first)
            assert known == alone, pieces
            if data in usual:
                assert (len(parsed), held) == (1, len(pieces) - 1) or len(pieces[0]) < end, pieces
            else:
                assert len(parsed) > 1, pieces
