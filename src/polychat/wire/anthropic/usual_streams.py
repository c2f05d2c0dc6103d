"""A usual stream that has come whole, decoded by type in one step: a text in a few pieces, why it ended, the counts of tokens.

As in ``usual_events``: a stream of any other form is left to the reader, which reads it event by event.
"""

from __future__ import annotations

from msgspec.json import Decoder

from ...events import Event
from ..contract import TextStream
from .constants import COUNTED, REASONS
from .usual_bodies import UsualCounts
from .usual_events import (
    UsualBlockDelta,
    UsualBlockStart,
    UsualBlockStop,
    UsualEvent,
    UsualMessageDelta,
    UsualMessageStart,
    UsualMessageStop,
    UsualPing,
)
from .usual_replies import usage_of

_decode = Decoder(tuple[UsualEvent, ...]).decode
_MOST = 24
"""Events; of longer streams the reader reads each event faster, as it knows what stands around their texts."""
_SIZE = 16 * 1024
_COUNTED = [name for name in COUNTED if name in UsualCounts.__struct_fields__]
_SILENT = (UsualBlockStart, UsualBlockStop, UsualPing)
"""Events that say nothing of the text."""
_NAME, _DATA = b"event: ", b"data: {"
_NEXT_NAME, _NEXT_DATA = b"\n" + _NAME, b"\n" + _DATA


def usual_stream(body: bytes) -> list[Event] | None:
    """The events of a usual stream, the last its ``Finish``; ``None`` for any other body."""
    stream = text_stream(body)
    return None if stream is None else stream.events()


def text_stream(body: bytes) -> TextStream | None:
    """What these events say; ``None`` for any other body."""
    if len(body) > _SIZE or body[-2:] != b"\n\n" or body.find(b"\r") >= 0:
        return None
    lines = body.split(b"\n", 3 * _MOST + 1)
    count = len(lines) // 3
    # A name, an object and a blank line each. No loop over the lines: they are joined, and counted by what begins each.
    if len(lines) != 3 * count + 1 or any(lines[2::3]):
        return None
    names, values = b"\n".join(lines[:-1:3]), b"\n".join(lines[1::3])
    if not (names.startswith(_NAME) and values.startswith(_DATA)):
        return None
    if names.count(_NEXT_NAME) != count - 1 or values.count(_NEXT_DATA) != count - 1:
        return None
    # Between two objects only the outer list can go on, as a text contains no line end: if there are as many values as lines,
    # the lines are these values.
    try:
        events = _decode(b"[{%b]" % values[7:].replace(_NEXT_DATA, b",\n{"))
    except ValueError:
        return None
    return _text(events) if len(events) == count else None


def _text(usual: tuple[UsualEvent, ...]) -> TextStream | None:
    """What a message says that begins with the first of these events and ends with the last."""
    first, *between, last = usual if len(usual) > 1 else (None, None)
    if type(first) is not UsualMessageStart or type(last) is not UsualMessageStop:
        return None
    message, reason = first.message, None
    counts = message.usage or UsualCounts()
    texts: list[str] = []
    for event in between:
        if type(event) in _SILENT:
            continue
        if type(event) is UsualBlockDelta:
            if text := event.delta.text:
                texts.append(text)
        elif type(event) is UsualMessageDelta:
            reason = event.delta.stop_reason
            _update(counts, event.usage)
        else:
            return None
    if reason is None or not texts or counts.input_tokens is None or counts.output_tokens is None:
        return None
    return TextStream(message.id, message.model, texts, REASONS[reason], usage_of(counts))


def _update(counts: UsualCounts, later: UsualCounts) -> None:
    """Counts are cumulative; a missing one keeps its value."""
    for name in _COUNTED:
        if (count := getattr(later, name)) is not None:
            setattr(counts, name, count)
