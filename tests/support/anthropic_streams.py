"""Streams of Anthropic's wire, written event by event, and what its reader makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from polychat.events import Event, Finish, Text
from polychat.wire.anthropic import Reader

from .members import MISSING, objects

CORPUS = Path(__file__).parent.parent / "corpus" / "anthropic"
COUNTS = st.sampled_from([0, 3, 7, 10, 10, MISSING, None, -1, 1.0, True, "3", 1 << 70])
USAGES = objects(
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cache_read_input_tokens=COUNTS,
    cache_creation_input_tokens=COUNTS,
    cache_creation=st.one_of(
        st.sampled_from([MISSING, None, {}, 3]), objects(ephemeral_5m_input_tokens=COUNTS, ephemeral_1h_input_tokens=COUNTS)
    ),
    output_tokens_details=st.one_of(st.sampled_from([MISSING, None, {}]), objects(thinking_tokens=COUNTS)),
    iterations=st.sampled_from([*[MISSING] * 9, [{"type": "compaction", "input_tokens": 5}]]),
    estimated=st.sampled_from([*[MISSING] * 9, True]),
)
"""Counts of tokens as a server may send them, or nearly."""


def recorded(name: str) -> bytes:
    return (CORPUS / name).read_bytes()


def read(pieces: list[bytes], **options: Any) -> list[Event]:
    reader = Reader(**options)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.end()]


def stream(*values: dict[str, Any] | str) -> bytes:
    """A stream of those values, or of raw data lines."""
    lines = (value if isinstance(value, str) else json.dumps(value) for value in values)
    return b"".join(b"data: " + line.encode() + b"\n\n" for line in lines)


def start(**usage: int) -> dict[str, Any]:
    return {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": usage}}


def begin(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", **fields}}


def ended(reason: str | None, **fields: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **fields}, "usage": {"output_tokens": 7}}


LAST = {"type": "message_stop"}


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def finish_of(events: list[Event]) -> Finish:
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(event, Finish) for event in events) == 1
    return events[-1]


def reprs(events: list[Event]) -> list[str]:
    """The events so that equal ones are equal: errors are by their words."""
    return [repr(event) for event in events]


def only(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
