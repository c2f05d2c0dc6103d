"""Who and what comes in: keys, origins, methods, types, sizes; and what refused clients get."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from polychat.config.settings import Limits, Route
from polychat.errors import BadInput
from polychat.gateway.admission.bodies import Bodies, BodyMemoryFull, Share
from polychat.gateway.admission.keys import Keys
from polychat.gateway.admission.origins import OriginPolicy
from polychat.gateway.paths import DIALECTS
from polychat.wire.contract import names

from ...support.running_gateway import DONE, END, FIRST, Stage, asking, configured, fault, gateway, good, row, text

KEY, OTHER = "the-key-of-anna", "the-key-of-berta"
HEADERS = {
    "OpenAI": {"authorization": f"Bearer {KEY}"},
    "in lower case": {"authorization": f"bearer {KEY}"},
    "Anthropic": {"x-api-key": KEY},
    "Anthropic, newer": {"authorization": f"Bearer {KEY}", "x-api-key": KEY},
    "Google": {"x-goog-api-key": KEY},
    "Azure": {"api-key": KEY},
    "one of two": {"authorization": "Bearer something-else", "x-api-key": KEY},
}


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("ANNA", KEY)
    monkeypatch.setenv("BERTA", OTHER)
    return {"keys": {"anna": "env:ANNA", "berta": "env:BERTA"}}


@pytest.mark.parametrize("vendor", HEADERS)
async def test_keys(serve: Any, keyed: dict[str, Any], vendor: str) -> None:
    """Are taken from wherever each vendor's client puts them, and the record has the name of whose it is."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, **keyed)) as here:
        for dialect in DIALECTS:
            path, body = asking(dialect)
            assert (await here.ask(path, body, headers=HEADERS[vendor])).status == 200
        path, body = asking("openai-chat")
        assert (await here.ask(path, body, headers={"authorization": f"Bearer {OTHER}"})).status == 200
    assert [record.key for record in here.records] == ["anna"] * len(DIALECTS) + ["berta"]
    for seen in backend.seen:
        assert KEY not in str(seen.headers) + seen.target + seen.body.decode(), "the gateway's key is not the backend's to see"


async def test_a_key_in_the_query(serve: Any, keyed: dict[str, Any]) -> None:
    """As Google's oldest clients send it."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, **keyed)) as here:
        path, body = asking("gemini")
        assert (await here.ask(f"{path}?key={KEY}", body)).status == 200
        assert (await here.ask(f"{path}?key=x", body)).status == 401
        assert KEY not in "".join(record.path for record in here.records)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer "},
        {"x-api-key": KEY[:-1]},
    ],
)
async def test_no_key_or_another(keyed: dict[str, Any], dialect: str, headers: dict[str, str]) -> None:
    """401 in the dialect's format, before anything of the body is looked at; the key that was tried is not repeated."""
    async with gateway(configured({"house": row("openai-chat", "http://127.0.0.1:9")}, **keyed)) as here:
        path, _ = asking(dialect)
        answer = await here.ask(path, b"no json", headers=headers)
        (record,) = await here.app.recorded()
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "error" in answer.json
    assert KEY[:-1] not in answer.body.decode() + record.error
    assert record.key == ""


