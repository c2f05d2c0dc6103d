"""Streams that fail after their first words, in each way; the end of a stream, and its text, in each dialect."""

from __future__ import annotations

from polychat.events import Text
from polychat.gateway.paths import DIALECTS

from .running_gateway import DONE, chunk, event, text

ERROR = event({"error": {"message": "out of memory", "type": "server_error"}})
AFTER: dict[str, tuple[list[bytes | None], str]] = {
    "cut": ([None], "truncated"),
    "cut amid an event": ([text("lo")[:30], None], "truncated"),
    "ended too soon": ([], "truncated"),
    "an error": ([ERROR], "failed"),
    "an error, then the mark": ([ERROR, DONE], "failed"),
    "an error without its end": ([ERROR[:-2]], "failed"),
    "an end that is none": ([chunk({}, "error"), DONE], "failed"),
}
"""What comes after the first words, and the verdict; ``None`` breaks the connection."""
ENDS = {
    "openai-chat": b"data: [DONE]",
    "openai-completions": b"data: [DONE]",
    "openai-responses": b"response.completed",
    "anthropic": b"message_stop",
    "gemini": b'"finishReason":"STOP"',
    "ollama": b'"done":true',
}
"""What ends a complete stream of each dialect."""


def words_of(dialect: str, body: bytes) -> str:
    """The text of a stream, as the dialect's own reader has it."""
    reader = DIALECTS[dialect].wire.Reader()
    events = reader.feed(body)
    if not reader.done:
        events += reader.end()
    return "".join(one.text for one in events if isinstance(one, Text))
