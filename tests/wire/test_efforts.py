"""One table of efforts and budgets, which every wire asks by."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from polychat.types import ChatMessage, ChatRequest, Effort, TextPart, Thinking
from polychat.wire.contract import names, wire_named
from polychat.wire.efforts import BUDGETS, ORDER, effort_named, effort_of

MODELS = {
    "anthropic": "claude-opus-4-7",
    "gemini": None,  # whose models take a budget as it is
    "ollama": "gpt-oss",
    "openai-chat": "gpt-5",
    "openai-responses": "gpt-5",
}
"""Of each wire, a model that is told efforts and no budget."""


def test_more_effort_is_never_less_thought() -> None:
    """Each column of the table grows with the effort."""
    for less, more in pairwise(BUDGETS.values()):
        assert all(few <= many for few, many in zip(less, more, strict=True))


@pytest.mark.parametrize(
    ("budget", "effort"), [(1_500, "low"), (2_048, "low"), (5_000, "medium"), (8_192, "medium"), (9_000, "high")]
)
@pytest.mark.parametrize("name", names())
def test_a_budget_is_the_same_effort_on_every_wire(name: str, budget: int, effort: Effort) -> None:
    """A route whose targets speak several wires thinks as much at each."""
    if (model := MODELS[name]) is None:
        return
    request = ChatRequest(model, [ChatMessage("user", [TextPart("hi")])], reasoning=Thinking(budget=budget))
    better, _ = wire_named(name).adjusted(request)
    body = json.dumps(wire_named(name).write_request(better))
    assert [word for word in ORDER if f'"{word}"' in body] == [effort]


def test_words() -> None:
    """Every effort is read by its word, and the highest by one more; nothing else is an effort."""
    assert [effort_named(word) for word in (*ORDER, "max", "MAX", "", None, 3, [])] == [*ORDER, "xhigh", *(None,) * 5]


def test_as_much_as_it_likes_is_no_effort() -> None:
    """A budget without end asks for nothing; an effort goes before a budget."""
    assert effort_of(Thinking(budget=-1)) is effort_of(Thinking()) is None
    assert effort_of(Thinking("low", 9_000)) == "low"
