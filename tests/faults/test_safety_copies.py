"""Kind: a large body that is held many times over while it is translated."""

from __future__ import annotations

import tracemalloc

import pytest

from polychat.types import Ask, ImagePart, TextPart, Tool, Turn
from polychat.wire import _json
from polychat.wire.wires import names, wire

IMAGE = 8 << 20
COPIES = 3.3


def with_an_image() -> Ask:
    """A request with a tool and a large image."""
    picture = ImagePart(data=b"\x89PNG\r\n\x1a\n" + bytes(IMAGE), media_type="image/png")
    tool = Tool("f", "d", {"type": "object", "properties": {"a": {"type": "string"}}})
    return Ask("m", [Turn("user", [TextPart("what is it"), picture])], [tool], max_tokens=9)


@pytest.mark.parametrize("to", names())
@pytest.mark.parametrize("come", names())
def test_a_translated_image_is_held_few_times(come: str, to: str) -> None:
    """From a body that was read to the body that is sent, at no moment is more held than so many times the body."""
    reads, writes = wire(come), wire(to)
    body = _json.encoded(reads.write_request(with_an_image(), vendor=reads.VENDOR))
    assert len(body) > IMAGE
    tracemalloc.start()
    try:
        ask = reads.read_request(body, model="m", stream=True)
        sent = _json.encoded(writes.write_request(ask, vendor="nobody"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(sent) > IMAGE
    assert peak <= COPIES * len(body), f"{peak / len(body):.2f} times the body"
