"""Results of MCP tools as parts of a message."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from mcp_types import CallToolResult

from polychat.cli.mcp_tools import results
from polychat.cli.mcp_tools.results import outcome_of
from polychat.types import FilePart, ImagePart, TextPart

PNG, PDF = b"\x89PNG\r\n\x1a\n", b"%PDF-1.7"


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def outcome(*content: dict[str, Any], **more: Any) -> list[Any]:
    return list(outcome_of(CallToolResult.model_validate({"content": content, **more})).parts)


def resource(**contents: Any) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": "file:///a", **contents}}


def test_what_models_read_is_sent_and_the_rest_is_named() -> None:
    """Texts, images, PDFs; audio, links and other bytes in words."""
    assert outcome(
        {"type": "text", "text": "one"},
        {"type": "image", "data": packed(PNG), "mimeType": "image/png"},
        {"type": "audio", "data": packed(b"123456"), "mimeType": "audio/wav"},
        {"type": "resource_link", "uri": "file:///b", "name": "b", "mimeType": "text/plain"},
        resource(text="two"),
        resource(blob=packed(PDF)),
        resource(blob=packed(b"\0\xff"), mimeType="application/zip"),
        {"type": "image", "data": "???", "mimeType": "image/png"},
    ) == [
        TextPart("one"),
        ImagePart(data=PNG, media_type="image/png"),
        TextPart("(audio, audio/wav, 6 bytes: left out)"),
        TextPart("(the resource b at file:///b, text/plain)"),
        TextPart("file:///a:\n\ntwo"),
        TextPart("file:///a:"),
        FilePart(data=PDF, media_type="application/pdf"),
        TextPart("file:///a:"),
        TextPart("(a resource, application/zip, 2 bytes: left out)"),
        TextPart("(an image that cannot be read)"),
    ]


def test_a_structured_value_stands_in_for_content() -> None:
    """Where there is none; an error stays one."""
    assert outcome(structuredContent={"a": [1]}) == [TextPart('{"a":[1]}')]
    assert outcome({"type": "text", "text": "1"}, structuredContent={"a": 1}) == [TextPart("1")]
    assert outcome_of(CallToolResult(content=[], is_error=True)).is_error


def test_bytes_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all of a result."""
    monkeypatch.setattr(results, "MOST_BYTES", 10)
    image = {"type": "image", "data": packed(PNG), "mimeType": "image/png"}
    assert outcome(image, image)[1] == TextPart("(8 bytes are left out: the result has too many)")
