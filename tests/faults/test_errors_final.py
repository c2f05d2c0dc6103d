"""Refusals that would be repeated have ``x-should-retry: false``, for every client; the others do not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from polychat.config.access import Admin
from polychat.config.settings import Limits
from polychat.gateway.paths import ENDPOINTS
from polychat.gateway.sites import Sites, echo
from polychat.http.server.refusals import FIRST, RefusedRequest

from ..support.running_gateway import Answer, Stage, asking, configured, gateway, good, row, until
from ..support.scripted_server import serving
from ..support.sites_application import running

POSTS = [
    *(path for path, endpoint in ENDPOINTS.items() if endpoint.method == "POST"),
    *(f"/v1beta/models/m:{action}" for action in ("generateContent", "streamGenerateContent", "countTokens", "embedContent")),
]
GETS = [*(path for path, endpoint in ENDPOINTS.items() if endpoint.method == "GET"), "/v1/models", "/v1beta/models"]
BESIDE = ["/", "/metrics", "/openapi.json", "/admin/requests", "/admin/targets"]
"""Paths of no dialect; each is for GET."""
UNKNOWN = ["/x", "/v1/x", "/v1beta/x", "/api/x", "/v1/messages/x/y", "/admin/x", "/sites/x", "/v1/responses/resp_x"]
LIMITS = Limits(body=1000)
HOUSE = {"house": row("openai-chat", "http://127.0.0.1:9")}
LARGE = b'{"model": "' + b"m" * 2000 + b'"}'


def check_final(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.body
    assert answer.headers.get("x-should-retry") == "false", answer.body


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("status", "method", "body", "headers"),
    [
        (405, "DELETE", {}, {}),
        (426, "GET", None, {"upgrade": "websocket", "connection": "upgrade"}),
        (415, "POST", {}, {"content-type": "text/xml"}),
        (415, "POST", {}, {"content-encoding": "compress"}),
        (413, "POST", LARGE, {}),
        (400, "POST", b"{", {}),
        (400, "POST", b"[]", {}),
        (403, "POST", {}, {"host": "evil.example"}),
        (403, "POST", {}, {"origin": "https://evil.example"}),
    ],
)
async def test_each_refusal_of_each_endpoint(
    path: str, status: int, method: str, body: Any, headers: Mapping[str, str]
) -> None:
    """Wrong method, type, coding, size or body, and hosts and pages of others: at every path that takes a request."""
    async with gateway(configured({}, limits=LIMITS)) as here:
        check_final(await here.ask(path, body, method, headers), status)


@pytest.mark.parametrize("path", [*GETS, *BESIDE, "/health"])
async def test_each_path_that_is_only_read(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong method, and hosts of others; load balancers may use any."""
    monkeypatch.setenv("ADMIN_KEY", "an-admin-key")
    async with gateway(configured({}, admin=Admin(keys={"ops": "env:ADMIN_KEY"}))) as here:
        check_final(await here.ask(path, method="DELETE"), 405)
        if path != "/health":
            check_final(await here.ask(path, headers={"host": "evil.example"}), 403)


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_each_path_that_is_none(path: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of whatever dialect."""
    monkeypatch.setenv("ADMIN_KEY", "an-admin-key")
    async with gateway(configured(HOUSE, sites="house/small", admin=Admin(keys={"ops": "env:ADMIN_KEY"}))) as here:
        answer = await here.ask(path, {} if method == "POST" else None, method)
        check_final(answer, 405 if (path, method) == ("/v1/responses/resp_x", "POST") else 404)


@pytest.mark.parametrize("path", [*POSTS, *GETS, *BESIDE[1:2], *BESIDE[3:], "/sites/chatgptduo/", "/admin/requests/req_x"])
async def test_each_path_that_needs_a_key(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, or with one that is not known."""
    monkeypatch.setenv("CHAT_KEY", "a-chat-key")
    monkeypatch.setenv("ADMIN_KEY", "an-admin-key")
    keys: dict[str, Any] = {"keys": {"alice": "env:CHAT_KEY"}, "admin": Admin(keys={"ops": "env:ADMIN_KEY"})}
    method = "POST" if path in POSTS else "GET"
    async with gateway(configured(HOUSE, sites="house/small", **keys)) as here:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            check_final(await here.ask(path, {} if method == "POST" else None, method, headers), 401)
        if path == "/admin/requests/req_x":
            check_final(await here.ask(path, headers={"authorization": "Bearer an-admin-key"}), 404)


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [
        (400, b"\x16\x03\x01"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"a%d: b\r\n" % at for at in range(200)) + b"\r\n"),
        (501, b"CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\nhost: x\r\n\r\n"),
    ],
)
async def test_requests_that_are_no_http(status: int, request_bytes: bytes) -> None:
    """The server refuses them before any application hears of them."""
    async with gateway(configured({})) as here:
        caller = await here.caller()
        caller.raw(request_bytes)
        check_final(await caller.whole(), status)


@pytest.mark.parametrize("status", FIRST)
def test_each_status_of_the_server(status: int) -> None:
    """A request that was too slow, and failures of the server, may pass another time."""
    final = b"x-should-retry: false\r\n" in RefusedRequest(status, "m").headers_and_body()
    assert final == (status not in (408, 500, 503))


async def test_the_sites_by_themselves() -> None:
    """``polychat sites`` refuses as the gateway does."""
    async with running(Sites(echo), Limits(concurrent=9)) as url, asyncio.timeout(60):
        for headers, path, status in [({}, "x", 404), ({"host": "evil.example"}, "chatgptduo/", 403)]:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            host = headers.get("host", "127.0.0.1")
            writer.write(f"GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 %d" % status)
            assert b"x-should-retry: false\r\n" in answer


async def test_what_may_pass_another_time_does_not_say_so() -> None:
    """A body that came too slowly, too many requests at once, and a gateway that is stopping."""
    stage = Stage(None, then=good)
    limits = Limits(concurrent=1, body_seconds=0.05)
    async with (
        serving(stage) as backend,
        gateway(configured({"house": row("openai-chat", backend.url)}, limits=limits)) as here,
    ):
        slow = await here.caller()
        slow.raw(b"POST /v1/messages HTTP/1.1\r\nhost: x.localhost\r\ncontent-length: 9\r\n\r\n{")
        answers = [await slow.whole()]
        busy = await here.caller()
        busy.ask(*asking("openai-chat"))
        await until(stage.asked)
        answers += [await here.ask(*asking("anthropic")), await here.ask("/v1/models")]
        stage.go.set()
        await busy.whole()
        here.app.drain()
        answers += [await here.ask(*asking("anthropic")), await here.ask("/ready")]
    assert [answer.status for answer in answers] == [408, 429, 429, 529, 503]
    assert all("x-should-retry" not in answer.headers for answer in answers)
