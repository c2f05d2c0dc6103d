"""A usual stream that has come whole, decoded by type in one step: who speaks, a few texts, an end, the counts of tokens.

As in ``usual_chunks``: a stream of any other form is left to the reader, which reads it chunk by chunk.
"""

from __future__ import annotations

from typing import get_args

from msgspec.json import Decoder

from ...events import Event, Finish, Start, Text
from .usage import with_reasoning
from .usual_chunks import UsualChunk
from .usual_replies import UsualEnd
from .usual_usage import counts_of

_decode = Decoder(tuple[UsualChunk, ...]).decode
_MOST = 16
"""Chunks; of longer streams the reader reads each chunk faster, as it knows what stands around their texts."""
_SIZE = 16 * 1024
_FIRST, _BETWEEN, _LAST = b"data: {", b"}\n\ndata: {", b"}\n\ndata: [DONE]\n\n"
_ENDS = get_args(UsualEnd)


def usual_stream(body: bytes) -> list[Event] | None:
    """The events of a usual stream, the last its ``Finish``; ``None`` for any other body."""
    if len(body) > _SIZE or body[:7] != _FIRST or body[-17:] != _LAST:
        return None
    # Each line is to be one object. Between two objects only the outer list can go on, as a text contains no line end: if there
    # are as many values as lines, the lines are these values.
    lines = body[6:-16].split(b"\n\ndata: ")
    count = len(lines)
    if count > _MOST or body.count(_BETWEEN) != count - 1 or body.count(b"\n") != 2 * count + 2 or body.find(b"\r") >= 0:
        return None
    try:
        chunks = _decode(b"[%b]" % b",\n".join(lines))
    except ValueError:
        return None
    return _events(chunks) if len(chunks) == count else None


def _events(chunks: tuple[UsualChunk, ...]) -> list[Event] | None:
    """The events of chunks in the usual order."""
    if not _opens(first := chunks[0]):
        return None
    events: list[Event] = [Start(first.id or None, first.model or None)] if first.id or first.model else []
    begun, reason, usage = len(events), None, None
    for chunk in chunks[1:]:
        counts = chunk.usage
        if chunk.choices:
            choice = chunk.choices[0]
            content, finish = choice.delta.content, choice.finish_reason
            if content and not finish and counts is None:
                events.append(Text(content))
                continue
            if content is not None or choice.delta.role is not None or finish not in _ENDS:
                return None
            reason = finish
        elif counts is None:
            return None
        if counts is not None:
            usage = with_reasoning(counts_of(counts))
    if reason is None or len(events) == begun:
        return None
    if usage is not None:
        events.append(usage)
    events.append(Finish("complete", reason))
    return events


def _opens(chunk: UsualChunk) -> bool:
    """Whether it only says who speaks."""
    if not chunk.choices or chunk.usage is not None:
        return False
    choice = chunk.choices[0]
    content = choice.delta.content
    return not (content or choice.finish_reason) and not (content is None and choice.delta.role is None)
