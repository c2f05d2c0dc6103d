"""The usual events of a stream, decoded by type: a message that begins, one text in pieces, why it ended, the counts of tokens.

As in ``usual_replies``: members that the API sends without content have a type that accepts only such values, and an event of
any other form is rejected, to be read member by member.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from .usual_bodies import UsualCounts, UsualReason


class UsualEmptyMessage(Struct, forbid_unknown_fields=True, gc=False):
    """A message that begins."""

    id: str | None = None
    model: str | None = None
    type: Literal["message"] = "message"
    role: str | None = None
    content: tuple[()] | None = None
    stop_reason: None = None
    stop_sequence: None = None
    stop_details: None = None
    container: None = None
    context_management: None = None
    usage: UsualCounts | None = None


class UsualMessageStart(Struct, forbid_unknown_fields=True, gc=False, tag_field="type", tag="message_start"):
    """The first event."""

    message: UsualEmptyMessage


class UsualEmptyText(Struct, forbid_unknown_fields=True, gc=False):
    """A text that begins."""

    type: Literal["text"]
    text: Literal[""]
    citations: tuple[()] | None = None


class UsualBlockStart(Struct, forbid_unknown_fields=True, gc=False, tag_field="type", tag="content_block_start"):
    """The beginning of a text."""

    content_block: UsualEmptyText
    index: int = 0


class UsualTextDelta(Struct, forbid_unknown_fields=True, gc=False):
    """What one event adds to the text."""

    type: Literal["text_delta"]
    text: str


class UsualBlockDelta(Struct, forbid_unknown_fields=True, gc=False, tag_field="type", tag="content_block_delta"):
    """A piece of the text."""

    delta: UsualTextDelta
    index: int = 0


class UsualBlockStop(Struct, forbid_unknown_fields=True, gc=False, tag_field="type", tag="content_block_stop"):
    """The end of a text."""

    index: int = 0


class UsualStop(Struct, forbid_unknown_fields=True, gc=False):
    """Why the message ends."""

    stop_reason: UsualReason
    stop_sequence: None = None
    stop_details: None = None
    container: None = None


class UsualMessageDelta(Struct, forbid_unknown_fields=True, gc=False, tag_field="type", tag="message_delta"):
    """The end of a message."""

    delta: UsualStop
    usage: UsualCounts
    context_management: None = None


class UsualMessageStop(Struct, forbid_unknown_fields=True, gc=False, tag_field="type", tag="message_stop"):
    """The last event."""


class UsualPing(Struct, forbid_unknown_fields=True, gc=False, tag_field="type", tag="ping"):
    """A heartbeat."""


UsualEvent: TypeAlias = (
    UsualMessageStart | UsualBlockStart | UsualBlockDelta | UsualBlockStop | UsualMessageDelta | UsualMessageStop | UsualPing
)
