"""Kinds: how much of clients' names and bodies is kept, and for how long."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from polychat.config.settings import Limits
from polychat.errors import BadInput
from polychat.events import Event, Finish, Start, Text, Usage
from polychat.gateway.admission.bodies import Bodies, BodyMemoryFull, Share
from polychat.gateway.dialects.gemini.endpoints import OF_MODELS
from polychat.gateway.paths import DIALECTS, ENDPOINTS
from polychat.gateway.sites import Sites, echo
from polychat.routing.resolve import LONGEST
from polychat.types import ChatRequest
from polychat.wire.contract import names as wires

from ..support.gateway_for_clients import house
from ..support.running_gateway import Running, asking, configured, gateway, good, row
from ..support.sites_application import running

POSTS = sorted(path for path, endpoint in ENDPOINTS.items() if endpoint.method == "POST")
BODY = {
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 5,
    "stream": False,
}
PROMPTS = {
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/responses/input_tokens": {"input": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/api/generate": {"prompt": "hi", "stream": False},
    "/api/embed": {"input": "hi"},
    "/api/embeddings": {"prompt": "hi"},
    "/api/show": {},
}


def named(path: str, model: str) -> bytes:
    return json.dumps({"model": model, **PROMPTS.get(path, BODY)}).encode()


def here_only(**limits: Any) -> Any:
    return configured({"house": row("openai-chat", "http://127.0.0.1:9")}, limits=Limits(**limits))


async def refused_by_length(here: Running, path: str, body: bytes) -> None:
    answer = await here.ask(path, body)
    assert answer.status == 400, path
    assert str(LONGEST).encode() in answer.body, path
    assert b"y" * 300 not in answer.body, path


@pytest.mark.parametrize("path", POSTS)
async def test_names_of_models_are_bounded_in_every_dialect(path: str) -> None:
    """A longer name is answered with 400 that tells the limit, one of the limit's length with 404; neither is kept."""
    async with gateway(here_only()) as here:
        names = here.app.runtime.resolver
        before = dict(names._plans)
        await refused_by_length(here, path, named(path, "y" * (LONGEST + 1)))
        await refused_by_length(here, path, named(path, "y" * 1_000_000))
        assert (await here.ask(path, named(path, "y" * LONGEST))).status == 404
        records = await here.app.recorded(3)
        assert max(len(record.model) for record in records) <= LONGEST
        assert names._plans == before


@pytest.mark.parametrize("action", sorted(OF_MODELS))
async def test_names_in_paths_are_bounded(action: str) -> None:
    """Gemini's endpoints have the name in their path."""
    hi = {"parts": [{"text": "hi"}]}
    body = {"contents": [hi]}
    if action == "embedContent":
        body = {"content": hi}  # type: ignore[dict-item]
    elif action == "batchEmbedContents":
        body = {"requests": [{"model": "models/x", "content": hi}]}  # type: ignore[dict-item]
    async with gateway(here_only()) as here:
        await refused_by_length(here, f"/v1beta/models/{'y' * (LONGEST + 1)}:{action}", json.dumps(body).encode())


async def test_lists_of_names_are_bounded() -> None:
    """What OpenRouter's ``models`` and ``provider`` may list has an end, and each of the names its own."""
    async with gateway(here_only()) as here:
        for more in (
            {"models": ["house/small"] * 100_000},
            {"models": ["y" * 300]},
            {"provider": {"order": ["a"] * 10_000, "ignore": ["b"] * 10_000}},
        ):
            path, body = asking("openai-chat", "house/small", **more)
            answer = await here.ask(path, body)
            assert answer.status == 400
            assert "the limit is" in answer.json["error"]["message"]


@pytest.mark.parametrize("name", wires())
async def test_a_backends_name_for_its_model_is_bounded(name: str) -> None:
    """What a backend calls its model is kept as a label in every dialect, passed or translated, whole or not: up to a limit."""

    def answer(request: ChatRequest) -> list[list[Event]]:
        request.model = "m" * 5_000  # by which the reply names it
        return [[Start("1", request.model), Text("Hello")], [Usage(1, 2, 3), Finish("complete", "stop")]]

    async with house(name, answer) as (here, _):
        for dialect in DIALECTS:
            for stream in (False, True):
                assert (await here.ask(*asking(dialect, "house/m", stream=stream))).status == 200
        records = await here.app.recorded(2 * len(DIALECTS))
        assert {record.passthrough for record in records} == {False, True}
        assert {len(record.served) for record in records} == {LONGEST}


