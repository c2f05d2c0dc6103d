"""The usual counts of tokens, decoded by type.

Counts of any other form, such as those with members of a dialect's own, are rejected, to be read member by member.
"""

from __future__ import annotations

from typing import Any

from msgspec import convert

from ...events import Usage
from .usual_bodies import UsualCompletion, UsualPrompt, UsualUsage

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
