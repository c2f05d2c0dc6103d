"""The usual whole reply, decoded by type: one text, why it ended, and the counts of tokens.

A reply of any other form is rejected, to be read member by member.
"""

from __future__ import annotations

from msgspec.json import Decoder

from ...events import Event, Finish, Start, Text, Usage
from ..contract import TextAnswer
from .constants import REASONS
from .usual_bodies import UsualCounts, UsualReply

_decode = Decoder(UsualReply).decode


def usual_reply(body: bytes) -> list[Event] | None:
    """The events of a usual reply, the last its ``Finish``; ``None`` for any other body."""
    try:
        reply = _decode(body)
    except ValueError:
        return None
    if not (text := reply.content[0].text):
        return None
    events: list[Event] = [Start(reply.id, reply.model), Text(text)]
    if (counts := reply.usage) is not None:
        if counts.input_tokens is None or counts.output_tokens is None:
            return None
        if (usage := usage_of(counts)) is not None:
            events.append(usage)
    events.append(Finish("complete", REASONS[reply.stop_reason]))
    return events


def text_answer(body: bytes) -> TextAnswer | None:
    """What these events say, if the reply has its counts; ``None`` for any other body."""
    try:
        reply = _decode(body)
    except ValueError:
        return None
    text, counts = reply.content[0].text, reply.usage
    if not text or counts is None or counts.input_tokens is None or counts.output_tokens is None:
        return None
    if (usage := usage_of(counts)) is None:
        return None
    return TextAnswer(reply.id, reply.model, text, REASONS[reply.stop_reason], usage)


def usage_of(counts: UsualCounts) -> Usage | None:
    """See ``constants.usage_of``. The counts of tokens of the prompt and the answer must be there."""
    fresh, out = counts.input_tokens, counts.output_tokens
    assert fresh is not None
    assert out is not None
    read, written = counts.cache_read_input_tokens, counts.cache_creation_input_tokens
    if not (fresh or out or read or written):
        return None
    prompt, ages, details = fresh + (read or 0) + (written or 0), counts.cache_creation, counts.output_tokens_details
    hour = None if ages is None else ages.ephemeral_1h_input_tokens or None
    thoughts = None if details is None else details.thinking_tokens
    return Usage(prompt, out, prompt + out, read, written, thoughts, cache_write_1h_tokens=hour)
