"""Embeddings and lists of models of API vendors, over loopback."""

from __future__ import annotations

from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.events import Usage
from polychat.providers import find
from polychat.wire import embeddings, models
from polychat.wire.embeddings import Embeddings
from polychat.wire.models import ModelInfo

from ..support.scripted_server import Say, Seen

SHAPES = {"openai": ("/v1", "/v1/embeddings"), "gemini": ("/v1beta", ":batchEmbedContents"), "ollama": ("", "/api/embed")}


@pytest.mark.parametrize("vendor", SHAPES)
async def test_texts_become_vectors(serve: Any, vendor: str) -> None:
    """One each, in their order, on the shape of the vendor; what is asked arrives."""
    requests = []

    async def embed(seen: Seen, say: Say) -> None:
        assert seen.path.endswith(SHAPES[vendor][1])
        request = embeddings.read_request(vendor, seen.body, "m")  # type: ignore[arg-type]
        requests.append(request)
        vectors = [[float(len(text)), 0.5] for text in request.inputs]
        await say.whole(embeddings.write_reply(vendor, Embeddings(vectors, "m", Usage(7)), request))  # type: ignore[arg-type]

    server = await serve(embed)
    vectors_reply = await polychat.embed(
        ["one", "three"], model=f"{vendor}/m", dimensions=2, base_url=server.url + SHAPES[vendor][0], api_key="k"
    )
    assert vectors_reply.vectors == [[3.0, 0.5], [5.0, 0.5]]
    assert (requests[0].model, requests[0].inputs, requests[0].dimensions) == ("m", ["one", "three"], 2)
    alone = await polychat.embed("four", model=f"{vendor}/m", base_url=server.url + SHAPES[vendor][0], api_key="k")
    assert alone.vectors == [[4.0, 0.5]]


async def test_a_vector_that_is_missing_is_a_bad_reply(serve: Any) -> None:
    """Nobody is given another text's vector."""

    async def short(seen: Seen, say: Say) -> None:
        await say.whole({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}], "model": "m"})

    server = await serve(short)
    with pytest.raises(errors.BadReply):
        await polychat.embed(["a", "b"], model="openai/m", base_url=f"{server.url}/v1", api_key="k")


async def test_a_refusal_of_embeddings_is_an_error(serve: Any) -> None:
    """With the vendor's words."""

    async def refuse(seen: Seen, say: Say) -> None:
        await say.whole({"error": {"message": "no such model", "type": "invalid_request_error"}}, 404)

    server = await serve(refuse)
    with pytest.raises(errors.StatusError, match="no such model"):
        await polychat.embed("a", model="openai/m", base_url=f"{server.url}/v1", api_key="k")


@pytest.mark.parametrize("target", ["anthropic/m", "chatgptduo/m"])
async def test_a_vendor_without_embeddings_reports_that(target: str) -> None:
    """Nothing is sent."""
    with pytest.raises(errors.BadInput, match="does not support embeddings"):
        await polychat.embed("a", model=target)


LISTS = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta", "ollama": ""}


@pytest.mark.parametrize("vendor", LISTS)
async def test_a_vendors_models_are_listed(serve: Any, vendor: str) -> None:
    """By the vendor's own shape, with the key where it belongs."""

    async def listing(seen: Seen, say: Say) -> None:
        assert seen.method == "GET"
        wire = find(vendor).row.wire  # type: ignore[attr-defined]
        await say.whole(models.write_models(wire, [ModelInfo("b"), ModelInfo("a")]))

    server = await serve(listing)
    current = await find(vendor).list_models(base_url=server.url + LISTS[vendor], api_key="k-1")
    assert [one.id for one in current] == ["b", "a"]
    assert vendor == "ollama" or "k-1" in " ".join(server.seen[0].headers.values())


async def test_a_vendor_without_a_list_names_where_to_look() -> None:
    """Its documentation is named."""
    with pytest.raises(errors.NotReady, match="has no model list: see https://"):
        await find("perplexity-sonar").list_models(api_key="k")


async def test_a_providers_own_models_are_its_list() -> None:
    """Where no backend can be asked."""
    assert [one.id for one in await find("local").list_models()][:1] == ["smollm2"]
