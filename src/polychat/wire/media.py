"""Media types, from the first bytes of data and from names that clients use."""

from __future__ import annotations

import re

_BEGINS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_CALLED = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "application/x-pdf": "application/pdf",
}
_TEXT = re.compile(r"text/|application/(?:.+\+)?(?:json|xml|yaml|x-yaml|toml|javascript|x-sh|sql|x-ndjson)$")
_PAGE = re.compile(rb"/Type\s*/Page\b")


def type_of_bytes(data: bytes) -> str | None:
    """The media type of an image or PDF that every vendor knows; ``None`` for any other data."""
    for begin, kind in _BEGINS:
        if data.startswith(begin):
            return kind
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def type_named(kind: str) -> str:
    """A media type by its registered name, without parameters: ``image/jpg`` is ``image/jpeg``."""
    plain = kind.partition(";")[0].strip().lower()
    return _CALLED.get(plain, plain)


def is_text(kind: str) -> bool:
    """Whether a media type is a text type."""
    return _TEXT.match(type_named(kind)) is not None


def pages_of(data: bytes) -> int:
    """Pages of a PDF, as far as its uncompressed part shows; 1 or more."""
    return max(1, len(_PAGE.findall(data)))
