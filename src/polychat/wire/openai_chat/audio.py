"""The media type of audio, from its bytes."""

from __future__ import annotations

_TYPES = {b"RIFF": "audio/wav", b"fLaC": "audio/flac", b"OggS": "audio/ogg", b"ID3": "audio/mpeg"}


def audio_type(data: bytes) -> str:
    """The media type by the first bytes, because a reply does not name it. OpenAI's streams have raw samples."""
    for mark, kind in _TYPES.items():
        if data.startswith(mark):
            return kind
    if data[:1] == b"\xff" and data[1:2] in (b"\xfb", b"\xf3", b"\xf2"):
        return "audio/mpeg"
    return "audio/aac" if data[:2] in (b"\xff\xf1", b"\xff\xf9") else "audio/pcm"
