"""Counts of tokens that cannot be true are none."""

from __future__ import annotations

from typing import Any

import pytest

from polychat.wire.anthropic.constants import usage_of as anthropic_usage
from polychat.wire.gemini.metadata import usage_of as gemini_usage
from polychat.wire.openai_chat.usage import usage_of as chat_usage
from polychat.wire.openai_responses.constants import usage_of as responses_usage
from polychat.wire.token_counts import MOST, token_count

USAGES: dict[str, tuple[Any, str, str]] = {
    "openai-chat": (chat_usage, "prompt_tokens", "completion_tokens"),
    "anthropic": (anthropic_usage, "input_tokens", "output_tokens"),
    "gemini": (gemini_usage, "promptTokenCount", "candidatesTokenCount"),
    "openai-responses": (responses_usage, "input_tokens", "output_tokens"),
}


@pytest.mark.parametrize("wire", USAGES)
@pytest.mark.parametrize("absurd", [MOST + 1, 10**400, -1])
def test_a_count_that_cannot_be_true_is_none(wire: str, absurd: int) -> None:
    """And the other counts of the reply stay: prices and metrics can be computed with what is left."""
    usage_of, prompt, completion = USAGES[wire]
    usage = usage_of({prompt: absurd, completion: 2})
    assert (usage.prompt_tokens, usage.completion_tokens) == (None, 2)


def test_the_largest_count_is_one() -> None:
    """From 0 to the maximum; a text, a fraction or a truth value is none."""
    assert [token_count(value) for value in (0, MOST, True, 1.0, "1", None)] == [0, MOST, None, None, None, None]
