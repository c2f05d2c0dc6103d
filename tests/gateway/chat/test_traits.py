"""What of a chat counts when its target is chosen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from polychat.config.settings import GatewaySettings as Settings
from polychat.config.settings import Limits, Route
from polychat.errors import BadInput
from polychat.gateway.chat.traits import SESSIONS, ChatTraits
from polychat.gateway.dialects.bodies import open_body
from polychat.gateway.dialects.dialect import Dialect, InboundChat
from polychat.routing import Plan
from polychat.routing.traits import RequestTraits
from polychat.types import ChatMessage, ChatRequest, Format, ImagePart, TextPart, Tool
from polychat.wire.contract import names, wire_named
from polychat.wire.json_text import encoded

from ...support.running_gateway import asking, configured, gateway, good, row
from ...support.scripted_server import Say, Seen

BE_BRIEF = ChatMessage("system", [TextPart("Be brief.")])
PICTURE = ImagePart(data=b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 512, media_type="image/png")


def conversation(*texts: str, picture: ImagePart | None = None) -> list[ChatMessage]:
    turns = [ChatMessage("assistant" if place % 2 else "user", [TextPart(text)]) for place, text in enumerate(texts)]
    if picture is not None:
        turns[0].parts.append(picture)
    return [BE_BRIEF, *turns]


def traits(name: str, request: ChatRequest, headers: dict[bytes, bytes] | None = None, **fields: Any) -> ChatTraits:
    dialect = type("Spoken", (Dialect,), {"name": name, "wire": wire_named(name)})()
    body = encoded({**wire_named(name).write_request(request, vendor=""), "model": "m", **fields})
    inbound = InboundChat(dialect, *open_body(body, Limits()), request.model, False, Limits(), dialect.passes)
    runtime = SimpleNamespace(catalog=SimpleNamespace(is_known=False), gateway=Settings())
    service, record = SimpleNamespace(people=None, signed=None), SimpleNamespace(key=None)
    context = SimpleNamespace(headers=headers or {}, runtime=runtime, service=service, record=record)
    return ChatTraits(context, inbound, Plan("fast", (), Route()))  # type: ignore[arg-type]  # all that is read of it


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("picture", [None, PICTURE], ids=["text", "picture"])
def test_a_conversation_keeps_its_key(name: str, picture: ImagePart | None) -> None:
    """It goes by the system's and the user's first messages: the same for each later turn, another one for another question."""
    first, later, other = (
        traits(name, ChatRequest("m", conversation(*texts, picture=picture))).affinity
        for texts in (("Hello?",), ("Hello?", "Hello.", "And now?"), ("Hullo?",))
    )
    assert first is not None
    assert first == later != other


@pytest.mark.parametrize("name", names())
def test_who_names_the_conversation(name: str) -> None:
    """A header or the body's own word takes precedence over the text."""
    one, other = ChatRequest("m", conversation("One")), ChatRequest("m", conversation("Other"))
    for header in SESSIONS:
        keys = [traits(name, request, {header: b"s1"}).affinity for request in (one, other)]
        assert keys[0] == keys[1] != traits(name, one, {header: b"s2"}).affinity
    for field in ("prompt_cache_key", "session_id"):
        keys = [traits(name, request, **{field: "s1"}).affinity for request in (one, other)]
        assert keys[0] == keys[1] != traits(name, one, **{field: "s2"}).affinity
        assert traits(name, one, **{field: 7}).affinity == traits(name, one).affinity


@pytest.mark.parametrize("name", names())
def test_what_a_backend_has_to_be_able_to_do(name: str) -> None:
    """Tools, pictures and schemas, by the request as its wire reads it; nothing of a plain question."""
    assert traits(name, ChatRequest("m", conversation("Hello?"))).needs == frozenset()
    request = ChatRequest(
        "m", conversation("What is it?", picture=PICTURE), tools=[Tool("look", parameters={"type": "object"})]
    )
    request.format = Format("schema", {"type": "object", "properties": {}}, "thing")
    assert traits(name, request).needs == {"tools", "images", "schema"} == RequestTraits(request).needs


