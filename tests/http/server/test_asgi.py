"""What the gateway gives its server and any other: the same answer."""

from __future__ import annotations

import pytest

from polychat.http.server.asgi import headers_in, respond
from polychat.http.server.cycle import header_lines

HEADERS = [(b"x-request-id", b"req_1"), (b"x-empty", b""), (b"x-time", b"a: b, c: d")]


def test_lines_are_the_headers_again() -> None:
    """A server that takes no ready lines gets the headers that they were made of."""
    assert headers_in(header_lines(HEADERS)) == HEADERS
    assert headers_in(header_lines([])) == []
    assert header_lines([(b"X-Case", b"1")]) == b"x-case: 1\r\n"


@pytest.mark.parametrize("header", [(b"x-a", b"1\r\nx-b: 2"), (b"x-a", b"\0"), (b"x a", b"1"), (b"x-a\n", b"1")])
def test_no_line_begins_another(header: tuple[bytes, bytes]) -> None:
    """Nothing that ends a line, and no other control character, becomes a header."""
    with pytest.raises(RuntimeError, match="header"):
        header_lines([header])


async def test_another_server_gets_ready_lines_as_headers() -> None:
    """Any ASGI server's ``send`` gets an answer's headers in pairs, and its length."""
    messages = []

    async def send(message: dict[str, object]) -> None:
        messages.append(message)

    await respond(send, 200, header_lines(HEADERS), b"body")  # type: ignore[arg-type]  # any mapping
    assert messages[0]["headers"] == [*HEADERS, (b"content-length", b"4")]
