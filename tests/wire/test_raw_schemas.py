"""Schemas of a large request stay JSON, and nothing else is different: what is sent, what is lost, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from polychat.errors import BadInput
from polychat.types import ChatMessage, ChatRequest, Format, HostedTool, TextPart, Tool
from polychat.wire import raw_schemas
from polychat.wire.contract import names, wire_named
from polychat.wire.estimating import estimated_prompt
from polychat.wire.gemini.schema import MOST_ITEMS
from polychat.wire.json_text import encoded, is_raw, sendable
from polychat.wire.limits import LIMITS

from ..support.linear_time import is_linear

RAW = replace(LIMITS, raw_schemas=True)
WORDS = "Why is the sky blue, and not “violet”? "
each_wire = pytest.mark.parametrize("come", names())
each_other = pytest.mark.parametrize("to", names())


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Schemas of a few hundred bytes are treated as those of megabytes."""
    monkeypatch.setattr(raw_schemas, "LARGE", 100)
    monkeypatch.setattr(raw_schemas, "_SMALL", 16)
    monkeypatch.setattr(raw_schemas, "_PIECE", 150)
    return iter((None,))


MEMBER = {"type": "string", "description": WORDS, "enum": ["a", None], "default": None, "maximum": None}
INNER = {
    "type": "object",
    "properties": {f"inner{number}": {"type": "array", "items": MEMBER, "maxItems": 3} for number in range(4)},
    "required": ["inner1"],
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "many members": {"type": "object", "properties": {f"p{number}": MEMBER for number in range(20)}},
    "deep ones": {"type": "object", "properties": {"a": INNER, "b": {"anyOf": [INNER, MEMBER]}}, "required": ["a"]},
    "definitions": {"type": "object", "$defs": {"x": INNER, "y": MEMBER}, "properties": {"x": {"$ref": "#/$defs/x"}}},
    "a choice": {"anyOf": [INNER, {**INNER, "required": ["inner1", "inner2"]}], "properties": {"own": MEMBER}},
    "one of several": {"type": "object", "properties": {"a": {"oneOf": [MEMBER, INNER]}, "b": {"not": INNER}}},
    "long arrays": {
        "type": "object",
        "properties": {f"a{number}": {"type": "array", "items": MEMBER, "maxItems": MOST_ITEMS} for number in range(9)},
    },
    "values": {"type": "object", "properties": {"a": {"enum": [WORDS + str(number) for number in range(30)]}, "b": True}},
    "odd ones": {"type": "object", "properties": [MEMBER, MEMBER], "anyOf": INNER, "items": [INNER, MEMBER], "x": WORDS * 9},
    "types alone": {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(30)}},
    "a value": {"type": "string", "enum": [WORDS + str(number) for number in range(9)]},
    "no type": {"properties": {"a": INNER}, "required": [f"inner{number}" for number in range(40)]},
}


def request(come: str, schema: dict[str, Any], strict: bool | None) -> dict[str, Any]:
    """The body, as a value, of a request with this schema for a tool and for the answer."""
    tools: list[Tool | HostedTool] = [Tool("f", "d", schema, strict), Tool("g")]
    turns = [ChatMessage("user", [TextPart("hi")])]
    chat_request = ChatRequest("m", turns, tools, format=Format("schema", schema, "answer", strict=strict), max_tokens=99)
    return wire_named(come).write_request(chat_request, vendor=wire_named(come).VENDOR)


def came(come: str, body: bytes) -> tuple[ChatRequest, ChatRequest]:
    """The request with its schemas as values of Python, and as JSON."""
    return tuple(wire_named(come).read_request(body, model="m", limits=limits) for limits in (LIMITS, RAW))  # type: ignore[return-value]


def has_raw(schema: dict[str, Any] | None) -> bool:
    return any(map(is_raw, (schema or {}).values()))


def sent(to: str, chat_request: ChatRequest) -> tuple[bytes, list[Any]]:
    better, losses = wire_named(to).adjusted(chat_request, wire_named(to).VENDOR)
    return sendable(wire_named(to).write_request(better, vendor=wire_named(to).VENDOR)), losses


SPELLINGS: dict[str, Callable[[Any], bytes]] = {
    "as others write it": encoded,
    "white space": lambda value: json.dumps(value, indent=2, ensure_ascii=False).encode(),
    "escapes": lambda value: json.dumps(value, ensure_ascii=True).encode(),
}


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
@each_other
@each_wire
def test_what_is_sent(come: str, to: str, kind: str) -> None:
    """It is the same to a byte, and so are the losses, the estimate and the ask that stays; however the JSON is spelled."""
    for strict in (None, True):
        value = request(come, SCHEMAS[kind], strict)
        for spelled in SPELLINGS.values():
            plain, raw = came(come, spelled(value))
            assert isinstance(raw.tools[0], Tool)
            assert raw.format is not None
            assert has_raw(raw.tools[0].parameters)
            assert has_raw(raw.format.schema)
            before = encoded(raw.tools[0].parameters)
            assert sent(to, raw) == sent(to, plain)
            assert encoded(raw.tools[0].parameters) == before
            assert estimated_prompt(raw) == estimated_prompt(plain)