async def test_what_needs_no_key(keyed: dict[str, Any]) -> None:
    """Whether it lives and is ready; everything that tells of anything needs one."""
    async with gateway(configured({"house": row("openai-chat", "http://127.0.0.1:9")}, sites="house/small", **keyed)) as here:
        assert [(await here.ask(path)).status for path in ("/health", "/ready")] == [200, 200]
        for path in (
            "/v1/models",
            "/v1/models/house/small",
            "/v1beta/models",
            "/api/tags",
            "/api/version",
            "/metrics",
            "/sites/",
        ):
            assert (await here.ask(path)).status == 401, path
            if path != "/metrics":
                assert (await here.ask(path, headers={"x-api-key": KEY})).status == 200, path


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "localhost:1", "[::1]:8000", "house.localhost", "10.0.0.7", None]
)
async def test_a_host_of_ours(host: str | None) -> None:
    """Addresses, and names that cannot be made to point here by others."""
    async with gateway(configured({})) as here:
        assert (await here.ask("/v1/models", headers={"host": host or "127.0.0.1"})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "[", "a]b", "%"]
)
async def test_a_host_of_others(host: str) -> None:
    """Without keys a name that was made to point here is refused, whatever it looks like."""
    async with gateway(configured({}, sites="local/smollm2")) as here:
        answer = await here.ask("/v1/models", headers={"host": host})
        assert answer.status == 403
        assert "host" in answer.json["error"]["message"]
        assert (await here.ask("/sites/", headers={"host": host})).status == 403


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:9", "http://[", "https://chat.example.com.evil.example"]
)
async def test_pages_of_others(keyed: dict[str, Any], origin: str) -> None:
    """What another site's page makes a browser send is refused, with a key and without."""
    for more in ({}, keyed, {"cors": ("https://chat.example.com",)}):
        async with gateway(configured({}, **more)) as here:
            answer = await here.ask("/v1/models", headers={"origin": origin, "x-api-key": KEY})
            assert answer.status == 403
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["same-site", "cross-site", "none"])
async def test_pages_beside_ours(site: str) -> None:
    """A page of another origin of the same site is another's; only the browser's word for the same origin counts."""
    async with gateway(configured({})) as here:
        headers = {"origin": "https://chat.example.com", "sec-fetch-site": site}
        assert (await here.ask("/v1/models", headers=headers)).status == 403
        assert (await here.ask("/v1/models", headers={**headers, "sec-fetch-site": "same-origin"})).status == 200


async def test_all_pages_may() -> None:
    """Where the operator says so."""
    async with gateway(configured({}, cors=("*",))) as here:
        assert (await here.ask("/v1/models", headers={"origin": "https://anybody.example"})).status == 200


def test_hosts_are_kept_for_later_within_bounds() -> None:
    """Anybody sends any host: some are kept, and none that is long."""
    policy = OriginPolicy((), (), guarded=False)
    for number in range(1000):
        assert policy.wrong({b"host": b"h%d.example" % number}) is not None
    assert policy.wrong({b"host": b"127.0.0.1"}) is None
    assert len(policy._known) <= 256
    policy = OriginPolicy((), (), guarded=False)
    assert policy.wrong({b"host": b"h" * 10_000}) is not None
    assert not policy._known


def test_bodies_may_be_as_large_as_the_limit_together() -> None:
    """One byte more has no room, until another request is over; what is given back once is not given back twice."""
    bodies = Bodies()
    first, second = Share(bodies, 10), Share(bodies, 10)
    first.take(4)
    second.take(6)
    with pytest.raises(BodyMemoryFull, match="10 bytes"):
        second.take(1)
    first.release()
    first.release()
    second.take(3)
    assert bodies.held == 10


def test_two_names_for_one_key_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log would tell only one of them; and a key of seven letters is too short."""
    for name, value in (("ONE", "a-long-key"), ("TWO", "a-long-key"), ("SHORT", "1234567"), ("LONG", "12345678")):
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=r"gateway\.keys\.b is the same key as a"):
        Keys({"a": "env:ONE", "b": "env:TWO"})
    with pytest.raises(BadInput, match="fewer than 8"):
        Keys({"a": "env:SHORT"})
    assert Keys({"a": "env:LONG"})


async def test_pages_of_ours() -> None:
    """The gateway's own pages, and those of the origins that were named."""
    async with gateway(configured({}, cors=("https://chat.example.com/",))) as here:
        own = f"http://127.0.0.1:{here.port}"
        assert (await here.ask("/v1/models", headers={"host": own[7:], "origin": own})).status == 200
        assert (await here.ask("/v1/models", headers={"origin": "https://chat.example.com"})).status == 200