@pytest.mark.parametrize("name", names())
def test_tokens_are_estimated_without_media(name: str) -> None:
    """A picture of 128 KB is not counted as text."""
    small = traits(name, ChatRequest("m", conversation("What is it?", picture=PICTURE))).prompt_tokens
    large = traits(name, ChatRequest("m", conversation("word " * 100_000))).prompt_tokens
    assert 0 < small < 1_000
    assert 120_000 < large < 130_000


def test_the_library_knows_conversations_too() -> None:
    """By the same rule."""
    keys = [
        RequestTraits(ChatRequest("m", conversation(*texts))).affinity for texts in (("a",), ("a", "b", "c"), ("c", "b", "a"))
    ]
    assert keys[0] == keys[1] != keys[2]
    assert RequestTraits(ChatRequest("m", [])).affinity is None


def test_tags() -> None:
    """A client says what conditions ask for; what is no list of them is refused by name."""
    request = ChatRequest("m", conversation("Hello?"))
    assert traits("openai-chat", request, {b"x-polychat-tags": b" Region=eu, team = search,"}).tags == {
        "region": "eu",
        "team": "search",
    }
    assert traits("openai-chat", request).tags == {}
    for value in (b"eu", b"=eu", b"region=" + b"e" * 2000):
        with pytest.raises(BadInput) as caught:
            _ = traits("openai-chat", request, {b"x-polychat-tags": value}).tags
        assert caught.value.field == "x-polychat-tags"


async def test_who_would_lose_something_is_passed_over(serve: Any) -> None:
    """Where losses are refused the target that takes all of the request is asked at once, and why not the other is recorded."""
    first, second = await serve(good), await serve(good)
    rows = {"house": row("anthropic", first.url), "other": row("openai-chat", second.url)}
    path, body = asking("openai-chat", "fast", logit_bias={"50256": -100})
    routes = {"fast": Route(("house/small", "other/small"), strategy="ordered")}
    async with gateway(configured(rows, routes=routes, on_loss="refuse")) as here:
        answer = await here.ask(path, body)
        (record,) = await here.app.recorded()
    assert (answer.status, len(first.seen), len(second.seen), record.attempts) == (200, 0, 1, 1)
    ((target, reason),) = record.passed
    assert target.name == "house/small"
    assert "logit_bias" in reason


async def test_a_context_that_is_known_to_be_too_small(serve: Any) -> None:
    """By a list that was fetched: no target is asked with a prompt that cannot fit while another one may take it."""

    async def small(seen: Seen, say: Say) -> None:
        if seen.path.endswith("/models"):
            await say.whole({"data": [{"id": "small", "context_length": 1000}]})
        else:
            await good(seen, say)

    first, second = await serve(small), await serve(good)
    rows = {"house": row("openai-chat", first.url, serves=[]), "other": row("openai-chat", second.url)}
    routes = {"fast": Route(("house/small", "other/small"), strategy="ordered")}
    async with gateway(configured(rows, routes=routes)) as here:
        await here.ask("/v1/models", None)
        before = len(first.seen)
        path, body = asking("openai-chat", "fast")
        assert (await here.ask(path, body)).headers["x-polychat-provider"] == "house"
        body["messages"] = [{"role": "user", "content": "word " * 2000}]
        assert (await here.ask(path, body)).headers["x-polychat-provider"] == "other"
        *_, record = here.app.records
    assert len(first.seen) == before + 1
    ((_, reason),) = record.passed
    assert reason.startswith("its context is 1,000 tokens, and the prompt has about 2,5")


async def test_conditions_of_a_route(serve: Any) -> None:
    """A header chooses the region; without it nobody is asked, and the client gets the reason."""
    first, second = await serve(good), await serve(good)
    rows = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    routes = {"fast": Route(("house/small", "other/small"), strategy="ordered", conditions=("region=us", "region=eu"))}
    path, body = asking("openai-chat", "fast")
    async with gateway(configured(rows, routes=routes)) as here:
        answer = await here.ask(path, body, headers={"x-polychat-tags": "region=eu"})
        refused = await here.ask(path, body)
    assert answer.headers["x-polychat-provider"] == "other"
    assert refused.status == 400
    assert b"region=us" in refused.body
    assert first.seen == []