def upper(schema: Any) -> Any:
    """As Google's own clients write a schema."""
    if isinstance(schema, list):
        return [upper(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: upper(value) for name, value in schema.items()}
    if isinstance(kind := schema.get("type"), str):
        changed["type"] = kind.upper()
        if "enum" in schema:
            changed |= {"nullable": True, "min_length": "3"}
    return changed


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
@each_other
def test_a_schema_in_the_words_of_gemini(to: str, kind: str) -> None:
    """Its types, its numbers that are text and what may be null are translated, wherever they stand."""
    schema = upper(SCHEMAS[kind])
    tool, config = {"name": "f", "parameters": schema}, {"responseSchema": schema, "responseMimeType": "application/json"}
    snake = {"response_schema": schema, "response_mime_type": "application/json"}
    contents = [{"role": "user", "parts": [{"text": "hi"}]}]
    for body in (
        {"contents": contents, "tools": [{"functionDeclarations": [tool, tool]}], "generationConfig": config},
        {"contents": contents, "tools": {"function_declarations": tool}, "generation_config": snake},
    ):
        for spelled in SPELLINGS.values():
            plain, raw = came("gemini", spelled(body))
            assert sent(to, raw) == sent(to, plain)
            assert kind == "a value" or has_raw(raw.tools[0].parameters)  # type: ignore[union-attr]  # a function


@pytest.mark.parametrize(
    "odd",
    [
        *(b'{"a":1,"a":{"b":[2]}}', b'{"properties":1,"type":"x","properties":{"q":{"type":"string"}}}'),
        *(
            b"1E5",
            b"-0",
            b"0.10000000000000000555",
            b"123456789012345678901234567890",
            b"1e-999",
            b'"\\u00e9\\/\\ud83d\\ude00"',
        ),
    ],
)
@each_wire
def test_odd_json_in_a_schema(come: str, odd: bytes) -> None:
    """It goes on as what it is read as: a name that is there twice has its last value."""
    body = encoded(request(come, SCHEMAS["many members"], None)).replace(b'"enum":["a",null]', b'"enum":["a",%b]' % odd, 9)
    plain, raw = came(come, body)
    for to in names():
        assert sent(to, raw) == sent(to, plain)
    twice = body.replace(b'"p3":', b'"p2":')
    plain, raw = came(come, twice)
    assert sent("openai-chat", raw) == sent("openai-chat", plain)


@pytest.mark.parametrize("bad", [b"1e999", b"NaN", b'"\\ud800"', b'"\x01"', b"'a'", b'"\xff"', b"[1,]", b"tru", b"1 2"])
@each_wire
def test_bad_json_in_a_schema(come: str, bad: bytes) -> None:
    """It is refused, with the field that is wrong."""
    body = encoded(request(come, SCHEMAS["many members"], None)).replace(b'["a",null]', b'["a",%b]' % bad, 1)
    refused = []
    for limits in (LIMITS, RAW):
        with pytest.raises(BadInput) as error:
            wire_named(come).read_request(body, model="m", limits=limits)
        refused.append((error.value.field, str(error.value)[:20]))
    assert refused[0] == refused[1]


@each_wire
def test_what_is_no_schema(come: str) -> None:
    """Where an object belongs and there is a long list or text, the refusal is the same."""
    schema = {"type": "object", "properties": {"a": MEMBER}}
    body = encoded(request(come, schema, None))
    for other in (b"[%b,1]" % encoded(schema), b'"%b"' % (b"x" * 400), b"3"):
        refused = []
        for limits in (LIMITS, RAW):
            with pytest.raises(BadInput) as error:
                wire_named(come).read_request(body.replace(encoded(schema), other), model="m", limits=limits)
            refused.append((error.value.field, str(error.value)))
        assert refused[0] == refused[1]


@each_wire
def test_depth_is_looked_at(come: str) -> None:
    """Also of what stays JSON."""
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(80):
        deep = {"type": "object", "properties": {"a": deep}}
    for limits in (LIMITS, RAW):
        with pytest.raises(BadInput, match="64 deep"):
            wire_named(come).read_request(json.dumps(request(come, deep, None)).encode(), model="m", limits=limits)


def test_a_deep_schema_takes_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose bulk is at its bottom is not taken apart level by level."""
    monkeypatch.undo()

    def body(size: int) -> bytes:
        deep: dict[str, Any] = {"type": "string", "enum": ["some words"] * (size // 16)}
        for _ in range(25):
            deep = {"type": "object", "properties": {"a": deep}}
        return encoded(request("anthropic", deep, None))

    def work(data: bytes) -> None:
        sent("gemini", wire_named("anthropic").read_request(data, model="m", limits=RAW))

    linear, measured = is_linear(body, work, 2_000_000)
    assert linear, measured


def test_a_small_request_is_read_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its schemas are values of Python."""
    monkeypatch.undo()
    _, raw = came("openai-chat", encoded(request("openai-chat", SCHEMAS["many members"], None)))
    assert not has_raw(raw.tools[0].parameters)  # type: ignore[union-attr]  # a function
