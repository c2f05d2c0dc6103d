"""What of a chat counts when its target is chosen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from polychat.config.settings import Limits
from polychat.gateway.chat.traits import SESSIONS, ChatTraits
from polychat.gateway.dialects.dialect import Dialect, InboundChat, open_body
from polychat.routing.traits import RequestTraits
from polychat.types import ChatMessage, ChatRequest, Format, ImagePart, TextPart, Tool
from polychat.wire.contract import names, wire
from polychat.wire.json_text import encoded

BE_BRIEF = ChatMessage("system", [TextPart("Be brief.")])
PICTURE = ImagePart(data=b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 512, media_type="image/png")


def conversation(*texts: str, picture: ImagePart | None = None) -> list[ChatMessage]:
    turns = [ChatMessage("assistant" if place % 2 else "user", [TextPart(text)]) for place, text in enumerate(texts)]
    if picture is not None:
        turns[0].parts.append(picture)
    return [BE_BRIEF, *turns]


def traits(name: str, request: ChatRequest, headers: dict[bytes, bytes] | None = None, **fields: Any) -> ChatTraits:
    dialect = type("Spoken", (Dialect,), {"name": name, "wire": wire(name)})()
    body = encoded({**wire(name).write_request(request, vendor=""), "model": "m", **fields})
    inbound = InboundChat(dialect, open_body(body, Limits()), request.model, stream=False, limits=Limits())
    return ChatTraits(SimpleNamespace(headers=headers or {}), inbound)  # type: ignore[arg-type]  # all that is read of it


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
    """A header or the body's own word goes before what was said."""
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
