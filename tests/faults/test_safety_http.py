"""Kinds: what hostile bytes, a web page or a lost connection do to the HTTP server, the sites and the pool."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import signal
import socket
import struct
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from polychat.config.settings import Direct, Limits, Route
from polychat.errors import NotReady
from polychat.events import Event, Text
from polychat.gateway.admission.guards import in_order
from polychat.gateway.context import Guard, RequestContext
from polychat.gateway.sites import Sites, echo
from polychat.http.body import Body
from polychat.http.pool.pool import pool
from polychat.transport import StreamSession
from polychat.wire.answering import SiteRequest
from polychat.wire.reading import complete

from ..support.gateway_processes import started
from ..support.proxies import listening
from ..support.running_gateway import (
    ASKS,
    BASES,
    DONE,
    END,
    FIRST,
    PATIENCE,
    Caller,
    Stage,
    asking,
    completion,
    configured,
    fault,
    gateway,
    good,
    row,
    text,
    until,
)
from ..support.scripted_server import Say, Seen
from ..support.sites_application import running

FORM = b"prompt=hi&search=hi&purpose=ask"
FORMS = {"content-type": "application/x-www-form-urlencoded"}
H2C = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAoAAAAAIAAAAA"}


async def called(url: str) -> Caller:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return Caller(*await asyncio.open_connection(host, int(port)))


# The sites' own server.


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "https://chat-gpt.org"},
        {"origin": "null"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "same-site"},
    ],
)
async def test_the_sites_answer_no_page_of_others(headers: dict[str, str]) -> None:
    """A form that a web page makes a browser send, or a name that was made to point here, reaches no backend."""
    reached: list[SiteRequest] = []

    async def answer(question: SiteRequest) -> AsyncGenerator[list[Event], None]:
        reached.append(question)
        yield [Text("x"), complete()]

    async with running(Sites(answer)) as url:
        caller = await called(url)
        caller.ask("/chatgptduo/", FORM, headers={**FORMS, **headers})
        assert (await caller.whole()).status == 403
        caller.leave()
    assert not reached


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://127.0.0.1:{port}"}, {"origin": "https://gptalk.net", "sec-fetch-site": "same-origin"}],
)
async def test_the_sites_answer_their_own_clients(headers: dict[str, str]) -> None:
    """Programs send no origin, ours, or their old site's with a word that no page can make a browser say."""
    async with running(Sites(echo)) as url:
        port = url.rpartition(":")[2]
        caller = await called(url)
        sent_headers = {"host": f"127.0.0.1:{port}", **{name: value.format(port=port) for name, value in headers.items()}}
        caller.ask("/chatgptduo/", FORM, headers={**FORMS, **sent_headers})
        answer = await caller.whole()
        caller.leave()
    assert (answer.status, answer.json["answer"]) == (200, "echo: hi")


async def test_endless_heads_end_at_the_sites() -> None:
    """Headers without end are answered with 431 after so many bytes, and take no memory beyond."""
    async with running(Sites(echo), Limits(head=4096)) as url:
        caller = await called(url)
        caller.raw(b"POST /chatgptduo/ HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        for _ in range(64):
            caller.raw(b"x-a: " + b"a" * 120 + b"\r\n")
        assert (await caller.head()).status == 431
        caller.leave()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /chatgptduo/ HTTP/1.1\r\nhost: 127.0.0.1\r\n", 408),
        (b"POST /chatgptduo/ HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\nhi", 408),
    ],
)
async def test_the_sites_have_clocks(sent: bytes, status: int) -> None:
    """A client that stops amid its head or its body gets an error, and is disconnected."""
    async with running(Sites(echo, patience=0.1), Limits(head_seconds=0.1)) as url:
        caller = await called(url)
        caller.raw(sent)
        assert (await caller.head()).status == status
        await caller.over()
        caller.leave()


