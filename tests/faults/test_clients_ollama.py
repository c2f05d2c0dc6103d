"""What Ollama's clients do beside chats, in its dialect; and how OpenRouter's clients say who may answer."""

from __future__ import annotations

from typing import Any

import pytest

from polychat.errors import BadInput
from polychat.wire.embeddings import Embed, write_request

from ..support.gateway_for_clients import HELLO, before, house
from ..support.running_gateway import asking, configured, gateway, good, row
from ..support.scripted_server import Say, Seen, serving
from ..support.scripted_vendors import ScriptedVendor

EMPTY: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {}),
    ("/api/chat", {"messages": []}),
    ("/api/generate", {}),
    ("/api/generate", {"prompt": ""}),
]


@pytest.mark.parametrize("alive", [None, 0, "5m"])
@pytest.mark.parametrize(("path", "body"), EMPTY)
async def test_loading_a_model_asks_no_backend(path: str, body: dict[str, Any], alive: Any) -> None:
    """A request without a question loads or unloads a model: it is answered here, and costs nothing."""
    async with house("openai-chat", HELLO) as (here, dialect):
        answer = await here.ask(path, {"model": "house/small", "keep_alive": alive, **body})
        unknown = await here.ask(path, {"model": "nobody/x", **body})
    assert (answer.status, answer.json["done"]) == (200, True)
    assert answer.json["done_reason"] == ("unload" if alive == 0 else "load")
    assert unknown.status == 404
    assert dialect.seen == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_banner(method: str) -> None:
    """Clients look at ``/`` to see whether a server is there."""
    async with house("openai-chat", HELLO) as (here, _):
        caller = await here.caller()
        caller.ask("/", method=method)
        answer = await caller.head()
        assert answer.status == 200
        if method == "GET":
            assert await caller.rest() == b"Ollama is running"


async def test_a_name_with_the_default_tag() -> None:
    """``NAME:latest`` is ``NAME`` where it is known so, and itself where that is."""
    async with house("ollama", HELLO, routes={"mine": ("house/small",)}) as (here, dialect):
        answer = await here.ask(*asking("ollama", "mine:latest"))
        assert answer.json["message"]["content"] == "Hello"
        for name in ("house/small:latest", "house/other:latest"):  # the first is served without
            await here.ask(*asking("ollama", name))
    assert [seen.json["model"] for seen in dialect.seen] == ["small", "small", "other:latest"]


async def test_a_name_that_is_listed_with_its_tag_too() -> None:
    """Is itself: the backend has both."""
    dialect = ScriptedVendor("ollama", HELLO)
    async with serving(dialect) as server:
        rows = {"house": row("ollama", server.url, serves=["small", "small:latest"])}
        async with gateway(configured(rows)) as here:
            for name in ("house/small:latest", "house/small"):
                await here.ask(*asking("ollama", name))
    assert [seen.json["model"] for seen in dialect.seen] == ["small:latest", "small"]


async def test_the_older_embeddings() -> None:
    """One text, one vector."""

    async def handler(seen: Seen, say: Say) -> None:
        assert seen.json["input"] == ["hi"]
        await say.whole({"data": [{"index": 0, "embedding": [0.5, 1.0]}], "usage": {"prompt_tokens": 1}})

    async with before({"house": ("openai-chat", handler)}) as here:
        answer = await here.ask("/api/embeddings", {"model": "house/small", "prompt": "hi"})
    assert answer.json == {"embedding": [0.5, 1.0]}


@pytest.mark.parametrize(("body", "sent"), [([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]]), (["a", [4]], ["a", [4]])])
async def test_tokens_in_embeddings(body: Any, sent: Any) -> None:
    """They go to a server of OpenAI's shape as they are, and no other gets numbers that mean something else there."""

    async def handler(seen: Seen, say: Say) -> None:
        assert seen.json["input"] == sent
        await say.whole({"data": [{"index": place, "embedding": [0.5]} for place in range(len(sent))]})

    async with before({"house": ("openai-chat", handler)}) as here:
        answer = await here.ask("/v1/embeddings", {"model": "house/small", "input": body})
    assert len(answer.json["data"]) == len(sent)
    with pytest.raises(BadInput, match="tokens"):
        write_request("ollama", Embed("m", [[1]]))


WANTED = {
    "order": ["house"],
    "sort": "price",
    "require_parameters": True,
    "max_price": {"prompt": 1},
    "data_collection": "deny",
    "zdr": True,
    "quantizations": ["fp8"],
    "preferred_max_latency": 3,
}


async def test_what_of_openrouters_preferences_nobody_obeys_is_reported() -> None:
    """``provider`` is obeyed where it can be, and what is known of no backend is a loss by name: never a refusal."""
    async with before({"house": ("openai-chat", good)}) as here:
        answer = await here.ask(*asking("openai-chat", provider=WANTED))
    assert answer.status == 200
    lost = answer.headers["x-polychat-losses"].split(", ")
    assert sorted(lost) == [f"provider.{name}" for name in ("data_collection", "max_price", "quantizations", "zdr")]
