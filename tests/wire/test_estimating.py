"""About how many tokens a request is, where nobody counts them."""

from __future__ import annotations

import pytest

from polychat.types import ChatMessage, ChatRequest, FilePart, Format, ImagePart, TextPart, Tool, ToolResult
from polychat.wire.contract import names, wire_named
from polychat.wire.estimating import IMAGE, PAGE, estimated_prompt
from polychat.wire.json_text import encoded

PNG = ImagePart(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
PDF = FilePart(data=b"%PDF-1.7\n" + b"/Type /Page\n" * 3, media_type="application/pdf", name="a.pdf")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "where " * 200}}}


def plain() -> ChatRequest:
    return ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], max_tokens=9)


def with_a_tool() -> ChatRequest:
    request = plain()
    request.tools = [Tool("weather", "d", SCHEMA)]
    return request


def with_a_schema() -> ChatRequest:
    request = plain()
    request.format = Format("schema", SCHEMA, "answer")
    return request


def with_an_image() -> ChatRequest:
    request = plain()
    request.messages[0].parts.append(PNG)
    return request


@pytest.mark.parametrize("name", names())
def test_tools_schemas_and_images_count(name: str) -> None:
    """As each wire reads them: an agent's tools are most of its prompt, and a client that counts decides by it."""
    wire = wire_named(name)
    few = estimated_prompt(plain())
    for make, more in ((with_a_tool, 300), (with_a_schema, 300), (with_an_image, IMAGE)):
        body = encoded(wire.write_request(make(), vendor=wire.VENDOR))
        count = estimated_prompt(wire.read_request(body, model="m"))
        assert few + more <= count <= few + more + 200, make.__name__


def test_what_tools_gave_counts() -> None:
    """An image and the pages of a document within a result count as they do beside one."""
    beside, within = plain(), plain()
    beside.messages[0].parts += [PNG, PDF]
    within.messages[0].parts.append(ToolResult("c1", [PNG, PDF], "f"))
    assert estimated_prompt(beside) >= IMAGE + 3 * PAGE
    assert estimated_prompt(within) >= IMAGE + 3 * PAGE
