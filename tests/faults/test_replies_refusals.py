"""Kinds of fault: a refusal that a dialect without a name for it leaves out, so that its client reads an empty answer."""

from __future__ import annotations

import pytest

from polychat.events import Event, Finish, Refusal, Start
from polychat.types import ChatMessage, ChatRequest, TextPart
from polychat.wire.contract import names, wire_named

WRITERS = [
    (name, member)
    for name in names()
    for member in dir(wire_named(name))
    if member == "writer" or (member.endswith("_writer") and callable(getattr(wire_named(name), member)))
]
"""What writes an answer: of each wire, and of its other endpoints."""


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("name", "member"), WRITERS)
def test_a_refusal_is_reported(name: str, member: str, stream: bool) -> None:
    """Its text reaches the client, wherever it asks: as a refusal, or as text where the wire has no other word."""
    request = ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], stream=stream)
    writer = getattr(wire_named(name), member)(request, "one", 1_700_000_000)
    events: list[Event] = [Start("one", "m"), Refusal("I will "), Refusal("not."), Finish("complete", "refusal")]
    body = b"".join([*(writer.write([event]) for event in events), writer.end()])
    assert writer.status == 200
    assert b"I will " in body
    assert b"not." in body
