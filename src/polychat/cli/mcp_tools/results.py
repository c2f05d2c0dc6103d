"""What a call of an MCP tool gave, as parts of a message: text and images as they are, other things in words."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Iterator

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from ...calls.attachments import content_part
from ...errors import BadInput, redact
from ...types import FilePart, ImagePart, TextPart
from ...wire.json_text import json_of
from ..tool_calls import ResultPart, ToolOutcome

MOST_BYTES = 20_000_000
"""Bytes of a result's images and files."""


def outcome_of(result: CallToolResult) -> ToolOutcome:
    """Its content, or where there is none its structured value."""
    left = MOST_BYTES
    parts: list[ResultPart] = []
    for block in result.content:
        for part in _parts(block):
            size = len(getattr(part, "data", None) or b"")
            left -= size
            kept = part if left >= 0 else TextPart(f"({size:,} bytes are left out: the result has too many)")
            parts.append(kept)
    if not parts and result.structured_content is not None:
        parts.append(TextPart(json_of(result.structured_content)))
    return ToolOutcome(parts, result.is_error)


def _parts(block: object) -> Iterator[ResultPart]:
    match block:
        case TextContent(text=text):
            yield TextPart(text)
        case ImageContent(data=data, mime_type=kind):
            yield _binary(data, kind, "an image")
        case AudioContent(mime_type=kind, data=data):
            yield TextPart(f"(audio, {redact(kind, 60)}, {len(data) * 3 // 4:,} bytes: left out)")
        case ResourceLink(uri=uri, name=name, mime_type=mime_type):
            yield TextPart(f"(the resource {name} at {uri}{f', {mime_type}' if mime_type else ''})")
        case EmbeddedResource(resource=TextResourceContents(uri=uri, text=text)):
            yield TextPart(f"{uri}:\n\n{text}")
        case EmbeddedResource(resource=BlobResourceContents(uri=uri, blob=data, mime_type=mime_type)):
            yield TextPart(f"{uri}:")
            yield _binary(data, mime_type or "", "a resource")


def _binary(data: str, kind: str, what: str) -> ResultPart:
    """An image, a text or a PDF, as what it is; anything else in words."""
    try:
        content = b64decode(data, validate=True)
        part = content_part(content, kind or None, None, "content")
    except (NoBase64, ValueError, BadInput):
        return TextPart(f"({what} that cannot be read)")
    is_sent = isinstance(part, (TextPart, ImagePart)) or (isinstance(part, FilePart) and part.media_type == "application/pdf")
    if is_sent and isinstance(part, (TextPart, ImagePart, FilePart)):
        return part
    return TextPart(f"({what}, {redact(kind or 'of an unknown type', 60)}, {len(content):,} bytes: left out)")
