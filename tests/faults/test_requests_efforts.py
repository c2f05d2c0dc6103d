"""Kind: an effort of thought that a model lacks, which its API answers with 400: the next one goes out, and that is
reported.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.types import ChatMessage, ChatRequest, Effort, TextPart, Thinking
from polychat.wire.contract import names, wire_named
from polychat.wire.efforts import ORDER, effort_of, nearest, openai_efforts
from polychat.wire.gemini.generations import rules_of
from polychat.wire.losses import Loss


def sent(wire_name: str, model: str, thinking: Thinking, vendor: str = "") -> tuple[dict[str, Any], list[Loss]]:
    """What of the body says how to think, and the losses."""
    it = wire_named(wire_name)
    request = ChatRequest(model, [ChatMessage("user", [TextPart("hi")])], wire="anthropic", reasoning=thinking)
    before = repr(request)
    better, losses = it.adjusted(request, vendor or it.VENDOR)
    assert repr(request) == before, "the ask that was given stays as it is"
    body = it.write_request(better, vendor=vendor or it.VENDOR)
    thinking_sent = body.get("generationConfig", {}).get("thinkingConfig") or body.get("reasoning") or {}
    return thinking_sent or ({"effort": body["reasoning_effort"]} if "reasoning_effort" in body else {}), losses


LEVELS = {
    "gemini-3-pro-preview": ("low", "high"),
    "google/gemini-3.1-pro-preview": ("low", "medium", "high"),
    "gemini-3-flash-preview": ("minimal", "low", "medium", "high"),
    "gemini-3.1-flash-lite": ("minimal", "low", "medium", "high"),
    "gemini-3.5-flash": ("minimal", "low", "medium", "high"),
    "models/gemini-3.7-flash": ("low", "medium", "high"),
    "gemini-3.8-flash": ("low", "medium", "high"),
    "gemini-3.1-flash-image": ("minimal", "high"),
    "gemini-flash-latest": ("low", "medium", "high"),
    "gemini-flash-lite-latest": ("minimal", "low", "medium", "high"),
    "gemini-4-pro": ("low", "medium", "high"),
}


@pytest.mark.parametrize("effort", ORDER)
@pytest.mark.parametrize("model", LEVELS)
def test_geminis_levels(model: str, effort: Effort) -> None:
    """A level that the model has goes as it is, of others the next; none is never sent as a level."""
    thinking_sent, losses = sent("gemini", model, Thinking(effort))
    known = LEVELS[model]
    assert thinking_sent == {"thinkingLevel": nearest(effort, known).upper()}
    assert [loss.kind for loss in losses] == ["emulated"] * (effort not in known)


@pytest.mark.parametrize(
    ("model", "thinking", "budget", "lost"),
    [
        ("gemini-2.5-pro", Thinking("none"), 128, "emulated"),
        ("gemini-2.5-pro", Thinking(budget=0), 128, "emulated"),
        ("gemini-2.5-pro", Thinking(budget=1), 128, "emulated"),
        ("gemini-2.5-pro", Thinking(budget=40_000), 32_768, "emulated"),
        ("gemini-2.5-pro", Thinking("xhigh"), 32_768, None),
        ("gemini-2.5-pro", Thinking(budget=-1), -1, None),
        ("gemini-2.5-flash", Thinking("none"), 0, None),
        ("gemini-2.5-flash", Thinking(budget=100), 100, None),
        ("gemini-2.5-flash", Thinking("xhigh"), 24_576, None),
        ("gemini-2.5-flash-lite", Thinking(budget=100), 512, "emulated"),
        ("gemini-2.5-flash-lite", Thinking("none"), 0, None),
        ("gemini-2.0-flash", Thinking("high"), None, "dropped"),
        ("gemini-2.0-flash", Thinking(budget=500), None, "dropped"),
        ("gemini-2.0-flash", Thinking("none"), None, None),
        ("gemini-1.5-pro", Thinking("low"), None, "dropped"),
        ("gemini-2.5-flash-image", Thinking("low"), None, "dropped"),
    ],
)
def test_geminis_budgets(model: str, thinking: Thinking, budget: int | None, lost: str | None) -> None:
    """Within the model's range; nothing for a model that does not think, and the least for one that always does."""
    thinking_sent, losses = sent("gemini", model, thinking)
    assert thinking_sent == ({} if budget is None else {"thinkingBudget": budget})
    assert [loss.kind for loss in losses] == ([] if lost is None else [lost])


def test_a_budget_of_nothing_where_there_are_levels() -> None:
    """Gemini 3 refuses it: the least level goes out. Other budgets are taken."""
    assert sent("gemini", "gemini-3-pro", Thinking(budget=0))[0] == {"thinkingLevel": "LOW"}
    assert sent("gemini", "gemini-3-pro", Thinking(budget=900)) == ({"thinkingBudget": 900}, [])