async def test_headers_that_are_passed_on_are_bounded(serve: Any) -> None:
    """A header that goes to the backend, and is kept with the request's head, is refused beyond a limit."""
    backend = await serve(good)
    async with gateway(configured({"house": row("anthropic", backend.url)})) as here:
        path, body = asking("anthropic", "house/small")
        answer = await here.ask(path, body, headers={"anthropic-beta": "x" * 5_000})
        assert answer.status == 400
        assert b"anthropic-beta" in answer.body
    assert not backend.seen


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
async def test_bodies_under_way_have_a_total(dialect: str) -> None:
    """A body that takes all of them over the limit is answered with 503 and ``retry-after``, in the dialect's own terms;
    when another request is over there is room again.
    """
    async with gateway(here_only(body_total=10_000)) as here:
        slow = await here.caller()
        slow.raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9000\r\n\r\n" + b" " * 8_000)
        while here.app.bodies.held < 8_000:
            await asyncio.sleep(0)
        path, body = asking(dialect, "nobody/at-all")
        sent = json.dumps(body).encode().ljust(3_000)
        answer = await here.ask(path, sent)
        assert answer.status == (529 if dialect == "anthropic" else 503)  # Anthropic's own word for the same
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
        assert "body_total" in json.dumps(answer.json)
        slow.leave()
        await here.app.recorded(2)
        assert here.app.bodies.held == 0
        assert (await here.ask(path, sent)).status == 404
        assert here.app.bodies.held == 0


async def test_a_compressed_body_takes_what_it_inflates_to() -> None:
    """Of the total, too: a few bytes of gzip are no way round it."""
    async with gateway(here_only(body_total=10_000)) as here:
        path, body = asking("openai-chat", "nobody/at-all")
        for size, status in ((5_000, 404), (20_000, 503)):
            sent = gzip.compress(json.dumps(body).encode().ljust(size))
            assert len(sent) < 1_000
            answer = await here.ask(path, sent, headers={"content-encoding": "gzip"})
            assert answer.status == status
        assert here.app.bodies.held == 0


async def test_bodies_of_the_sites_have_the_same_total() -> None:
    """Their requests are counted as well, and answered with 503."""
    async with running(Sites(echo), Limits(body_total=1_024)) as url:
        host, port = url.removeprefix("http://").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        body = b"prompt=" + b"x" * 2_000
        head = "POST /chatgptduo/ HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n"
        writer.write(head.format(host).encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1" in answer
        writer.close()


def test_a_share_is_given_back() -> None:
    """What a request took is held until it is over, also where it was the one too many."""
    bodies = Bodies()
    one, other = Share(bodies, 100), Share(bodies, 100)
    one.take(60)
    with pytest.raises(BodyMemoryFull):
        other.take(50)
    assert bodies.held == 110
    other.release()
    other.release()
    one.take(-20)
    assert bodies.held == 40
    one.release()
    assert bodies.held == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/sites/chatgptduo/"])
async def test_a_body_that_trickles_has_a_total_clock(path: str) -> None:
    """However steadily its bytes come: 408 when the time for all of it is over, and its place is free."""
    limits = Limits(upload_seconds=0.1, concurrent=1)
    made = configured({"house": row("openai-chat", "http://127.0.0.1:9")}, limits=limits, sites="house/small")
    async with gateway(made) as here:
        caller = await here.caller()
        caller.raw(f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000000\r\n\r\n".encode())
        head = asyncio.ensure_future(caller.head())
        while not head.done():
            caller.raw(b" ")
            await asyncio.sleep(0)
        assert (await head).status == 408
        caller.leave()
        await here.app.recorded(1)
        assert here.app.running == 0
        assert here.app.bodies.held == 0


def test_the_librarys_names_are_bounded() -> None:
    """A name of any length is refused before it is compared with all that are known."""
    from polychat import config
    from polychat.backends.registry import Registry
    from polychat.routing import ModelResolver

    names = ModelResolver(Registry(config.Config()))
    for name in ("y" * 1_000_000, "openai/" + "y" * 1_000_000, "y/" * 500_000):
        with pytest.raises(BadInput, match=str(LONGEST)):
            names.plan(name)
    assert all(len(name) <= LONGEST for name in names._plans)
