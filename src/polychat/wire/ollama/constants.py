"""Constants of this wire."""

from __future__ import annotations

from typing import Any

NAME = "ollama"
VENDOR = "ollama"

GENERATE_ONLY = ("suffix", "template", "context", "raw")
"""Fields that only ``/api/generate`` has: a request with one of them is sent there."""

JOINED = "\n\n"
"""The separator of texts that are joined: the same as the server's templates put between messages of one role."""

REASONING_SIGNATURE = "thinking_signature"
CALL_SIGNATURE = "signature"
"""The member for opaque parts: this wire has none of its own."""

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
"""The schema of a tool without arguments: the server requires one."""

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
    """The media type of an image, which this wire does not name, from its first bytes; PNG if they are unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for beginning, kind in _BEGINNINGS if data.startswith(beginning)), "image/png")
