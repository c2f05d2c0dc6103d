"""The usual whole reply, decoded by type: one answer that is text, why it ended, and the counts of tokens.

A reply of any other form is rejected, to be read member by member.
"""

from __future__ import annotations

from msgspec.json import Decoder

from ...events import Event, Finish, Start, Text
from ..contract import TextAnswer
from .usage import with_reasoning
from .usual_bodies import UsualReply
from .usual_usage import counts_of

_decode = Decoder(UsualReply).decode


def usual_reply(body: bytes) -> list[Event] | None:
    """The events of a usual reply, the last its ``Finish``; ``None`` for any other body."""
    try:
        reply = _decode(body)
    except ValueError:
        return None
    answer, counts = reply.choices[0], reply.usage
    if not (content := answer.message.content):
        return None
    events: list[Event] = [Start(reply.id or None, reply.model or None)] if reply.id or reply.model else []
    events.append(Text(content))
    if counts is not None:
        usage = counts_of(counts)
        events.append(with_reasoning(usage) if usage.reasoning_tokens else usage)
    events.append(Finish("complete", answer.finish_reason))
    return events


def text_answer(body: bytes) -> TextAnswer | None:
    """What these events say, if the reply has its counts; ``None`` for any other body."""
    try:
        reply = _decode(body)
    except ValueError:
        return None
    answer, counts = reply.choices[0], reply.usage
    if counts is None or not (content := answer.message.content):
        return None
    usage = counts_of(counts)
    if usage.reasoning_tokens:
        usage = with_reasoning(usage)
    return TextAnswer(reply.id or None, reply.model or None, content, answer.finish_reason, usage)
