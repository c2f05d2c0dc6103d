"""What this wire calls things."""

from __future__ import annotations

from typing import Any

NAME = "ollama"
VENDOR = "ollama"

GENERATE_ONLY = ("suffix", "template", "context", "raw")
"""What ``/api/generate`` alone takes: a request that has one of these goes there."""

JOINED = "\n\n"
"""Between texts that become one: as the server's templates join neighbouring messages of one role."""

REASONING_SIGNATURE = "thinking_signature"
CALL_SIGNATURE = "signature"
"""Where opaque parts travel: this wire has no place of its own for them."""

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
"""A tool without arguments: the server demands a schema."""

DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
"""Nanoseconds, in the last line of a reply."""

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def image_type(data: bytes) -> str:
    """The media type of an image, which this wire leaves to its first bytes; PNG where they say nothing."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS if data.startswith(beginning)), "image/png")
