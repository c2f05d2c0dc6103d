"""The types of usual whole replies and of their counts of tokens, which are decoded by type.

Members that the API sends without content have a type that accepts only such values.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from ..token_counts import Count

UsualReason: TypeAlias = Literal["end_turn", "max_tokens"]
"""The ends of a reply without calls."""


class UsualText(Struct, forbid_unknown_fields=True):
    """The only block of a reply."""

    type: Literal["text"]
    text: str
    citations: tuple[()] | None = None


class UsualAges(Struct, forbid_unknown_fields=True):
    """Tokens that were written to a cache, by how long they are kept."""

    ephemeral_5m_input_tokens: Count = 0
    ephemeral_1h_input_tokens: Count = 0


class UsualThoughts(Struct, forbid_unknown_fields=True):
    """What the answer's tokens were."""

    thinking_tokens: Count | None = None


class UsualCounts(Struct, forbid_unknown_fields=True):
    """The counts of tokens, or some of them."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: UsualAges | None = None
    output_tokens_details: UsualThoughts | None = None
    server_tool_use: None = None
    service_tier: str | None = None
    inference_geo: str | None = None


class UsualReply(Struct, forbid_unknown_fields=True):
    """A reply without error, calls or reasoning."""

    content: tuple[UsualText]
    stop_reason: UsualReason
    id: str | None = None
    model: str | None = None
    type: Literal["message"] = "message"
    role: str | None = None
    stop_sequence: None = None
    stop_details: None = None
    container: None = None
    context_management: None = None
    usage: UsualCounts | None = None
