"""Bytes inside JSON: ``data:`` URLs, base64, and what kind of sound some bytes are."""

from __future__ import annotations

from base64 import b64decode, b64encode

from ...errors import BadInput
from ..fields import text

_SOUNDS = {b"RIFF": "audio/wav", b"fLaC": "audio/flac", b"OggS": "audio/ogg", b"ID3": "audio/mpeg"}


def data_url(media_type: str | None, data: bytes) -> str:
    return f"data:{media_type or 'application/octet-stream'};base64,{b64encode(data).decode()}"


def from_data_url(url: str, field: str) -> tuple[str, bytes]:
    """Media type and bytes. Raises ``BadInput``."""
    head, comma, body = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise BadInput(f"{field} must be data:TYPE;base64,…", field=field)
    return head[5:-7].partition(";")[0] or "application/octet-stream", base64(body, field)


def base64(value: object, field: str) -> bytes:
    """The bytes. Raises ``BadInput``."""
    said = text(value, field)
    try:
        return b64decode(said, validate=True)
    except ValueError:
        raise BadInput(f"{field} is not base64", field=field) from None


def sound_type(data: bytes) -> str:
    """What sound this is, by its first bytes: a reply does not say. A stream of OpenAI's has bare samples."""
    for mark, kind in _SOUNDS.items():
        if data.startswith(mark):
            return kind
    if data[:1] == b"\xff" and data[1:2] in (b"\xfb", b"\xf3", b"\xf2"):
        return "audio/mpeg"
    return "audio/aac" if data[:2] in (b"\xff\xf1", b"\xff\xf9") else "audio/pcm"