async def test_the_gateways_sites_have_the_bodys_clock_and_take_a_place() -> None:
    """A body of ``/sites`` that does not come takes a place while it is waited for, and ends by the clock."""
    limits = Limits(concurrent=1, body_seconds=0.2)
    async with gateway(
        configured({"house": row("openai-chat", "http://127.0.0.1:9")}, sites="house/small", limits=limits)
    ) as here:
        slow = await here.caller()
        slow.raw(b"POST /sites/chatgptduo/ HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\nhi")
        async with asyncio.timeout(PATIENCE):
            while not here.app.running:
                await asyncio.sleep(0)
        assert (await here.ask("/sites/aichat/chat")).status == 429
        assert (await here.ask("/v1/models")).status == 429
        assert (await slow.head()).status == 408
        await here.app.recorded(3)
        assert (await here.ask("/sites/aichat/chat")).status == 200
    assert [record.status for record in here.records if record.dialect == "sites"] == [429, 408, 200]


@pytest.mark.parametrize("path", ["/", "/metrics", "/openapi.json", "/nothing", "/sites/", "/sites/aichat/chat", "/v1/models"])
async def test_every_path_that_tells_anything_has_the_rule_of_hosts(path: str) -> None:
    """Without keys each answers loopback's names only, and no page of others; its health is public."""
    async with gateway(configured({}, sites="local/smollm2")) as here:
        for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
            assert (await here.ask(path, headers=headers)).status == 403
            for probe in ("/health", "/ready"):
                assert (await here.ask(probe, headers=headers)).status == 200


# What a client may do with a connection.


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("where", ["sites", "gateway"])
async def test_a_request_that_offers_another_protocol_keeps_its_body(where: str, framing: str) -> None:
    """``Upgrade: h2c``, which curl, Java and curl_cffi say, is passed over: the request is answered in HTTP/1.1, whole."""
    head = "".join(f"{name}: {value}\r\n" for name, value in {**FORMS, **H2C, "host": "127.0.0.1"}.items())
    body = FORM if framing == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(FORM), FORM)
    frame = f"content-length: {len(FORM)}" if framing == "length" else "transfer-encoding: chunked"
    for cut in (0, 1, len(body)):
        async with running(Sites(echo)) as url, gateway(configured({}, sites="local/smollm2")) as here:
            caller = await called(url if where == "sites" else here.url)
            path = "/chatgptduo/" if where == "sites" else "/v1/chat/completions"
            caller.raw(f"POST {path} HTTP/1.1\r\n{head}{frame}\r\n\r\n".encode() + body[:cut])
            await asyncio.sleep(0)
            caller.raw(body[cut:])
            answer = await caller.whole()
            caller.leave()
            assert answer.json["answer"] == "echo: hi" if where == "sites" else "not a JSON object" in str(answer.json)


# What is sent to a backend.


def resets(say: Say) -> None:
    """Both sides' connection, at once."""
    say._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    say._writer.transport.abort()
    say.closing = True


@pytest.mark.parametrize("reset", [True, False])
async def test_a_question_that_a_backend_read_is_asked_once_where_one_attempt_is_allowed(serve: Any, reset: bool) -> None:
    """However the kept connection ends after that: the backend may have answered it, and bill it."""

    async def handler(seen: Seen, say: Say) -> None:
        if len(backend.seen) != 2:
            await say.whole(completion("Hello"))
        elif reset:
            resets(say)
        else:
            await say.cut()

    backend = await serve(handler)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, direct=Direct(attempts=1))) as here:
        statuses = [(await here.ask(*asking("openai-chat"))).status for _ in range(3)]
    assert (statuses, len(backend.seen), backend.connections) == ([200, 502, 200], 3, 2)


async def test_a_question_that_was_not_written_whole_is_asked_again() -> None:
    """A kept connection that is lost amid a long body: nobody has read it to its end."""
    requests = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            requests += 1
            if requests == 2:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(size)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with listening(talk) as server, asyncio.timeout(PATIENCE):
        for body in (b"{}", b" " * 32 * 1024 * 1024):
            response = await pool().request("POST", server.url, headers={}, body=body)
            assert await response.read() == b"{}"
    assert requests == 3


