"""What kind of sound some bytes are."""

from __future__ import annotations

_TYPES = {b"RIFF": "audio/wav", b"fLaC": "audio/flac", b"OggS": "audio/ogg", b"ID3": "audio/mpeg"}


def audio_type(data: bytes) -> str:
    """What sound this is, by its first bytes: a reply does not say. A stream of OpenAI's has bare samples."""
    for mark, kind in _TYPES.items():
        if data.startswith(mark):
            return kind
    if data[:1] == b"\xff" and data[1:2] in (b"\xfb", b"\xf3", b"\xf2"):
        return "audio/mpeg"
    return "audio/aac" if data[:2] in (b"\xff\xf1", b"\xff\xf9") else "audio/pcm"
