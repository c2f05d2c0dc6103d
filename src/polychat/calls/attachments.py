"""Images and files that go with a request: by URL, by path, or as bytes."""

from __future__ import annotations

import mimetypes
import os
from base64 import b64decode
from pathlib import Path
from typing import TypeGuard
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from ..errors import BadInput
from ..prompt import decoded_text
from ..types import AudioPart, FilePart, ImagePart, Part, TextPart

MAX_FILE = 64 * 1024 * 1024
"""Bytes of one file, at most."""

_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"%PDF-": "application/pdf"}


def image(source: object, field: str) -> ImagePart:
    """An image from an ``https:`` or ``data:`` URL, a path, or bytes. Raises ``BadInput`` that names ``field``."""
    if _is_remote(source):
        return ImagePart(url=source)
    data, media_type, name = _content(source, field)
    if not (media_type or "").startswith("image/"):
        what = field if name is None else f"{field}: {name}"
        raise BadInput(f"{what} is not an image of a known format (PNG, JPEG, GIF, WebP, …)", field=field)
    return ImagePart(data=data, media_type=media_type)


def file(source: object, field: str, *, plain: bool = False) -> Part:
    """The part of a message that a document becomes; ``source`` is a URL, a path, or bytes. Raises ``BadInput``.

    A text becomes a ``TextPart`` under its file name, or with ``plain`` without it; audio and images become parts of their
    own kind.
    """
    if _is_remote(source):
        return FilePart(url=source)
    data, media_type, name = _content(source, field)
    part = content_part(data, media_type, name, field)
    return TextPart(f"{name or 'file'}:\n\n{part.text}") if isinstance(part, TextPart) and not plain else part


def content_part(data: bytes, media_type: str | None, name: str | None, field: str) -> Part:
    """The part for a document's bytes: an image, audio, a text as it is, or a file. Raises ``BadInput`` for unknown bytes.

    A text is known by its bytes: the types of names call TypeScript a video, and shell scripts applications.
    """
    kind = _sniffed(data) or media_type or _UNKNOWN
    if kind.startswith("image/"):
        return ImagePart(data=data, media_type=kind)
    if kind.startswith("audio/"):
        return AudioPart(data, kind)
    is_text = kind.startswith("text/") or kind in (_UNKNOWN, "application/json", "application/xml")
    if is_text or (kind != "application/pdf" and b"\0" not in data and _is_text(data)):
        return TextPart(_text(data, name, field))
    return FilePart(data=data, media_type=kind, name=name)


_UNKNOWN = "application/octet-stream"


def _is_remote(source: object) -> TypeGuard[str]:
    return isinstance(source, str) and source[:8].lower().startswith(("http://", "https://"))


def _is_text(data: bytes) -> bool:
    try:
        return bool(decoded_text(data))
    except UnicodeDecodeError:
        return False


def _text(data: bytes, name: str | None, field: str) -> str:
    try:
        return decoded_text(data)
    except UnicodeDecodeError:
        source = f"{field}: {name}" if name else field
        raise BadInput(
            f"{source} is neither UTF-8 text nor a document of a known type: name it with its extension, such as .pdf",
            field=field,
        ) from None


def _content(source: object, field: str) -> tuple[bytes, str | None, str | None]:
    """The bytes of ``source``, its media type, and its file name; ``None`` where they are unknown. Raises ``BadInput``."""
    if isinstance(source, (bytes, bytearray)):
        return bytes(source), _sniffed(bytes(source)), None
    if isinstance(source, str) and source[:5].lower() == "data:":
        return _data_url(source, field)
    if not isinstance(source, (str, os.PathLike)):
        raise BadInput(f"{field} is {type(source).__name__}; it must be a URL, a path or bytes", field=field)
    path = _path(source)
    try:
        with open(path, "rb") as opened:
            data = opened.read(MAX_FILE + 1)  # a pipe has no size of its own
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{field}: {_shown(path)} cannot be read: {reason}", field=field) from None
    if len(data) > MAX_FILE:
        raise BadInput(
            f"{field}: {_shown(path)} is larger than {MAX_FILE:,} bytes: send a smaller one, or its URL", field=field
        )
    return data, _sniffed(data) or mimetypes.guess_type(path.name)[0], path.name


def _shown(path: Path) -> str:
    """A path in letters that every terminal and log takes: names of files may hold any bytes."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _path(source: str | os.PathLike[str]) -> Path:
    """The path that ``source`` is, or that a ``file:`` URL names, which is what file managers give."""
    if isinstance(source, str) and source[:7].lower() == "file://":
        return Path(unquote(urlsplit(source).path))
    return Path(source)


def _data_url(url: str, field: str) -> tuple[bytes, str | None, str | None]:
    head, comma, body = url[5:].partition(",")
    media_type, *parameters = head.split(";")
    try:
        data = b64decode(body, validate=True) if "base64" in parameters else unquote_to_bytes(body)
    except ValueError:
        comma = ""
    if not comma:
        raise BadInput(f"{field} is a data: URL that cannot be read", field=field)
    return data, media_type or _sniffed(data), None


def _sniffed(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] in (b"WEBP", b"WAVE"):
        return "image/webp" if data[8:12] == b"WEBP" else "audio/wav"
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