async def test_preflight(serve: Any, keyed: dict[str, Any]) -> None:
    """A browser asks first, and without a key; then it may read the answer and what its headers tell."""
    origin = "https://chat.example.com"
    backend = await serve(good)
    asks = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    path, body = asking("openai-chat")
    async with gateway(configured({"house": row("openai-chat", backend.url)}, cors=(origin,), **keyed)) as here:
        may = await here.ask(path, method="OPTIONS", headers=asks)
        assert may.status == 200
        assert may.headers["access-control-allow-origin"] == origin
        assert "POST" in may.headers["access-control-allow-methods"]
        assert "authorization" in may.headers["access-control-allow-headers"]
        answer = await here.ask(path, body, headers={"origin": origin, "authorization": f"Bearer {KEY}"})
        assert answer.headers["access-control-allow-origin"] == origin
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"x-request-id", *(name for name in answer.headers if name.startswith("x-polychat-"))} <= set(exposed)
        assert "x-polychat-losses" in exposed
        assert (await here.ask(path, method="OPTIONS", headers={**asks, "origin": "https://evil.example"})).status == 400
    async with gateway(configured({}, cors=("*",))) as here:
        assert (await here.ask("/v1/models", headers={"origin": origin})).headers["access-control-allow-origin"] == "*"
    async with gateway(configured({})) as here:
        answer = await here.ask(path, method="OPTIONS", headers=asks)
        assert answer.status >= 400
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.api+json",
        "application/x-www-form-urlencoded",
        None,
    ],
)
async def test_types_that_are_read(serve: Any, kind: str | None) -> None:
    """JSON by its names, what curl sends for any body, and a body without a type."""
    backend = await serve(good)
    path, body = asking("openai-chat")
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        assert (await here.ask(path, body, headers={"content-type": kind})).status == 200  # type: ignore[dict-item]


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/xml", "", "json"])
async def test_types_that_are_not(kind: str) -> None:
    """415: what a form on another site's page can send without asking first is among them."""
    path, body = asking("openai-chat")
    async with gateway(configured({"house": row("openai-chat", "http://127.0.0.1:9")})) as here:
        assert (await here.ask(path, body, headers={"content-type": kind})).status == 415


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_methods(dialect: str, method: str) -> None:
    """405 with what is allowed, in the dialect's format."""
    async with gateway(configured({"house": row("openai-chat", "http://127.0.0.1:9")})) as here:
        path, _ = asking(dialect)
        answer = await here.ask(path, method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert "error" in answer.json


@pytest.mark.parametrize(
    "path",
    [
        "/nix",
        "/v1/nix",
        "/v1",
        "/v2/chat/completions",
        "/V1/models",
        "/api/nix",
        "/v1beta/nix",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_paths(path: str, method: str) -> None:
    """404 as JSON with a message, as every vendor's client can show it."""
    async with gateway(configured({"house": row("openai-chat", "http://127.0.0.1:9")})) as here:
        answer = await here.ask(path, {} if method == "POST" else None, method=method)
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json["error"]


async def test_models_with_colons_in_their_names() -> None:
    """``GET /v1/models/house/llama3:8b`` is that model's, and no action of Gemini's."""
    async with gateway(configured({"house": row("ollama", "http://127.0.0.1:9", serves=["llama3:8b"])})) as here:
        answer = await here.ask("/v1/models/house/llama3:8b")
        assert (answer.status, answer.json["id"]) == (200, "house/llama3:8b")
        answer = await here.ask("/v1/models/house:llama3")
        assert (answer.status, answer.json["id"]) == (200, "house:llama3")


BAD = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "not UTF-8": b'{"model":"house/small","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "half a letter": b'{"model":"house/small","messages":[{"role":"user","content":"\xc3"}]}',
    "more behind it": b'{"model":"house/small","messages":[]} {}',
    "too deep": b'{"model":"house/small","messages":' + b"[" * 65 + b"]" * 65 + b"}",
    "far too deep": b'{"model":"house/small","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects too deep": b'{"model":"house/small","x":' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}",
    "no model": b'{"messages":[{"role":"user","content":"hi"}]}',
    "no name": b'{"model":7,"messages":[]}',
    "an empty name": b'{"model":"","messages":[]}',
    "stream": b'{"model":"house/small","messages":[],"stream":"yes"}',
    "too many": b'{"model":"house/small","messages":[' + b",".join([b'{"role":"user","content":"hi"}'] * 9) + b"]}",
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("dialect", [name for name in names() if name != "gemini"])  # whose path names the model
async def test_bodies_that_cannot_be_read(serve: Any, dialect: str, bad: str) -> None:
    """400 with what is wrong, and no backend hears of it."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, limits=Limits(messages=8))) as here:
        answer = await here.ask(asking(dialect)[0], BAD[bad])
    assert answer.status == 400
    assert answer.json["error"]
    assert len(answer.body) < 1000
    assert backend.seen == []


async def test_large_bodies(serve: Any) -> None:
    """413 as soon as it is known, announced or not, and the connection ends; one byte less is read."""
    backend = await serve(good)
    path, body = asking("openai-chat")
    limit = 4096
    fitting = json.dumps({**body, "user": ""}).encode()
    fitting = fitting.replace(b'"user": ""', b'"user": "%s"' % (b"x" * (limit - len(fitting))))
    assert len(fitting) == limit
    async with gateway(configured({"house": row("openai-chat", backend.url)}, limits=Limits(body=limit))) as here:
        assert (await here.ask(path, fitting)).status == 200
        answer = await here.ask(path, fitting + b" ")
        assert (answer.status, answer.headers.get("connection")) == (413, "close")
        assert "4,096" in answer.json["error"]["message"]
        caller = await here.caller()
        caller.raw(f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        caller.raw(b"1000\r\n" + b" " * 4096 + b"\r\n1\r\n \r\n")  # and no end
        assert (await caller.whole()).status == 413
    assert len(backend.seen) == 1


async def test_slow_bodies() -> None:
    """408 when the time for the next byte is over."""
    async with gateway(
        configured({"house": row("openai-chat", "http://127.0.0.1:9")}, limits=Limits(body_seconds=0.05))
    ) as here:
        caller = await here.caller()
        caller.raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{")
        answer = await caller.whole()
        assert (answer.status, answer.headers.get("connection")) == (408, "close")


async def test_half_a_body() -> None:
    """A client that leaves amid its request has asked nothing."""
    async with gateway(configured({"house": row("openai-chat", "http://127.0.0.1:9")})) as here:
        caller = await here.caller()
        caller.raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{")
        while not here.app.running:
            await asyncio.sleep(0)
        caller.leave()
        (record,) = await here.app.recorded()
        assert (record.verdict, record.status, record.model) == ("cancelled", 0, "")


async def test_no_more_than_so_many(serve: Any) -> None:
    """The next one gets ``retry-after``; when one is done there is room."""
    stage = Stage(FIRST, text("Hel"), rest=[END, DONE])
    backend = await serve(stage)
    path, body = asking("openai-chat", stream=True)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, limits=Limits(concurrent=2))) as here:
        callers = [await here.caller() for _ in range(2)]
        for caller in callers:
            caller.ask(path, body)
            await caller.head()
        for dialect in DIALECTS:
            answer = await here.ask(*asking(dialect))
            assert answer.status == 429
            assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("1", "1000")
            assert answer.json["error"]
        assert (await here.ask("/health")).status == 200
        stage.go.set()
        for caller in callers:
            await caller.rest()
        await here.app.recorded(2 + len(DIALECTS))
        assert (await here.ask(path, body)).status == 200


async def test_before_the_end(serve: Any) -> None:
    """While it stops: not ready, no new work, and what runs ends as it would."""
    stage = Stage(FIRST, text("Hel"), rest=[text("lo"), END, DONE])
    backend = await serve(stage)
    path, body = asking("openai-chat", "small", stream=True)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, sites="house/small")) as here:
        caller = await here.caller()
        caller.ask(path, body)
        await caller.head()
        here.app.drain()
        idle = asyncio.create_task(here.app.when_idle())
        ready = await here.ask("/ready")
        assert (ready.status, ready.headers["retry-after"]) == (503, "1")
        assert (await here.ask("/health")).status == 200
        assert (await here.ask("/sites/")).status == 503
        answer = await here.ask(path, body)
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
        assert not idle.done()
        stage.go.set()
        assert await caller.rest() == FIRST + text("Hel") + text("lo") + END + DONE
        await until_done(idle)


async def until_done(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(60):
        await task


@pytest.mark.parametrize("name", ["abc", "req_1", "0192-af:x/y.z", "a" * 128])
async def test_request_ids_that_are_kept(serve: Any, name: str) -> None:
    """A sane one is the request's name everywhere."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        for stream in (True, False):
            path, body = asking("openai-chat", stream=stream)
            assert (await here.ask(path, body, headers={"x-request-id": name})).headers["x-request-id"] == name
        assert (await here.ask("/v1/models", headers={"x-request-id": name})).headers["x-request-id"] == name
    assert {record.request_id for record in here.records} == {name}


@pytest.mark.parametrize("name", ["", "a b", "a" * 129, "ä", "a\tb", "<script>", 'a"b', "a;b"])
async def test_request_ids_that_are_not(name: str) -> None:
    """What could break a line or a log gets another name, unlike any other's."""
    async with gateway(configured({"house": row("openai-chat", "http://127.0.0.1:9")})) as here:
        ids = {(await here.ask("/v1/models", headers={"x-request-id": name})).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert name not in ids
    assert all(one.isascii() and one.replace("_", "").isalnum() for one in ids)


async def test_headers_cannot_be_injected(serve: Any) -> None:
    """A model's name, and whatever a backend says of its limits, stay in their lines."""

    async def backend(seen: Any, say: Any) -> None:
        limits = [
            ("X-RateLimit-Remaining-Tokens", "17"),
            ("anthropic-ratelimit-x", "a\tb"),
            ("Set-Cookie", "a=b"),
            ("x-evil", "1"),
        ]
        await say.whole(
            {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]},
            headers=limits,
        )

    served = await serve(backend)
    evil = "house/small\r\nset-cookie: a=b\r\n\r\n<h1>ü\x00"
    async with gateway(configured({"house": row("openai-chat", served.url)})) as here:
        for dialect in ("openai-chat", "anthropic"):
            answer = await here.ask(*asking(dialect, evil))
            assert answer.status == 200
            assert answer.headers["x-ratelimit-remaining-tokens"] == "17"
            assert "set-cookie" not in answer.headers
            assert "x-evil" not in answer.headers
            assert answer.headers["x-polychat-model"].isascii()
            assert answer.headers["x-polychat-model"].isprintable()
        answer = await here.ask(*asking("openai-chat", "nobody/x\r\nset-cookie: a=b"))
        assert answer.status == 404
        assert "set-cookie" not in answer.headers


async def test_limits_of_a_backend_that_refuses(serve: Any) -> None:
    """Are reported as well: that is when a client wants to know them."""
    backend = await serve(fault(429, "rate_limit_error", x_ratelimit_remaining_requests="0", retry_after="3"))
    config = configured({"house": row("openai-chat", backend.url)}, routes={"one": Route(("house/small",), attempts=1)})
    for dialect in ("openai-chat", "anthropic"):
        async with gateway(config) as here:
            answer = await here.ask(*asking(dialect, "one"))
            assert answer.headers["retry-after"] == "3"
            assert answer.headers.get("x-ratelimit-remaining-requests") == "0"


async def test_many_on_one_connection(serve: Any) -> None:
    """Refused and answered in turn: each answer is its own request's."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        caller = await here.caller()
        for number in range(6):
            path, body = asking("openai-chat", "house/small" if number % 2 else "nobody/x")
            caller.ask(path, body, headers={"x-request-id": f"r{number}"})
            answer = await caller.whole()
            assert (answer.status, answer.headers["x-request-id"]) == (200 if number % 2 else 404, f"r{number}")
