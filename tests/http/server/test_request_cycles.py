"""One request after the other on a connection: what the application gets, and what the client gets."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from typing import Any

import pytest

from polychat.config.settings import Limits
from polychat.http.server.state import ServerState

from ...support.patience import PATIENCE
from ...support.server_in_thread import App, Client, Hosted, echo, request, say, whole


def test_a_request_is_delivered_as_asgi_defines_it(here: Hosted, app: App) -> None:
    with here.client() as client:
        echoed = client.ask("/a%20b/%D1%8F?x=1&y=%2F", b"hello", b"X-Case: Kept").json
        assert echoed == {"method": "POST", "path": "/a b/я", "query": "x=1&y=%2F", "body": "hello"}
        (scope,) = app.seen
        assert scope["raw_path"] == b"/a%20b/%D1%8F"
        assert scope["headers"] == [(b"host", b"here"), (b"content-length", b"5"), (b"x-case", b"Kept")]
        assert scope["http_version"] == "1.1"
        assert scope["scheme"] == "http"
        assert scope["server"] == ("127.0.0.1", here.port)
        assert scope["client"] == client.socket.getsockname()


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://here/x?y=1", "/x"), ("http://here", "/"), ("https://here:1/", "/"), ("/a//../b", "/a//../b")],
)
def test_targets_as_clients_and_proxies_write_them(here: Hosted, target: str, path: str) -> None:
    with here.client() as client:
        assert client.ask(target).json["path"] == path
        assert client.send(b"OPTIONS * HTTP/1.1\r\nhost: here\r\n\r\n").answer().json["path"] == "*"


def test_requests_follow_each_other_on_a_kept_connection(here: Hosted, app: App) -> None:
    with here.client() as client:
        for number in range(5):
            answer = client.ask(f"/{number}", b"x" * number)
            assert answer.json["body"] == "x" * number
            assert "connection" not in answer.headers
            assert "date" in answer.headers
            assert "server" not in answer.headers
    assert len(app.seen) == 5


def test_a_stream_reaches_the_client_piece_by_piece(here: Hosted, app: App) -> None:
    """Each piece is on its way when it is sent, and the head with the first, even where that is empty."""
    go = asyncio.Event()

    @app.on("/stream")
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-one", b"1")]})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await go.wait()
        go.clear()
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await go.wait()
        await send({"type": "http.response.body", "body": b"two", "more_body": False})

    with here.client() as client:
        client.send(request("/stream"))
        while (line := client.file.readline()) != b"\r\n":
            assert line
        here.call(go.set)
        assert client.file.read(8) == b"3\r\none\r\n"
        here.call(go.set)
        assert client.file.read(13) == b"3\r\ntwo\r\n0\r\n\r\n"
        assert client.ask("/next").status == 200


def test_http_1_0_is_answered_without_chunks(here: Hosted, app: App) -> None:
    """A client that knows no chunks gets the body until the connection closes."""

    @app.on("/stream")
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    with here.client() as client:
        (answer,) = client.send(b"GET /stream HTTP/1.0\r\n\r\n").answers()
    assert answer.body == b"onetwo"
    assert answer.headers["connection"] == "close"
    assert "transfer-encoding" not in answer.headers
    with here.client() as client:
        (answer,) = client.send(b"POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc").answers()
    assert answer.json["body"] == "abc"


def test_a_client_that_expects_continue_gets_it_when_the_body_is_read(here: Hosted) -> None:
    with here.client() as client:
        client.send(request("/", b"hello", b"expect: 100-continue")[:-5])
        assert client.answer().status == 100
        assert client.send(b"hello").answer().json["body"] == "hello"
        assert client.ask("/next").status == 200


def test_a_client_that_does_not_wait_for_continue_gets_none(here: Hosted) -> None:
    with here.client() as client:
        assert client.ask("/", b"hello", b"expect: 100-continue").json["body"] == "hello"


def test_a_client_refused_before_continue_need_not_send_the_body(here: Hosted, app: App) -> None:
    """The connection ends: nobody could say whether the next bytes are the body or another request."""

    @app.on("/refused")
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"no", 413)

    with here.client() as client:
        (answer,) = client.send(request("/refused", b"hello", b"expect: 100-continue")[:-5]).answers()
    assert (answer.status, answer.headers["connection"]) == (413, "close")


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"TLS/1.0"])
def test_an_upgrade_is_answered_as_plain_http(here: Hosted, app: App, upgrade: bytes) -> None:
    """Java's client asks for h2c with its first request, which is served; one that has a body is the connection's last."""
    wish = (b"connection: upgrade, http2-settings", b"upgrade: " + upgrade, b"http2-settings: AAMAAABkAAQAAP__")
    with here.client() as client:
        client.send(request("/1", b"", *wish) + request("/2", b"", *wish) + request("/3"))
        assert [client.answer().json["path"] for _ in range(3)] == ["/1", "/2", "/3"]
    body = request("/smuggled")
    chunked = b"transfer-encoding: chunked"
    for data in (
        request("/4", body, *wish),
        request("/4", b"", chunked, *wish) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    ):
        for cut in (0, 5, len(data) - len(body), len(data) - len(body) + 5, len(data) - 1):
            with here.client() as client:
                (answer,) = client.send(data[:cut], data[cut:] + request("/5")).answers()
            assert (answer.json["path"], answer.json["body"]) == ("/4", body.decode())
    assert set(app.paths) == {"/1", "/2", "/3", "/4"}


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_answers_that_have_no_body(here: Hosted, app: App, method: bytes, status: int) -> None:
    @app.on("/none")
    async def none(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"never seen" if method == b"HEAD" else b""})

    with here.client() as client:
        client.send(request("/none", method=method) + request("/next"))
        head = client.file.readline()
        while (line := client.file.readline()) != b"\r\n":
            assert b"transfer-encoding" not in line
        assert b" %d " % status in head
        assert client.answer().json["path"] == "/next"


def test_several_tasks_may_wait_for_the_client(here: Hosted, app: App) -> None:
    """One of them being cancelled leaves the others waiting; all hear of the end."""
    types: list[str] = []
    waiting, done = threading.Event(), threading.Event()

    @app.on("/wait")
    async def wait(scope: Any, receive: Any, send: Any) -> None:
        await whole(receive)
        tasks = [asyncio.create_task(receive()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        waiting.set()
        types.extend(message["type"] for message in await asyncio.gather(*tasks[1:]))
        done.set()

    with here.client() as client:
        client.send(request("/wait"))
        assert waiting.wait(PATIENCE)
    assert done.wait(PATIENCE)
    assert types == ["http.disconnect"] * 2


def _reset(client: Client) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("leave", [Client.close, _reset])
@pytest.mark.parametrize("when", ["before the answer", "in a stream", "in the body", "behind another request"])
def test_a_client_that_leaves_is_noticed_at_once(here: Hosted, app: App, leave: Any, when: str) -> None:
    """In a few milliseconds, whatever it was doing; sending to it is no error and does nothing."""
    times: list[float] = []
    begun, done = threading.Event(), threading.Event()

    @app.on("/wait")
    async def wait(scope: Any, receive: Any, send: Any) -> None:
        if when != "in the body":
            await whole(receive)
        if when == "in a stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        times.append(time.monotonic())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        done.set()

    data = request("/wait", b"hello")
    client = here.client()
    client.send({"in the body": data[:-2], "behind another request": data + request("/next")}.get(when, data))
    assert begun.wait(PATIENCE)
    left = time.monotonic()
    leave(client)
    assert done.wait(PATIENCE)
    assert times[0] - left < 0.05  # a busy machine's threads; alone it is under a millisecond
    client.close()
    assert "/next" not in app.paths


def test_a_client_that_leaves_while_its_reader_is_full_is_noticed_too(here: Hosted, app: App) -> None:
    """The application is blocked in ``send`` with megabytes unread, and still hears of the end."""
    full, done = threading.Event(), threading.Event()

    @app.on("/endless")
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await whole(receive)
        leaving = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not leaving.done():
            sending = asyncio.ensure_future(send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True}))
            finished, _ = await asyncio.wait({sending}, timeout=0.2)
            if not finished:
                full.set()
            await sending
        done.set()

    with here.client() as client:
        client.send(request("/endless"))
        assert full.wait(PATIENCE)
        client.close()
        assert done.wait(PATIENCE)


async def _breaks(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("a defect")


async def _says_nothing(scope: Any, receive: Any, send: Any) -> None:
    await whole(receive)


async def _breaks_after_the_head(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ValueError("a defect")


async def _too_long(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"four"})


async def _too_short(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"1"})


def _with_header(name: bytes, value: bytes) -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"ok", 200, [(name, value)])

    return answer


BROKEN = {
    "raises": _breaks,
    "says nothing": _says_nothing,
    "raises after its head": _breaks_after_the_head,
    "says more than it announced": _too_long,
    "says less than it announced": _too_short,
    "breaks a header's line": _with_header(b"x-id", b"1\r\nset-cookie: a=b"),
    "breaks a header's line by LF": _with_header(b"x-id", b"1\nset-cookie: a=b"),
    "breaks a header's line by CR": _with_header(b"x-id", b"1\rset-cookie: a=b"),
    "breaks a header's name": _with_header(b"x-id: 1\r\nset-cookie", b"a=b"),
    "sends NUL in a header": _with_header(b"x-id", b"1\0"),
    "has a name with a space": _with_header(b"x id", b"1"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_an_application_that_fails_is_a_500_of_its_own_request(here: Hosted, app: App, answer: Any) -> None:
    """Nothing of a half-made answer goes out, the reason stays inside, and others are served on."""
    app.on("/broken")(answer)
    with here.client() as client:
        (only_answer,) = client.send(request("/broken") + request("/next")).answers()
    assert only_answer.status == 500
    assert only_answer.headers["connection"] == "close"
    assert only_answer.json == {"error": {"message": "internal error", "type": "server_error"}}
    with here.client() as client:
        assert client.ask("/").status == 200


def test_an_application_that_fails_in_a_stream_ends_it_without_its_end(here: Hosted, app: App) -> None:
    """The client can tell that the answer is not whole: the last chunk is missing."""

    @app.on("/broken")
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        raise ValueError("a defect")

    with here.client() as client:
        client.send(request("/broken"))
        assert client.file.read().endswith(b"3\r\none\r\n")


def test_names_of_headers_may_have_capitals(here: Hosted, app: App) -> None:
    """They go out in small letters, and mean the same: no second length is added to a ``Content-Length``."""

    @app.on("/case")
    async def case(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"X-Request-ID", b"7"), (b"Content-Length", b"2"), (b"Connection", b"Close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    with here.client() as client:
        (answer,) = client.send(request("/case")).answers()
    del answer.headers["date"]
    assert answer.headers == {"x-request-id": "7", "content-length": "2", "connection": "Close"}


def test_after_a_request_nothing_of_it_is_left(here: Hosted, app: App) -> None:
    with here.client() as client:
        for _ in range(20):
            client.ask("/", b"hello")
    with here.client() as other:
        other.ask("/")
        here.call(lambda: None)
        assert here.server.state.tasks == set()
        assert here.call(lambda: len(here.server.state.connections)) == 1
        assert here.server.state.total_requests == 21


def test_an_answer_to_a_client_that_has_just_gone_is_no_failure(here: Hosted, app: App) -> None:
    """The system knows that when the connection is ended after the answer, and the loop does not yet: nobody is told of it."""
    outcomes: list[str] = []
    is_over = threading.Event()

    @app.on("/gone")
    async def gone(scope: Any, receive: Any, send: Any) -> None:
        client.close()
        try:
            await say(send, b"hello", headers=[(b"connection", b"close")])
            outcomes.append("answered")
        except Exception as error:  # whatever it is, it is none of the application's
            outcomes.append(repr(error))
        is_over.set()

    for _ in range(10):
        is_over.clear()
        client = Client(socket.create_connection(("127.0.0.1", here.port)))
        client.send(request("/gone") + request("/next"))
        assert is_over.wait(PATIENCE)
    assert outcomes == ["answered"] * 10
    assert app.paths == ["/gone"] * 10


def test_the_date_is_that_of_the_second() -> None:
    """A response's date is RFC 9110's, made once a second and not once a response."""
    now = [784_111_777.0]
    state = ServerState(echo, Limits(), wall_clock=lambda: now[0])
    first = state.default_headers()
    assert first == b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    now[0] += 0.9
    assert state.default_headers() is first
    now[0] += 0.2
    assert state.default_headers() == b"date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"