@pytest.mark.parametrize("name", ["small", "house/small"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", BASES)
async def test_a_backend_reads_the_model_that_was_routed_by(serve: Any, dialect: str, stream: bool, name: str) -> None:
    """A key that is there twice, in whatever spelling, goes on once: no backend of the same wire takes the other one."""
    backend = await serve(fault(400))
    path, body = asking(dialect, name, stream=stream)
    rest = json.dumps(body)[1:]
    config = configured(
        {"house": row(dialect, backend.url)},
        routes={"small": Route(targets=("house/small",), attempts=1)},
        direct=Direct(attempts=1),
    )
    for twice in ('"model": "dear"', '"mod\\u0065l": "dear"', '"Model": "dear"', '"MODEL": "dear", "\\u004dodel": "dear"'):
        async with gateway(config) as here:
            caller = await here.caller()
            caller.ask(path, ("{" + twice + ", " + rest).encode(), headers={"content-type": "application/json"})
            await caller.whole()
    seen = [(one.target, json.loads(one.body, object_pairs_hook=list)) for one in backend.seen]
    assert len(seen) >= 4
    for target, pairs in seen:
        models = [value for key, value in pairs if key.lower() == "model"]
        assert models == ([] if dialect == "gemini" else ["small"])
        assert dialect != "gemini" or "/models/small:" in target


@pytest.mark.parametrize("way", ["pool", "pool, heard out", "session"])
@pytest.mark.parametrize("how", ["piece", "read"])
@pytest.mark.parametrize("begun", [b"", b"some"])
async def test_a_response_that_another_task_closes_ends_its_reader(serve: Any, way: str, how: str, begun: bytes) -> None:
    """With an error, whether it waits for the first byte or a later one; a reader is never left to wait for ever."""
    stage = Stage(begun)
    backend = await serve(stage)

    async def read(response: Body) -> None:
        while await (response.piece() if how == "piece" else response.read()):
            pass

    async with StreamSession() as session, asyncio.timeout(PATIENCE):
        if way == "session":
            response: Any = await session.get(backend.url)
        else:
            response = await pool().request("GET", backend.url, headers={})
        await until(stage.asked)
        reading = asyncio.ensure_future(read(response))
        for _ in range(20):
            await asyncio.sleep(0)
        response.finish() if way == "pool, heard out" else response.close()
        with pytest.raises(NotReady):
            await reading
        stage.go.set()


async def test_a_reader_of_a_closed_response_takes_nothing_of_the_next(serve: Any) -> None:
    """Its connection may be another request's before it has its turn."""
    backend = await serve(Stage(b"some", rest=[b"own"]))
    response = await pool().request("GET", backend.url, headers={})
    connection = response._connection
    assert await response.piece() == b"some"
    reading = asyncio.ensure_future(response.piece())
    await asyncio.sleep(0)
    connection.data_received(b"0\r\n\r\n")
    response.close()
    connection._body.append(b"of another request")
    with pytest.raises(NotReady):
        await reading


# How the server ends.


@pytest.mark.parametrize("dialect", ASKS)
async def test_a_stream_that_is_cut_when_the_gateway_stops_tells_of_it(serve: Any, dialect: str) -> None:
    """Passed or translated, in its dialect and with the end of HTTP's body: its reader knows that it is cut, and why."""
    stage = Stage(FIRST, text("Hel"))
    backend = await serve(stage)
    path, body = asking(dialect, stream=True)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        caller = await here.caller()
        caller.ask(path, body)
        await caller.head()
        await caller.until(b"Hel")
        here.app.drain()
        for connection in list(here.state.connections):
            connection.shutdown()
        await asyncio.sleep(0)  # the tasks that it began run, as they do in a server, which waits for its grace
        for task in list(here.state.tasks):
            task.cancel()
        rest = await caller.rest()
        await until(stage.left)
        (record,) = await here.app.recorded()
    assert b"the gateway is shutting down" in rest
    assert (record.verdict, "shutting down" in record.error) == ("truncated", True)


async def test_a_stream_of_heartbeats_is_reported_too(serve: Any) -> None:
    """Of one that waits for its backend, a sign of life is all that was sent."""
    stage = Stage(None)
    backend = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, heartbeat=0.01)) as here:
        caller = await here.caller()
        caller.ask(*asking("openai-chat", stream=True))
        await caller.head()
        here.app.drain()
        for task in list(here.state.tasks):
            task.cancel()
        assert b"the gateway is shutting down" in await caller.rest()


