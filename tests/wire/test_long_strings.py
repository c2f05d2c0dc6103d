"""The search for long strings in a body, and what is put back."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from polychat.http.pool.body import RequestBody, blocks
from polychat.wire.long_strings import LEAST
from polychat.wire.placeholders import with_placeholders

from ..support.linear_time import is_linear

PNG = b"\x89PNG\r\n\x1a\n"


def as_sent(body: RequestBody) -> bytes:
    """All bytes of a body."""
    return b"".join(blocks(body, 65536))


@pytest.mark.parametrize(
    "make",
    [
        lambda size: b'{"data":"' + base64.b64encode(PNG + bytes(size // 4 * 3)) + b'"}',
        lambda size: b'{"data":"' + base64.b64encode(PNG + bytes(size // 4 * 3)),
        lambda size: b'{"data":"iVBORw0KGgo' + b"\\/" * (size // 2) + b'"}',
        lambda size: b'"' * size,
        lambda size: (b'["' + b" " * LEAST) * (size // LEAST),
        lambda size: b'{"images":[' + (b'"iVBORw0KGgo' + b"A" * (LEAST + 1) + b'",') * (size // LEAST) + b'""]}',
        lambda size: (b'"' + b"x" * (LEAST - 1)) * (size // LEAST),
        lambda size: b'{"text":"' + b"some words\\n" * (size // 12) + b'"}',
        lambda size: b'{"text":"' + b"some words\\n" * (size // 12),
        lambda size: b'{"text":"' + b"\\" * (size // 2 * 2) + b'"}',
        lambda size: b'"text":"",' * (size // 10),
        lambda size: b'"text"' * (size // 6),
        lambda size: b'{"text":"' + b"\xe2\x80\x9c" * (size // 3) + b'"}',
        lambda size: b'{"arguments":"{' + b'\\"a\\":\\"' * (size // 9) + b'"}',
        lambda size: b'{"arguments":"{\\"a\\":\\"' + b"some words\\\\n" * (size // 13) + b'\\"}"}',
        lambda size: b'{"arguments":"{\\"a\\":\\"' + b"some words\\\\n" * (size // 13),
        lambda size: b'{"arguments":"{' + (b'\\"a\\":\\"' + b"\\u0022" * 4000) * (size // 24_009) + b'"}',
        lambda size: b'"a":"' * (size // 5),
    ],
    ids=[
        *("one", "without an end", "slashes", "quotes", "blanks", "many", "short ones"),
        *("text", "text without an end", "backslashes", "empty texts", "names", "letters"),
        *("names in arguments", "arguments", "arguments without an end", "other quotes in arguments", "any names"),
    ],
)
def test_the_search_takes_linear_time(make: Any) -> None:
    """Whatever a body is, and what is found is put back."""

    def work(body: bytes) -> None:
        aside = with_placeholders(body, lambda: "0123456789ab" * 2)
        assert aside is None or (len(sent := aside.sent(aside.short)) == len(body) and as_sent(sent) == body)

    linear, measured = is_linear(make, work, 4_000_000)
    assert linear, measured
