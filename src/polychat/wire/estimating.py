"""Estimates the tokens of a request whose backend does not count them.

Text counts one token for every four bytes of UTF-8, in messages as in tools and schemas (as JSON); an image 1,600, the
maximum that Anthropic counts for one of ordinary size; a page of a PDF 2,000; audio one token for every 1,000 bytes.
"""

from __future__ import annotations

from ..types import (
    AudioPart,
    ChatRequest,
    FilePart,
    HostedTool,
    ImagePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    Tool,
    ToolCall,
    ToolResult,
)
from .json_text import encoded
from .media import is_text, pages_of

BYTES_A_TOKEN = 4
"""For English with current tokenizers; code and other scripts have fewer."""
IMAGE = 1_600
PAGE = 2_000
_SOUND = 1_000


def estimated_prompt(request: ChatRequest, text_aside: int = 0) -> int:
    """Tokens of the prompt with tools, schema and media; ``text_aside``: bytes of text that placeholders replace in it."""
    return -(-(text_aside + prompt_size(request)) // BYTES_A_TOKEN)


def prompt_size(request: ChatRequest) -> int:
    """The same in bytes of text, or the equivalent number of tokens."""
    size = sum(_size(part) for message in request.messages for part in message.parts) + sum(
        _described(tool) for tool in request.tools
    )
    if request.format is not None and request.format.schema is not None:
        size += len(encoded(request.format.schema))
    return size


def measures_media(request: ChatRequest) -> bool:
    """Whether estimating the request's tokens reads its media: pages of documents, the length of audio."""
    parts = [part for message in request.messages for part in message.parts]
    parts += [inner for part in parts if isinstance(part, ToolResult) for inner in part.parts]
    return any(isinstance(part, (AudioPart, FilePart)) for part in parts)


def size_of(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _size(part: object) -> int:
    """In bytes of text, or the equivalent number of tokens."""
    match part:
        case TextPart(text) | ReasoningPart(text) | RefusalPart(text):
            return size_of(text)
        case ToolCall(name=name, arguments=arguments):
            return size_of(name) + size_of(arguments)
        case ToolResult(parts=parts):
            return sum(map(_size, parts))
        case ImagePart():
            return IMAGE * BYTES_A_TOKEN
        case AudioPart(data):
            return len(data) * BYTES_A_TOKEN // _SOUND
        case FilePart():
            return _document(part)
    return 0


def _document(part: FilePart) -> int:
    kind = part.media_type or ""
    if part.data is not None and is_text(kind):
        return len(part.data)
    if kind.startswith("image/"):
        return IMAGE * BYTES_A_TOKEN
    return PAGE * BYTES_A_TOKEN * (1 if part.data is None else pages_of(part.data))


def _described(tool: Tool | HostedTool) -> int:
    if isinstance(tool, HostedTool):
        return len(encoded(tool.spec))
    schema = 0 if tool.parameters is None else len(encoded(tool.parameters))
    return size_of(tool.name) + size_of(tool.description or "") + schema