# A client that ends its side only.


@pytest.mark.parametrize("amid", [True, False])
async def test_a_client_that_only_ends_its_side_has_its_whole_answer(serve: Any, amid: bool) -> None:
    """Before the answer, and amid a stream: it sent all that it had to send, and waits."""
    stage = (
        Stage(FIRST, text("Hel"), rest=[text("lo"), END, DONE]) if amid else Stage(None, rest=[FIRST, text("lo"), END, DONE])
    )
    backend = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        caller = await here.caller()
        caller.ask(*asking("openai-chat", stream=True))
        await until(stage.asked)
        if amid:
            await caller.head()
            await caller.until(b"Hel")
        caller._writer.write_eof()
        for _ in range(20):
            await asyncio.sleep(0)
        stage.go.set()
        if not amid:
            assert (await caller.head()).status == 200
        rest = await caller.rest()
        (record,) = await here.app.recorded()
    assert b"lo" in rest
    assert rest.endswith(DONE)
    assert record.verdict == "complete"


@pytest.mark.parametrize("body", [b"", b"content-length: 40\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: 127.0.0.1"])
async def test_nothing_behind_connect_is_a_request(body: bytes) -> None:
    """It is refused, the connection ends, and what came with it is read by nobody as a request of its own."""
    async with gateway(configured({})) as here:
        caller = await here.caller()
        caller.raw(b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: 127.0.0.1\r\n" + (body or b"\r\n") + b"\r\n\r\n")
        answer = await caller.whole()
        assert (answer.status, answer.headers["connection"]) == (501, "close")
        caller._writer.write_eof()
        assert await caller.over() == b""
        assert not here.records


# How it starts.

_HUNG = """
import os, signal, sys
from polychat.cli import main
from polychat.gateway.process import source
load = source.ConfigSource.read
def read(self):
    os.kill(os.getpid(), signal.SIGHUP)
    source.ConfigSource.read = load
    return load(self)
source.ConfigSource.read = read
sys.exit(main(["serve", "--config", sys.argv[1], "--port", "0", "--workers", sys.argv[2]]))
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_during_the_start_is_handled_after_it(tmp_path: Path, workers: str) -> None:
    """It ends nothing: the configuration is read anew as soon as there is one who serves."""
    file = tmp_path / "polychat.toml"
    file.write_text("[gateway]\ngrace = 1\n")
    with started("-c", _HUNG, str(file), workers) as gateway:
        gateway.hears("listening on" if workers == "2" else "configuration reloaded")  # a supervisor hands it on to its workers
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0


class _OpensFile(Guard):
    async def before(self, context: RequestContext) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("dialect", ASKS)
async def test_a_file_that_the_gateway_itself_cannot_open_is_no_defect(serve: Any, dialect: str) -> None:
    """Where no descriptor is left for a file of its own, such as a module that is loaded late, the client gets 503 too."""
    guards = {"guards": lambda runtime, service: in_order([], [_OpensFile()])}
    async with gateway(configured({"house": row("openai-chat", (await serve(good)).url)}), **guards) as here:
        answer = await here.ask(*asking(dialect))
        assert (answer.status, answer.headers["retry-after"]) == (529 if dialect == "anthropic" else 503, "1")
        assert "open files" in here.records[-1].error


@pytest.mark.parametrize("warm", [True, False])
async def test_a_gateway_without_file_descriptors_reports_that_in_its_log(serve: Any, warm: bool) -> None:
    """The client gets 503, the log says what to raise, and no backend is blamed."""
    backend, other = await serve(good), await serve(good)
    providers = {"house": row("openai-chat", backend.url), "other": row("openai-chat", other.url)}
    async with gateway(configured(providers)) as here:
        caller = await here.caller()
        caller.ask(*asking("openai-chat", "other/small")) if warm else caller.ask("/health")
        assert (await caller.whole()).status == 200
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            caller.ask(*asking("openai-chat"))
            answer = await caller.whole()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        record = [one for one in here.records if one.dialect == "openai-chat"][-1]
        assert (answer.status, "open files" in record.error) == (503, True)
        assert (await here.ask(*asking("openai-chat"))).status == 200
