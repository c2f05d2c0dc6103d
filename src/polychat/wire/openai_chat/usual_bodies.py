"""The types of usual whole replies and of their counts of tokens, which are decoded by type: those of OpenAI's own API.

As in ``usual_chunks``: members that servers send without content have a type that accepts only such values.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from ..token_counts import Count

Nothing: TypeAlias = tuple[()] | None
UsualEnd: TypeAlias = Literal["stop", "length", "content_filter"]
"""The ends of a reply without calls."""


class UsualPrompt(Struct, forbid_unknown_fields=True):
    """What the prompt's tokens were."""

    cached_tokens: Count | None = None
    audio_tokens: Count | None = None


class UsualCompletion(Struct, forbid_unknown_fields=True):
    """What the answer's tokens were. The last two are of predicted outputs, which no event reports."""

    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class UsualUsage(Struct, forbid_unknown_fields=True):
    """The counts, by OpenAI's names."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count | None = None
    prompt_tokens_details: UsualPrompt | None = None
    completion_tokens_details: UsualCompletion | None = None


class UsualMessage(Struct, forbid_unknown_fields=True):
    """The answer."""

    content: str
    role: str | None = None
    refusal: None = None
    annotations: Nothing = None
    tool_calls: Nothing = None
    function_call: None = None
    audio: None = None
    reasoning_content: None = None


class UsualAnswer(Struct, forbid_unknown_fields=True):
    """The only choice of a reply."""

    message: UsualMessage
    finish_reason: UsualEnd
    index: Literal[0] = 0
    logprobs: None = None
    stop_reason: None = None


class UsualReply(Struct, forbid_unknown_fields=True):
    """A reply without error, calls or sources."""

    choices: tuple[UsualAnswer]
    id: str | None = None
    model: str | None = None
    object: Literal["chat.completion", ""] | None = None
    created: int | float | None = None
    usage: UsualUsage | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
