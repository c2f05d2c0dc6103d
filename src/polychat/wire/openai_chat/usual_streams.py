"""A usual stream that has come whole, decoded by type in one step: who speaks, a few texts, an end, the counts of tokens.

As in ``usual_chunks``: a stream of any other form is left to the reader, or the monitor, which reads it chunk by chunk.
"""

from __future__ import annotations

import re
from typing import get_args

from msgspec.json import Decoder

from ...events import Event, Finish, Usage
from ..contract import TextStream
from .usage import with_reasoning
from .usual_bodies import UsualEnd
from .usual_chunks import UsualChunk
from .usual_usage import counts_of

_decode = Decoder(tuple[UsualChunk, ...]).decode
_MOST = 16
"""Chunks; of longer streams the reader reads each chunk faster, as it knows what stands around their texts."""
_SIZE = 16 * 1024
SMALL = 4096
"""Bytes of a read that passes in which all chunks are decoded if one of them is."""
_FIRST, _BETWEEN, _LAST = b"data: {", b"}\n\ndata: {", b"}\n\ndata: [DONE]\n\n"
_ENDS = get_args(UsualEnd)
ROLE = b'"role"'
NO_CHOICES = re.compile(rb'"choices":\s?\[\s?\]')


def usual_stream(body: bytes) -> list[Event] | None:
    """The events of a usual stream, the last its ``Finish``; ``None`` for any other body."""
    if (stream := text_stream(body)) is None:
        return None
    return stream.events(has_start=stream.id is not None or stream.model is not None)


def text_stream(body: bytes) -> TextStream | None:
    """What these events say; ``None`` for any other body."""
    chunks = _chunks(_objects(body)) if len(body) <= _SIZE else None
    return None if chunks is None else _text(chunks)


def usual_passing(body: bytes, *, usage: bool) -> tuple[bytes, Finish, Usage | None, str | None] | None:
    """What ``ChunkMonitor`` forwards of a usual stream, and its finish, usage and model; ``None`` for any other body."""
    if len(body) > SMALL or (chunks := _chunks(objects := _objects(body))) is None:
        return None
    has_content, reason, counts, served = False, None, None, None
    for chunk, text in zip(chunks, objects, strict=True):
        if has_content and ROLE in text:
            return None  # it may open another reply
        if chunk.choices:
            choice = chunk.choices[0]
            if finish := choice.finish_reason:
                if finish not in _ENDS:
                    return None
                reason, has_content = finish, True
            elif choice.delta.content:
                has_content = True
        served = served or chunk.model
        if chunk.usage is not None:
            counts = chunk.usage
    if not has_content:
        return None
    if not usage and body.count(b'"choices":') != body.count(b'"choices":[{'):
        passed = [each for each in objects if b'"usage"' not in each or NO_CHOICES.search(each) is None]
        if len(passed) < len(objects):
            body = b"%b%b%b" % (_FIRST, _BETWEEN.join(passed), _LAST)
    counted = None if counts is None else with_reasoning(counts_of(counts))
    return body, Finish("complete", reason), counted, served or None


def _objects(body: bytes) -> list[bytes]:
    """The inside of each object of a stream whose lines are one object each, as far as can be said; otherwise empty."""
    if not (body.startswith(_FIRST) and body.endswith(_LAST)):
        return []
    objects = body[7:-17].split(_BETWEEN)
    text = b"".join(objects)
    return objects if len(objects) <= _MOST and text.find(b"\n") < 0 and text.find(b"\r") < 0 else []


def _chunks(objects: list[bytes]) -> tuple[UsualChunk, ...] | None:
    """The chunks with these insides. Between two only the outer list can go on, as a text contains no line end: if there are
    as many values as lines, the lines are these values.
    """
    try:
        chunks = _decode(b"[{%b}]" % b"},\n{".join(objects))
    except ValueError:
        return None
    return chunks if len(chunks) == len(objects) else None


def _text(chunks: tuple[UsualChunk, ...]) -> TextStream | None:
    """What chunks in the usual order say."""
    first = chunks[0]
    if not first.choices or first.usage is not None:
        return None
    choice = first.choices[0]
    delta = choice.delta
    if delta.content or choice.finish_reason or (delta.content is None and delta.role is None):
        return None  # it says more than who speaks, or less
    texts: list[str] = []
    reason, usage = None, None
    for chunk in chunks[1:]:
        choices = chunk.choices
        if choices:
            choice = choices[0]
            content = choice.delta.content
            if content:
                if choice.finish_reason or chunk.usage is not None:
                    return None
                texts.append(content)
                continue
            reason = choice.finish_reason
            if content is not None or choice.delta.role is not None or reason not in _ENDS:
                return None
        elif chunk.usage is None:
            return None
        if chunk.usage is not None:
            usage = with_reasoning(counts_of(chunk.usage))
    return None if reason is None or not texts else TextStream(first.id or None, first.model or None, texts, reason, usage)
