"""The usual chunks of a stream, decoded by type: the role, a piece of text, an end, the counts of tokens.

Most chunks are one of these. Decoding them into objects of a known type costs half of decoding them into dicts and examining
every member. Members that servers send without content have a type that accepts only such values; a chunk of any other form
is rejected, even for one additional member, and then read member by member.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.json import Decoder

from .usual_bodies import UsualUsage


class UsualDelta(Struct, forbid_unknown_fields=True, gc=False):
    """What one chunk adds to the answer."""

    content: str | None = None
    role: str | None = None
    refusal: None = None


class UsualChoice(Struct, forbid_unknown_fields=True, gc=False):
    """The only choice of a chunk."""

    delta: UsualDelta
    finish_reason: str | None = None
    index: Literal[0] = 0
    logprobs: None = None
    stop_reason: None = None


class UsualChunk(Struct, forbid_unknown_fields=True, gc=False):
    """One chunk without error or sources."""

    choices: Annotated[tuple[UsualChoice, ...], Meta(max_length=1)]
    id: str | None = None
    model: str | None = None
    object: Literal["chat.completion.chunk", ""] | None = None
    created: int | float | None = None
    usage: UsualUsage | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    obfuscation: str | None = None
    provider: str | None = None
    p: str | None = None


usual_chunk = Decoder(UsualChunk).decode
"""The chunk, with at most one choice, whose index is 0. Raises ``ValueError`` for any other payload."""
