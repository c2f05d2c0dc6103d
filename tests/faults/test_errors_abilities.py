"""Kinds of fault: lists of models that keep what is known of a model's abilities, or say what nobody knows."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import ModelInfo as AnthropicModel

from polychat.wire.abilities import abilities_of, of_all
from polychat.wire.contract import names
from polychat.wire.models import read_models, write_models

from ..support.running_gateway import configured, gateway, row
from ..support.scripted_server import Say, Seen

ENTRIES: dict[str, tuple[dict[str, Any], dict[str, bool]]] = {
    "OpenRouter": (
        {
            "architecture": {"input_modalities": ["text", "image"]},
            "supported_parameters": ["tools", "reasoning", "temperature"],
        },
        {"images": True, "audio": False, "files": False, "tools": True, "schema": False, "reasoning": True},
    ),
    "Mistral": (
        {"capabilities": {"completion_chat": True, "function_calling": True, "vision": False}},
        {"tools": True, "images": False},
    ),
    "LM Studio": ({"type": "vlm", "capabilities": ["tool_use"]}, {"images": True, "tools": True}),
    "LM Studio's others": ({"type": "llm"}, {}),
    "GitHub": (
        {"supported_input_modalities": ["text", "image", "audio"], "capabilities": ["streaming", "tool-calling"]},
        {"images": True, "audio": True, "files": False, "tools": True},
    ),
    "Anthropic": (
        {"capabilities": {"image_input": {"supported": True}, "thinking": {"supported": False, "types": {}}}},
        {"images": True, "reasoning": False},
    ),
    "Gemini": (
        {"supportedGenerationMethods": ["generateContent", "countTokens"], "thinking": True},
        {"chat": True, "embeddings": False, "reasoning": True},
    ),
    "nothing": ({}, {}),
    "nonsense": ({"architecture": 7, "supported_parameters": [[], {}], "capabilities": [7, None], "thinking": "yes"}, {}),
    "more nonsense": ({"architecture": {"input_modalities": "image"}, "capabilities": {"vision": "perhaps"}, "type": []}, {}),
}
"""What an entry of a list says, and what is known by it."""


@pytest.mark.parametrize("of", ENTRIES)
def test_what_lists_tell(of: str) -> None:
    """Each vendor's words are read for what they say: what they leave open stays unknown, and nonsense says nothing."""
    entry, expected = ENTRIES[of]
    abilities = abilities_of(entry)
    assert abilities == expected


def test_of_several() -> None:
    """All must be known to be able, and one that cannot is enough; else nobody knows."""
    assert of_all([{"tools": True, "images": True}, {"tools": True, "images": False}]) == {"tools": True, "images": False}
    assert of_all([{"tools": True}, {}]) == {}
    assert of_all([{"tools": False}, {}]) == {"tools": False}


def test_what_is_written_is_read_again() -> None:
    """A gateway behind a gateway loses none of it, and what is not known is written by no dialect."""
    (known,) = read_models(
        "openai-chat",
        b'{"data": [%s]}' % b'{"id": "m", "architecture": {"input_modalities": ["text"]}, "supported_parameters": ["tools"]}',
    )
    (again,) = read_models("openai-chat", write_models("openai-chat", [known]))
    assert again.can == known.can
    (unknown,) = read_models("openai-chat", b'{"data": [{"id": "m"}]}')
    for wire in names():
        text = write_models(wire, [unknown])
        for word in (b"modalities", b"supported_parameters", b"capabilities", b"thinking", b"TokenLimit", b"max_"):
            assert word not in text.replace(b'"capabilities":null', b"").replace(
                b'"max_input_tokens":null,"max_tokens":null', b""
            )


def listing(wire: str, *models: dict[str, Any]) -> Any:
    async def handler(seen: Seen, say: Say) -> None:
        await say.whole({"models" if wire == "gemini" else "data": list(models)})

    return handler


SUPPORTED, NOT = {"supported": True}, {"supported": False}
CLAUDE = {"batch": SUPPORTED, "citations": SUPPORTED, "image_input": SUPPORTED, "thinking": {**NOT, "types": {}}}


async def test_lists_of_all_dialects(serve: Any) -> None:
    """A model, a route and an alias have their abilities in each dialect, in its shape; a route what all targets can."""
    router = await serve(
        listing(
            "openai-chat",
            {
                "id": "big",
                "architecture": {"input_modalities": ["text", "image"]},
                "supported_parameters": ["tools", "reasoning"],
                "top_provider": {"context_length": 9000, "max_completion_tokens": 500},
            },
        )
    )
    claude = await serve(listing("anthropic", {"id": "opus", "type": "model", "capabilities": CLAUDE}))
    google = await serve(listing("gemini", {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]}))
    rows = {
        name: row(wire, backend.url, serves=[], models="/v1/models" if wire == "anthropic" else "/models")
        for name, wire, backend in (("r", "openai-chat", router), ("c", "anthropic", claude), ("g", "gemini", google))
    }
    routes = {"both": ("r/big", "c/opus"), "one": ("c/opus",)}
    async with gateway(configured(rows, routes=routes, aliases={"mine": "r/big"})) as here:
        chat = {one["id"]: one for one in (await here.ask("/v1/models")).json["data"]}
        headers = {"anthropic-version": "2023-06-01"}
        anthropic = {one["id"]: one for one in (await here.ask("/v1/models", headers=headers)).json["data"]}
        gemini = {one["name"]: one for one in (await here.ask("/v1beta/models")).json["models"]}
        shown = {name: (await here.ask("/api/show", {"model": name})).json["capabilities"] for name in ("mine", "both")}
    for name in ("r/big", "mine"):
        assert chat[name]["architecture"] == {"input_modalities": ["text", "image"]}
        assert chat[name]["supported_parameters"] == ["tools", "tool_choice", "reasoning"]
        assert (chat[name]["context_length"], chat[name]["max_output_tokens"]) == (9000, 500)
        assert gemini[f"models/{name}"]["thinking"] is True
        assert anthropic[name]["capabilities"] is None, "what Anthropic's clients need whole is not known of others"
    assert chat["both"]["capabilities"] == {"vision": True, "reasoning": False, "structured_outputs": False}
    assert chat["both"]["architecture"] == {"input_modalities": ["text", "image"]}
    assert "architecture" not in chat["one"], "nobody told of sound"
    for name in ("c/opus", "one"):
        assert anthropic[name]["capabilities"] == {**CLAUDE, "batch": NOT}
        assert AnthropicModel.construct(**anthropic[name]).capabilities.image_input.supported
    assert gemini["models/g/embed"]["supportedGenerationMethods"] == ["embedContent"]
    assert shown["mine"] == ["completion", "tools", "vision", "thinking"]
    assert shown["both"] == ["completion", "tools", "vision"]
