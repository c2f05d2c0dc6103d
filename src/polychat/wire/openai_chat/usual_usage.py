"""The usual counts of tokens, decoded by type: those of OpenAI's own API.

Counts of any other form, such as those with members of a dialect's own, are rejected, to be read member by member.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, convert

from ...events import Usage
from ..token_counts import Count


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


_NO_PROMPT, _NO_COMPLETION = UsualPrompt(), UsualCompletion()
_MEMBERS = frozenset(UsualUsage.__struct_fields__)


def usual_usage(counts: dict[str, Any]) -> Usage | None:
    """As ``counts_of``, of counts that are decoded; ``None`` for any other."""
    if not counts.keys() <= _MEMBERS:  # some dialect's: seen here it costs a twentieth of what the exception does
        return None
    try:
        return counts_of(convert(counts, UsualUsage))
    except ValueError:
        return None


def counts_of(counts: UsualUsage) -> Usage:
    """The same counts; reasoning may be missing in the completion's: see ``with_reasoning``."""
    prompt, completion = counts.prompt_tokens_details or _NO_PROMPT, counts.completion_tokens_details or _NO_COMPLETION
    return Usage(
        counts.prompt_tokens,
        counts.completion_tokens,
        counts.total_tokens,
        prompt.cached_tokens,
        None,  # as to what was written to a cache
        completion.reasoning_tokens,
        prompt.audio_tokens,
        completion.audio_tokens,
    )
