"""Lists of models, in each wire's shape."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import httpx2
import ollama
import openai
import pytest
from google import genai
from google.genai import types as genai_types
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadReply
from polychat.wire.contract import names
from polychat.wire.models import ModelInfo, read_models, write_models

from ..support.corpus import FOLDER

WIRES = names()
TOLD: dict[str, set[str]] = {
    "openai-chat": {"id", "owner", "created", "context"},
    "openai-responses": {"id", "owner", "created", "context"},
    "anthropic": {"id", "created", "title", "context"},
    "gemini": {"id", "title", "context"},
    "ollama": {"id", "created"},
}
"""What each shape has a place for."""
LISTED = [ModelInfo("small:1b", "us", 1_700_000_000, 8192, "Small"), ModelInfo("org/big")]


def infos() -> st.SearchStrategy[list[ModelInfo]]:
    names = st.text("abcXYZ0123456789-_.:/", min_size=1, max_size=8)
    words = st.none() | st.text("abc ", min_size=1, max_size=5).map(lambda word: f"A {word}")
    return st.lists(
        st.builds(
            ModelInfo, names, words, st.none() | st.integers(1, 2_000_000_000), st.none() | st.integers(1, 999_999), words
        ),
        max_size=3,
    )


@pytest.mark.parametrize("wire", WIRES)
@settings(max_examples=40, deadline=None)
@given(listed=infos())
def test_a_list_comes_back(wire: str, listed: list[ModelInfo]) -> None:
    """With what its shape has a place for, in its order."""
    back = read_models(wire, write_models(wire, listed))
    assert len(back) == len(listed)
    for read_back, one in zip(back, listed, strict=True):
        for name in TOLD[wire] - {"owner"}:
            assert getattr(read_back, name) == getattr(one, name)
        assert read_back.owner == one.owner or "owner" not in TOLD[wire] or one.owner is None


def test_published_list_of_ollama() -> None:
    """Its moments have nine digits behind the second."""
    listed = read_models("ollama", (FOLDER / "ollama/tags.json").read_bytes())
    assert listed == [ModelInfo("codellama:13b", created=1699135009), ModelInfo("llama3:latest", created=1701970338)]


@pytest.mark.parametrize(
    ("wire", "body", "expected"),
    [
        ("openai-chat", {"object": "list", "data": None}, []),
        ("openai-chat", ["a", "b"], [ModelInfo("a"), ModelInfo("b")]),
        (
            "openai-chat",  # Together
            [{"id": "a/b", "created": 0, "display_name": "B", "organization": "A", "context_length": 4096}],
            [ModelInfo("a/b", "A", None, 4096, "B")],
        ),
        (
            "openai-chat",  # GitHub
            [{"id": "openai/gpt", "name": "GPT", "publisher": "OpenAI", "limits": {"max_input_tokens": 128000}}],
            [ModelInfo("openai/gpt", "OpenAI", None, 128000, "GPT")],
        ),
        ("openai-chat", {"models": [{"name": "command", "context_length": 256000.0}]}, [ModelInfo("command")]),
        ("openai-chat", {"models": [{"name": "command", "context_length": 256000}]}, [ModelInfo("command", context=256000)]),
        (
            "openai-chat",  # OpenRouter
            {"data": [{"id": "x/y", "name": "X: Y", "created": 1.7e9, "context_length": 10}]},
            [ModelInfo("x/y", None, 1_700_000_000, 10, "X: Y")],
        ),
        ("openai-chat", {"data": [{"id": "v", "owned_by": "vllm", "max_model_len": 7}]}, [ModelInfo("v", "vllm", None, 7)]),
        (
            "anthropic",
            {
                "data": [{"type": "model", "id": "c", "display_name": "C", "created_at": "2025-02-19T00:00:00Z"}],
                "has_more": False,
            },
            [ModelInfo("c", None, 1739923200, None, "C")],
        ),
        ("anthropic", {"data": [{"id": "c", "created_at": "1970-01-01T00:00:00Z"}]}, [ModelInfo("c")]),
        (
            "gemini",
            {"models": [{"name": "models/g", "displayName": "G", "inputTokenLimit": 5, "version": "1"}]},
            [ModelInfo("g", None, None, 5, "G")],
        ),
        ("openai-chat", {"data": [{"id": "m", "created": 1.7e300}]}, [ModelInfo("m")]),
        ("openai-chat", {"data": [{"id": "m", "created": "soon", "owned_by": 5}]}, [ModelInfo("m")]),
    ],
)
def test_dialects(wire: str, body: Any, expected: list[ModelInfo]) -> None:
    """Plain lists, lists under other names, and what vendors add to a model."""
    assert read_models(wire, json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    "body", [b"", b"5", b"{}", b'{"data":5}', b'{"data":[5]}', b'{"data":[{}]}', b'[{"id":5}]', b'{"error":"no"}']
)
@pytest.mark.parametrize("wire", WIRES)
def test_what_is_no_list_is_a_bad_reply(wire: str, body: bytes) -> None:
    """It shows what came."""
    with pytest.raises(BadReply, match="not a model list"):
        read_models(wire, body)


@pytest.mark.parametrize(("wire", "name"), [("gemini", "models/"), ("ollama", ""), ("openai-chat", "")])
def test_a_model_without_a_name_is_a_bad_reply(wire: str, name: str) -> None:
    """Nobody could ask it."""
    with pytest.raises(BadReply, match="not a model list"):
        read_models(wire, json.dumps({"models": [{"name": name, "model": name}]}).encode())


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "models", "id", "name", "created", "created_at", "limits"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(ANY, st.sampled_from(WIRES))
def test_any_json_is_a_list_or_refused(value: Any, wire: str) -> None:
    """And whatever list it is can be written again, in any shape."""
    try:
        listed = read_models(wire, json.dumps(value).encode())
    except BadReply:
        return
    for other in WIRES:
        assert len(read_models(other, write_models(other, listed))) == len(listed)


# The vendors' own clients.


def server(wire: str, web: Any = httpx) -> Any:
    """A transport that answers with our list; ``web`` is the HTTP library that the client is made on."""
    body = write_models(wire, LISTED)
    return web.MockTransport(lambda _: web.Response(200, content=body, headers={"content-type": "application/json"}))


def test_the_official_clients_read_our_lists() -> None:
    """Each gets the names, and what else its shape tells."""
    with httpx.Client(transport=server("openai-chat")) as http:
        listed = openai.OpenAI(api_key="k", base_url="http://a.test/v1", http_client=http).models.list()
        assert [(one.id, one.created, one.owned_by) for one in listed] == [
            ("small:1b", 1_700_000_000, "us"),
            ("org/big", 0, "polychat"),
        ]
    with httpx2.Client(transport=server("anthropic", httpx2)) as own:
        shown = anthropic.Anthropic(api_key="k", base_url="http://a.test", http_client=own).models.list()
        assert [(one.id, one.display_name, one.created_at.year) for one in shown] == [
            ("small:1b", "Small", 2023),
            ("org/big", "org/big", 1970),
        ]
    with httpx.Client(transport=server("gemini")) as http:
        options = genai_types.HttpOptions(base_url="http://a.test", httpx_client=http)
        models = list(genai.Client(api_key="k", http_options=options).models.list())
        assert [(one.name, one.input_token_limit) for one in models] == [("models/small:1b", 8192), ("models/org/big", None)]
    with ollama.Client(host="http://a.test", transport=server("ollama"), trust_env=False) as sdk:
        assert [one.model for one in sdk.list().models] == ["small:1b", "org/big"]
