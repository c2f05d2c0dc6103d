"""Clients that mean no good, or are merely odd: what the gateway's HTTP refuses, bounds and cuts off."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

import pytest

from polychat.config.settings import Limits

from ...support.patience import PATIENCE
from ...support.server_in_thread import App, Client, Hosted, hosted, request, say, whole

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: here\r\n\r\n"
POST = b"POST /first HTTP/1.1\r\nhost: here\r\n"


REFUSED = {
    "both lengths": POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, the other way": POST + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"content-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
    "one length twice": POST + b"content-length: 4\r\ncontent-length: 4\r\n\r\nabcd",
    "a list of lengths": POST + b"content-length: 4, 4\r\n\r\nabcd",
    "a length with a sign": POST + b"content-length: +4\r\n\r\nabcd",
    "a negative length": POST + b"content-length: -1\r\n\r\n",
    "a hexadecimal length": POST + b"content-length: 0x4\r\n\r\nabcd",
    "a length with underscores": POST + b"content-length: 1_0\r\n\r\nabcdefghij",
    "a length of two words": POST + b"content-length: 4 4\r\n\r\nabcd",
    "an empty length": POST + b"content-length:\r\n\r\nabcd",
    "a length beyond counting": POST + b"content-length: 99999999999999999999\r\n\r\n",
    "xchunked": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "identity": POST + b"transfer-encoding: identity\r\ncontent-length: 3\r\n\r\nabc",
    "identity, chunked": POST + b"transfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then another": POST + b"transfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n0\r\n\r\n",
    "another, then chunked": POST + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in quotes": POST + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked behind a vertical tab": POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "an empty coding": POST + b"transfer-encoding:\r\ncontent-length: 3\r\n\r\nabc",
    "chunked in HTTP/1.0": b"POST /first HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a space before the name": POST + b" transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the first name": b"POST /first HTTP/1.1\r\n host: here\r\n\r\n",
    "a folded value": POST + b"x: a\r\n b\r\n\r\n",
    "a folded coding": POST + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "lines that end in LF": b"POST /first HTTP/1.1\nhost: here\n\n",
    "one header that ends in LF": POST + b"x: a\ny: b\r\n\r\n",
    "one header that ends in CR": POST + b"x: a\ry: b\r\n\r\n",
    "a head that ends in CR": POST + b"\r\r",
    "a head that ends in LF": POST + b"\n",
    "NUL in a value": POST + b"x: a\0b\r\n\r\n",
    "NUL in a name": POST + b"x\0: a\r\n\r\n",
    "another control character in a value": POST + b"x: a\x01b\r\n\r\n",
    "a header without a name": POST + b": a\r\n\r\n",
    "a header without a colon": POST + b"abc\r\n\r\n",
    "a name that is not ASCII": POST + b"x\xff: a\r\n\r\n",
    "no host": b"GET /first HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /first HTTP/1.1\r\nhost: here\r\nhost: there\r\n\r\n",
    "HTTP/0.9": b"GET /first\r\n\r\n",
    "HTTP/1.2": b"GET /first HTTP/1.2\r\nhost: here\r\n\r\n",
    "HTTP/2.0": b"GET /first HTTP/2.0\r\nhost: here\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a method in small letters": b"get /first HTTP/1.1\r\nhost: here\r\n\r\n",
    "a tab behind the method": b"GET\t/first HTTP/1.1\r\nhost: here\r\n\r\n",
    "a space in the target": b"GET /fi rst HTTP/1.1\r\nhost: here\r\n\r\n",
    "a control character in the target": b"GET /fi\x01rst HTTP/1.1\r\nhost: here\r\n\r\n",
    "a target that is not ASCII": b"GET /fi\xffrst HTTP/1.1\r\nhost: here\r\n\r\n",
    "a target that is no path": b"GET first HTTP/1.1\r\nhost: here\r\n\r\n",
    "a target with a fragment": b"GET /first#x HTTP/1.1\r\nhost: here\r\n\r\n",
    "an asterisk to GET": b"GET * HTTP/1.1\r\nhost: here\r\n\r\n",
    "CONNECT": b"CONNECT here:80 HTTP/1.1\r\nhost: here\r\n\r\n",
    "a scheme of another kind": b"GET ftp://here/first HTTP/1.1\r\nhost: here\r\n\r\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_two_servers_could_read_in_two_ways_is_refused_and_the_connection_closed(
    here: Hosted, app: App, data: bytes
) -> None:
    """No application is called for it, nor for the data after it; the client gets an error in JSON, and the connection ends."""
    with here.client() as client:
        (answer,) = client.send(data + SMUGGLED).answers()
    assert answer.status in (400, 501, 505)
    assert answer.headers["connection"] == "close"
    assert answer.json["error"]["message"]
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert app.paths == []


CHUNKS = {
    "a size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "a size beyond counting": b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a space behind the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "a space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a size that ends in LF": b"3\nabc\r\n0\r\n\r\n",
    "more data than the size": b"3\r\nabcd\r\n0\r\n\r\n",
    "data that ends in LF": b"3\r\nabc\n0\r\n\r\n",
    "data that ends in CR": b"3\r\nabc\r0\r\n\r\n",
    "LF in an extension": b"3;a\nxx\r\nabc\r\n0\r\n\r\n",
    "CR in an extension": b"3;a\rxx\r\nabc\r\n0\r\n\r\n",
    "LF in a quoted extension": b'3;a="\n"\r\nabc\r\n0\r\n\r\n',
    "a length in the trailer": b"3\r\nabc\r\n0\r\ncontent-length: 5\r\n\r\n",
    "a folded trailer": b"3\r\nabc\r\n0\r\nx: a\r\n b\r\n\r\n",
    "an extension without end": b"3;" + b"a" * 1_000_000 + b"\r\nabc\r\n0\r\n\r\n",
    "a trailer without end": b"3\r\nabc\r\n0\r\n" + b"x: a\r\n" * 160_000 + b"\r\n",
    "extensions on every chunk": b"1;%b\r\na\r\n" % (b"x" * 200) * 5000 + b"0\r\n\r\n",
}


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_a_body_in_broken_chunks_ends_the_request_and_the_connection(here: Hosted, app: App, chunks: bytes) -> None:
    """The application, which reads, is notified that the client is gone; it is not given half a body as a whole one."""
    ends: list[bytes | None] = []
    disconnected = threading.Event()

    @app.on("/first")
    async def reading(scope: Any, receive: Any, send: Any) -> None:
        ends.append(await whole(receive))
        disconnected.set()

    with here.client() as client:
        client.send(POST + b"transfer-encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):  # it was refused while it was still talking
            client.send(chunks + SMUGGLED)
        (answer,) = client.answers()
    assert answer.status == 400
    assert disconnected.wait(PATIENCE)
    assert ends == [None]
    assert app.paths == ["/first"]


GOOD = {
    "an extension": b'3;a=b;c="d"\r\nabc\r\n0\r\n\r\n',
    "a trailer": b"3\r\nabc\r\n0\r\nauthorization: Bearer x\r\n\r\n",
    "one byte a chunk": b"1\r\na\r\n1\r\nb\r\n01\r\nc\r\n0\r\n\r\n",
    "a size in capitals": b"3\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("chunks", GOOD.values(), ids=GOOD)
def test_chunks_at_every_split(here: Hosted, app: App, chunks: bytes) -> None:
    """A chunked body is the same however the network cut it, and a trailer does not become a header of the request."""
    data = POST + b"transfer-encoding: chunked\r\n\r\n" + chunks
    with here.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in range(1, len(data)):
            answer = client.send(data[:cut], data[cut:]).answer()
            assert answer.json["body"] == "abc"
        assert client.send(*(data[at : at + 1] for at in range(len(data)))).answer().json["body"] == "abc"
    assert all(b"authorization" not in dict(scope["headers"]) for scope in app.seen)


def test_a_long_body_of_one_byte_chunks_is_taken(here: Hosted) -> None:
    """The bound on extensions counts no one's honest small chunks, however many."""
    with here.client() as client:
        # Told to go on, so that none of the chunks comes in one read with the head.
        assert client.send(POST + b"transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n").answer().status == 100
        answer = client.send(b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n").answer()
    assert len(answer.json["body"]) == 100_000


def test_a_request_behind_one_with_a_body_is_its_own(here: Hosted, app: App) -> None:
    """CL.0: a body that belongs to a GET is read as its body, and not as the next request."""
    with here.client() as client:
        client.send(b"GET /first HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED)
        assert client.answer().json["body"] == SMUGGLED.decode()
        assert client.ask("/second").json["path"] == "/second"
    assert app.paths == ["/first", "/second"]


def test_what_follows_the_last_request_is_not_read(here: Hosted, app: App) -> None:
    """After ``connection: close`` nothing more is a request, and the answer comes all the same."""
    with here.client() as client:
        (answer,) = client.send(request("/first", b"", b"connection: close") + SMUGGLED).answers()
    assert answer.status == 200
    assert app.paths == ["/first"]


def test_a_bad_request_behind_good_ones_is_refused_in_its_turn(here: Hosted) -> None:
    with here.client() as client:
        answers = client.send(request("/1") + request("/2") + b"GET /3 HTTP/1.1\r\n\r\n" + SMUGGLED).answers()
    assert [answer.status for answer in answers] == [200, 200, 400]


def test_a_queued_request_whose_body_breaks_is_refused_in_its_turn(here: Hosted, app: App) -> None:
    """It is not answered as well, and the application never has it."""
    broken = b"POST /broken HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n"
    with here.client() as client:
        answers = client.send(request("/1") + broken).answers()
    assert [answer.status for answer in answers] == [200, 400]
    assert app.paths == ["/1"]


def test_nothing_is_sent_after_a_body_that_breaks_amid_its_answer(here: Hosted, app: App) -> None:
    """No refusal is written into an answer: its end is missing, which tells it was cut."""

    @app.on("/first")
    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"so far", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    with socket.create_connection(("127.0.0.1", here.port), PATIENCE) as client:
        client.sendall(POST + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        came = b""
        while not came.endswith(b"so far\r\n"):
            came += client.recv(65536)
        client.sendall(b"zz\r\n")
        rest = b""
        with suppress(ConnectionError):
            while data := client.recv(65536):
                rest += data
    assert rest == b""


def test_pipelined_requests_are_answered_in_order(here: Hosted, app: App) -> None:
    """Also where the first takes longest, and where they arrive in the middle of each other."""
    go = asyncio.Event()

    @app.on("/slow")
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await say(send, b"slow")

    @app.on("/go")
    async def release(scope: Any, receive: Any, send: Any) -> None:
        go.set()
        await say(send, b"")

    with here.client() as client, here.client() as other:
        stream = request("/slow") + b"".join(request(f"/{number}", b"x" * number) for number in range(1, 20))
        client.send(stream[:100])
        other.ask("/warm")
        client.send(stream[100:700], stream[700:])
        other.ask("/go")
        assert client.answer().body == b"slow"
        assert [client.answer().json["body"] for _ in range(1, 20)] == ["x" * number for number in range(1, 20)]


def test_a_flood_of_pipelined_requests_is_bounded(here: Hosted, app: App) -> None:
    """One client cannot have the server hold thousands of requests while the first is being answered."""
    go = asyncio.Event()

    @app.on("/slow")
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await say(send, b"slow")

    with here.client() as client, here.client() as other:
        client.send(request("/slow") + request("/next") * 2000)
        other.ask("/warm")
        here.call(go.set)
        answers = client.answers()
    assert [answer.status for answer in answers[:2]] == [200, 200]
    assert answers[-1].status == 400
    assert len(answers) == 1 + 64 + 1, "the first, those that may wait for it, and the refusal"


def test_a_pipelining_client_is_not_read_until_its_turn(here: Hosted, app: App) -> None:
    """What comes while a request is answered is held up to a bound; then the client's writes block."""
    go = asyncio.Event()
    begun = threading.Event()

    @app.on("/slow")
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go.wait()
        await say(send, b"slow")

    with here.client() as client:
        client.send(request("/slow"))
        assert begun.wait(PATIENCE)
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            for _ in range(1000):
                client.send(request("/next", b"x" * 60_000) * 2)
        (connection,) = here.server.state.connections
        assert len(connection._pipelined_bytes) < 1024 * 1024
        here.call(go.set)
        client.socket.settimeout(PATIENCE)
        assert client.answer().body == b"slow"
        assert client.answer().json["path"] == "/next"


HEADS = {
    "a long target": b"GET /%b HTTP/1.1\r\nhost: here\r\n\r\n" % (b"a" * 5000),
    "a long value": request("/", b"", b"x: " + b"a" * 5000),
    "a long name": request("/", b"", b"a" * 5000 + b": x"),
    "many headers": request("/", b"", *(b"x-%d: %b" % (number, b"y" * 30) for number in range(120))),
    "a target without end": b"GET /" + b"a" * 100_000,
    "a value without end": b"GET / HTTP/1.1\r\nx: " + b"a" * 100_000,
    "empty lines without end": b"\r\n" * 50_000,
}


@pytest.mark.parametrize("data", HEADS.values(), ids=HEADS)
def test_a_head_beyond_the_limit_is_431(app: App, loop: str, data: bytes) -> None:
    """However it is cut, and before it is whole."""
    with hosted(app, Limits(head=4096), loop=loop) as here:
        for pieces in ([data], [data[at : at + 1000] for at in range(0, len(data), 1000)]):
            with here.client() as client:
                with suppress(ConnectionError):
                    client.send(*pieces)
                (answer,) = client.answers()
            assert answer.status == 431
            assert "4,096 bytes" in answer.json["error"]["message"]
    assert app.seen == []


def test_a_head_of_just_the_limit_passes_behind_a_large_body(app: App, loop: str) -> None:
    """A body's bytes are not counted as the next head's, though they come in one read."""
    with hosted(app, Limits(head=4096), loop=loop) as here, here.client() as client:
        client.send(request("/first", b"x" * 200_000) + request("/second", b"", b"x: " + b"a" * 3900))
        assert len(client.answer().json["body"]) == 200_000
        assert client.answer().json["path"] == "/second"


def test_too_many_headers_are_431(here: Hosted, app: App) -> None:
    with here.client() as client:
        (answer,) = client.send(request("/", b"", *(b"x-%d: y" % number for number in range(128)))).answers()
    assert answer.status == 431
    with here.client() as client:
        assert client.ask("/", b"", *(b"x-%d: y" % number for number in range(127))).status == 200


@pytest.mark.parametrize("head", [b"", b"G", request()[:-2], b"\r\n"], ids=["nothing", "a letter", "all but the end", "a line"])
def test_a_head_that_takes_too_long_is_408(app: App, loop: str, head: bytes) -> None:
    with hosted(app, Limits(head_seconds=0.3), loop=loop) as here, here.client() as client:
        (answer,) = client.send(head).answers()
        assert answer.status == 408
        assert answer.headers["connection"] == "close"
        assert "0.3 seconds" in answer.json["error"]["message"]
    assert app.seen == []


def test_a_trickle_is_no_excuse(app: App, loop: str) -> None:
    """A byte now and then does not extend the time for a head, on a fresh connection nor on a kept one."""
    with hosted(app, Limits(head_seconds=0.5), loop=loop) as here:
        for keep_alive in (False, True):
            with here.client() as client:
                if keep_alive:
                    assert client.ask("/").status == 200
                stop = threading.Event()

                def trickle(client: Client = client, stop: threading.Event = stop) -> None:
                    for byte in request("/", b"", b"x: " + b"a" * 2000):
                        try:
                            client.socket.send(bytes([byte]))
                        except OSError:
                            return
                        if stop.wait(0.05):
                            return

                trickling = threading.Thread(target=trickle)
                trickling.start()
                try:
                    assert client.answer().status == 408
                finally:
                    stop.set()
                    trickling.join()


def test_an_idle_connection_is_closed_without_a_word(app: App, loop: str) -> None:
    """A kept connection says nothing when its time is over: a client could take it for the answer to its next request."""
    with hosted(app, Limits(keep_alive=0.2), loop=loop) as here, here.client() as client:
        assert client.ask("/").status == 200
        assert client.ended()


def test_a_kept_connection_outlives_the_time_for_a_head(app: App, loop: str) -> None:
    with (
        hosted(app, Limits(head_seconds=0.1, keep_alive=30), loop=loop) as here,
        here.client() as client,
        here.client() as other,
    ):
        assert client.ask("/first", b"abc").status == 200
        assert other.answer().status == 408
        assert client.ask("/second").status == 200


def test_a_client_that_reads_nothing_is_cut_off(app: App, loop: str) -> None:
    """The application waits while nobody reads, and hears of the end when the client's time is over."""
    gone = threading.Event()

    @app.on("/endless")
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await whole(receive)
        leaving = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not leaving.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        gone.set()

    with hosted(app, Limits(send_seconds=0.3), loop=loop) as here, here.client() as client:
        client.send(request("/endless"))
        assert gone.wait(PATIENCE)


def test_a_body_that_nobody_reads_stays_in_the_network(here: Hosted, app: App) -> None:
    """A hundred megabytes sent to an application that does not read block after a few hundred kilobytes."""
    begun, go = threading.Event(), asyncio.Event()

    @app.on("/first")
    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go.wait()
        await say(send, b"%d" % len(await whole(receive) or b""))

    size = 100 * 1024 * 1024
    with here.client() as client:
        client.send(POST + b"content-length: %d\r\n\r\n" % size)
        assert begun.wait(PATIENCE)
        client.socket.settimeout(0.3)
        sent = 0
        with pytest.raises(TimeoutError):
            while True:
                sent += client.socket.send(b"x" * 65536)
        (connection,) = here.server.state.connections
        assert len(connection._answering.body) < 1024 * 1024
        assert sent < size / 2
        here.call(go.set)
        client.socket.settimeout(PATIENCE)
        client.send(b"x" * (size - sent))
        assert client.answer().body == b"%d" % size


def test_a_client_answered_before_its_body_is_read_and_the_rest_is_not_kept(here: Hosted, app: App) -> None:
    """A refusal of a large body arrives whole: the client is read for a while, not reset, and its body is discarded."""

    @app.on("/first")
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await say(send, b"too large", 413)

    with here.client() as client:
        client.send(POST + b"content-length: 50000000\r\n\r\n", b"x" * 10_000_000)
        (answer,) = client.answers()
        assert (answer.status, answer.body, answer.headers["connection"]) == (413, b"too large", "close")
    with here.client() as client:  # a small one is read past, and the connection is kept
        client.send(POST + b"content-length: 10\r\n\r\n")
        assert client.answer().status == 413
        assert client.send(b"x" * 10).ask("/second").json["path"] == "/second"
        assert client.ask("/third").json["path"] == "/third"


def test_silent_connections_by_the_hundred_are_all_closed_in_time(app: App, loop: str) -> None:
    """And the server answers others meanwhile."""
    with hosted(app, Limits(head_seconds=0.5), loop=loop) as here:
        silent = [here.client() for _ in range(400)]
        with here.client() as client:
            assert client.ask("/").status == 200
        assert [client.answer().status for client in silent] == [408] * 400
        for client in silent:
            client.close()
        assert here.call(lambda: len(here.server.state.timeout_queues(here.loop)[0])) == 0