OPENAIS = {
    "gpt-5": ("minimal", "low", "medium", "high"),
    "gpt-5-mini-2025-08-07": ("minimal", "low", "medium", "high"),
    "gpt-5-pro": ("high",),
    "gpt-5-codex": ("low", "medium", "high"),
    "gpt-5.1": ("none", "low", "medium", "high"),
    "gpt-5.1-codex": ("low", "medium", "high"),
    "gpt-5.1-codex-max": ("low", "medium", "high", "xhigh"),
    "gpt-5.1-chat-latest": ("medium",),
    "gpt-5.2": ("none", "low", "medium", "high", "xhigh"),
    "gpt-5.2-codex": ("low", "medium", "high", "xhigh"),
    "gpt-5.4-pro": ("medium", "high", "xhigh"),
    "gpt-5.10": ("none", "low", "medium", "high", "xhigh"),
    "o3-mini": ("low", "medium", "high"),
    "ft:o4-mini:acme::x": ("low", "medium", "high"),
}


@pytest.mark.parametrize("effort", ORDER)
@pytest.mark.parametrize("model", OPENAIS)
@pytest.mark.parametrize(
    ("wire_name", "vendor"),
    [
        *[("openai-chat", "openai"), ("openai-chat", "azure-openai")],
        *[("openai-responses", "openai"), ("openai-responses", "azure-openai-responses")],
    ],
)
def test_openais_efforts(wire_name: str, vendor: str, model: str, effort: Effort) -> None:
    """By either of OpenAI's APIs, at OpenAI and Azure: a word that the model takes, and a loss where it is another."""
    thinking_sent, losses = sent(wire_name, model, Thinking(effort), vendor)
    assert thinking_sent["effort"] == nearest(effort, OPENAIS[model])
    assert [(loss.field, loss.kind) for loss in losses] == [("reasoning.effort", "emulated")] * (effort not in OPENAIS[model])


@pytest.mark.parametrize(
    ("budget", "effort"),
    [
        *[(None, None), (-1, None), (0, "none"), (1, "minimal"), (1_024, "minimal"), (1_025, "low"), (2_048, "low")],
        *[(2_049, "medium"), (8_192, "medium"), (8_193, "high"), (10**9, "high")],
    ],
)
def test_a_budget_is_the_least_effort_that_holds_it(budget: int | None, effort: Effort | None) -> None:
    """At each border; the most of those that a model knows is for all beyond, and a budget below 0 leaves it to the model."""
    assert effort_of(Thinking(budget=budget)) == effort
    assert effort_of(Thinking("low", budget)) == "low"
    if effort is not None:
        assert effort_of(Thinking(budget=budget), ("none", "minimal")) == ("none" if budget == 0 else "minimal")


@pytest.mark.parametrize("wire_name", ["openai-chat", "openai-responses"])
def test_budgets_are_words_that_the_model_takes(wire_name: str) -> None:
    """A budget of tokens becomes a word, and that word one which the model has."""
    thinking_sent, losses = sent(wire_name, "gpt-5.1-codex", Thinking(budget=0))
    assert (thinking_sent["effort"], [loss.field for loss in losses]) == ("low", ["reasoning.budget"])
    assert sent(wire_name, "o3", Thinking(budget=1_000))[0]["effort"] == "low"
    assert sent(wire_name, "o3", Thinking(budget=-1)) == ({}, [])


@pytest.mark.parametrize("wire_name", ["openai-chat", "openai-responses"])
def test_no_effort_for_what_does_not_think(wire_name: str) -> None:
    """It is left out and reported; where no thinking was asked for nothing is lost."""
    thinking_sent, losses = sent(wire_name, "gpt-4o", Thinking("high", summary="auto"))
    assert (thinking_sent, [loss.kind for loss in losses]) == ({}, ["dropped"])
    assert sent(wire_name, "gpt-4.1", Thinking("none")) == ({}, [])


@pytest.mark.parametrize("wire_name", names())
def test_unknown_models_get_what_was_asked_for(wire_name: str) -> None:
    """A model that nobody here knows by its name is for its vendor to judge."""
    assert openai_efforts("house-model") is rules_of("house-model") is None
    it = wire_named(wire_name)
    better, losses = it.adjusted(
        ChatRequest("house-model", [ChatMessage("user", [TextPart("hi")])], reasoning=Thinking("medium")), it.VENDOR
    )
    assert losses == []
    read = it.read_request(json.dumps(it.write_request(better, vendor=it.VENDOR)).encode(), model="house-model").reasoning
    assert read is not None
    assert effort_of(read) == "medium"


def test_others_who_speak_openais_wire_have_words_of_their_own() -> None:
    """The table is OpenAI's alone: elsewhere the same name may be another model."""
    assert sent("openai-chat", "gpt-5.1", Thinking("minimal"), "openrouter") == ({"effort": "minimal"}, [])
