"""The table of request fields: what it says of each field on each wire is what the wires, the ledger and the gateway do."""

from __future__ import annotations

import re
import subprocess
import sys
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import polychat
from polychat import stream
from polychat.calls.request import ASKING, KEYWORDS, request_of
from polychat.errors import BadInput
from polychat.gateway.openapi import document
from polychat.types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
    FilePart,
    Format,
    HostedTool,
    ImagePart,
    Opaque,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from polychat.wire.adapting import without_foreign_files
from polychat.wire.contract import Wire, names, wire_named
from polychat.wire.field import FLAG, NUMBER, PAIRS, TEXT, TEXT_OR_TEXTS, WEIGHTS, At, Field
from polychat.wire.fields import FIELDS, plain_fields
from polychat.wire.json_text import decoded, encoded
from polychat.wire.losses import is_default, losses

from ..support import vendor_schemas

ROOT = Path(__file__).parent.parent.parent
each_wire = pytest.mark.parametrize("name", names())
PLAIN = {row.name: row for row in plain_fields()}
NOT_SAID = object()
TOOL = Tool("f", "does", {"type": "object", "properties": {"a": {"type": "integer"}}})


def samples(row: Field) -> list[Any]:
    """Values of a plain field: one that counts, and what is falsy but set."""
    assert row.type is not None
    if row.values:
        return [row.values[-1]]
    values: dict[Any, list[Any]] = {
        NUMBER.read: [0.5, 0.0],
        FLAG.read: [True, False],
        TEXT.read: ["someone"],
        TEXT_OR_TEXTS.read: [["END", "\n"]],
        PAIRS.read: [{"a": "b"}],
        WEIGHTS.read: [{"50256": -1.5}],
    }
    return values.get(row.type.read, [7])


def plain_ask(**fields: Any) -> ChatRequest:
    """An ask in which every plain field has its place: with a tool, and streamed."""
    return ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], [TOOL], stream=True, **fields)


def sent(wire: Wire, chat_request: ChatRequest) -> tuple[str, Any]:
    """What goes out: the path, and the body as it is read from its bytes."""
    return wire.path(chat_request), decoded(encoded(wire.write_request(chat_request)))


def reread(wire: Wire, chat_request: ChatRequest) -> ChatRequest:
    return wire.read_request(encoded(wire.write_request(chat_request)), model=chat_request.model, stream=chat_request.stream)


def at_path(body: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(body, dict) or name not in body:
            return NOT_SAID
        body = body[name]
    return body


@each_wire
@pytest.mark.parametrize("field", PLAIN)
def test_a_plain_field_is_written_and_read_at_the_tables_place(field: str, name: str) -> None:
    """It is in the bytes under the table's name, and the other half reads it; else nothing of it is written."""
    wire, row = wire_named(name), PLAIN[field]
    at = row.on(name)
    for value in samples(row):
        chat_request = plain_ask(**{field: value})
        if not isinstance(at, At):
            assert at.implied or at.kind in ("dropped", "emulated"), "what is kept stands somewhere"
            assert sent(wire, chat_request) == sent(wire, plain_ask())
            continue
        written, back = at_path(sent(wire, chat_request)[1], at.path), getattr(reread(wire, chat_request), field)
        assert written is not NOT_SAID
        assert at_path(sent(wire, plain_ask())[1], at.path) is NOT_SAID or (name, field) == ("anthropic", "max_tokens")
        theirs = value if at.write is None else at.write(value)
        assert written == theirs or at.by_code
        assert back == (theirs if at.read is None else at.read(theirs))


@each_wire
@pytest.mark.parametrize("field", PLAIN)
def test_what_has_no_place_is_reported_as_a_loss(field: str, name: str) -> None:
    """A plain field is lost exactly where the table drops it, unless it says only what is so without it."""
    wire, row = wire_named(name), PLAIN[field]
    for value in samples(row):
        lost = {loss.field for loss in losses(plain_ask(**{field: value}), wire.SUPPORT, name, wire.VENDOR)}
        is_lost = row.support(name).kind in ("dropped", "emulated") and not is_default(field, value)
        assert lost == ({field} if is_lost else set())
    for value in row.default:
        assert losses(plain_ask(**{field: value}), wire.SUPPORT, name, wire.VENDOR) == []


@each_wire
@pytest.mark.parametrize("field", [row.name for row in PLAIN.values() if any(at.older for at in row.places())])
def test_an_older_name_is_read_and_gives_way(field: str, name: str) -> None:
    """By the older name alone it is read; beside the newer, in either order, the newer counts."""
    wire, at = wire_named(name), PLAIN[field].on(name)
    body = wire.write_request(plain_ask())
    for older in at.older if isinstance(at, At) else ():
        for given_fields in ({older: 3}, {at.name: 3, older: 4}, {older: 4, at.name: 3}):  # type: ignore[union-attr]
            chat_request = wire.read_request(encoded({**given_fields, **body}), model="m")
            assert (getattr(chat_request, field), chat_request.extra) == (3, {})


@pytest.mark.parametrize("name", vendor_schemas.REQUESTS)
def test_the_names_of_plain_fields_are_the_vendors(name: str) -> None:
    """Each place of the table is a field of the vendor's own description of its API, but for what the table says otherwise."""
    vendor, schema = vendor_schemas.REQUESTS[name]
    for row in PLAIN.values():
        at = row.on(name)
        if isinstance(at, At):
            assert vendor_schemas.has_field(vendor, schema, at.path) != ("OpenAI rejects it" in at.note), at.path


HINTS = {
    "float": float | None,
    "int": int | None,
    "bool | int": int | None,
    "bool": bool | None,
    "str": str | None,
    "str | Sequence[str]": list[str],
    "Mapping[str, str]": dict[str, str] | None,
    "Mapping[str, float]": dict[str, float] | None,
}


def test_an_ask_has_an_attribute_for_each_plain_field() -> None:
    """Of the type that the table says."""
    hints = typing.get_type_hints(ChatRequest)
    assert {name: hints.get(name) for name in PLAIN} == {name: HINTS[row.type.hint] for name, row in PLAIN.items() if row.type}


@each_wire
def test_the_gateway_describes_every_plain_field_that_it_reads(name: str) -> None:
    """Where the table places it."""
    for row in PLAIN.values():
        at = row.on(name)
        schema = document()["components"]["schemas"][vendor_schemas.DESCRIBED[name]]
        for step in at.path.split(".") if isinstance(at, At) else ():
            assert step in schema["properties"], f"{at.path} is not described"  # type: ignore[union-attr]
            schema = schema["properties"][step]


Turns = list[ChatMessage]
Sample = Callable[[Wire], tuple[ChatRequest, ChatRequest]]
"""An ask with a field, and the same without it, as a wire is to write them."""
PNG = ImagePart(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
PDF = FilePart(data=b"%PDF-1.7", media_type="application/pdf")
SCHEMA = Format("schema", {"type": "object", "properties": {}, "additionalProperties": False}, "answer")


def user(*parts: Part, **more: Any) -> ChatMessage:
    return ChatMessage("user", [*parts, TextPart("hi")], **more)


def request_with(*turns: ChatMessage, **more: Any) -> ChatRequest:
    return ChatRequest("m", list(turns), **more)


def with_assistant(*parts: Part) -> ChatRequest:
    """Between two turns of a user, an assistant's."""
    return request_with(user(), ChatMessage("assistant", [*parts, TextPart("well")]), user())


def resulted(*parts: Any, arguments: str = '{"a":1}', **more: Any) -> ChatRequest:
    """A call, and its result."""
    call = ChatMessage("assistant", [ToolCall("c", "f", arguments)])
    result = ChatMessage("tool", [ToolResult("c", [TextPart("r"), *parts], "f", **more)])
    return request_with(user(), call, result, user(), tools=[TOOL])


def one(with_it: ChatRequest, without: ChatRequest) -> Sample:
    return lambda wire: (with_it, without)


def of(*parts: Part) -> Sample:
    return one(request_with(user(*parts)), request_with(user()))


def chosen(mode: Any) -> Sample:
    choice = ToolChoice(mode, "f" if mode == "named" else None)
    return one(request_with(user(), tools=[TOOL], tool_choice=choice), request_with(user(), tools=[TOOL]))


def other(wire: Wire) -> str:
    """Another wire, and not one of the same vendor."""
    return next(name for name in names() if wire_named(name).VENDOR != wire.VENDOR)


def hosted(wire: Wire) -> HostedTool:
    return HostedTool("googleSearch", {"googleSearch": {}}) if wire.NAME == "gemini" else HostedTool("s", {"type": "s"})


def foreign_file(wire: Wire) -> tuple[ChatRequest, ChatRequest]:
    chat_request = request_with(user(FilePart(id="file-1")), wire=other(wire))
    assert [loss.field for loss in losses(chat_request, wire.SUPPORT, wire.NAME, wire.VENDOR)] == ["parts.file.id.foreign"]
    return chat_request, request_with(user(), wire=other(wire))


SAMPLES: dict[str, Sample] = {
    "model": one(ChatRequest("m2", [user()]), ChatRequest("m", [user()])),
    "messages.system": one(request_with(ChatMessage("system", [TextPart("s")]), user()), request_with(user())),
    "messages.system.late": one(
        request_with(user(), ChatMessage("assistant", [TextPart("a")]), ChatMessage("system", [TextPart("s")]), user()),
        request_with(user(), ChatMessage("assistant", [TextPart("a")]), user()),
    ),
    "messages.developer": one(request_with(ChatMessage("developer", [TextPart("s")]), user()), request_with(user())),
    "messages.user": one(with_assistant(), request_with(ChatMessage("assistant", [TextPart("well")]), user())),
    "messages.assistant": one(with_assistant(TextPart("zz")), with_assistant()),
    "messages.assistant.last": one(request_with(user(), ChatMessage("assistant", [TextPart("so")])), request_with(user())),
    "messages.tool": one(resulted(TextPart("zz")), resulted()),
    "messages.name": one(request_with(user(name="zoe")), request_with(user())),
    "parts.text": of(TextPart("zz")),
    "parts.image.url": of(ImagePart(url="https://a.example/a.png")),
    "parts.image.data": of(PNG),
    "parts.image.detail": one(request_with(user(replace(PNG, detail="low"))), request_with(user(PNG))),
    "parts.audio": of(AudioPart(b"RIFF", "audio/wav")),
    "parts.file.url": of(FilePart(url="https://a.example/a.pdf")),
    "parts.file.data": of(PDF),
    "parts.file.id": of(FilePart(id="file-1")),
    "parts.file.id.foreign": foreign_file,
    "parts.file.name": one(request_with(user(replace(PDF, name="zz.pdf"))), request_with(user(PDF))),
    "parts.reasoning": one(with_assistant(ReasoningPart("hm")), with_assistant()),
    "parts.opaque": lambda wire: (
        with_assistant(ReasoningPart("hm", Opaque(wire.VENDOR, "sig"))),
        with_assistant(ReasoningPart("hm")),
    ),
    "parts.opaque.foreign": one(
        with_assistant(ReasoningPart("hm", Opaque("somebody", "sig"))), with_assistant(ReasoningPart("hm"))
    ),
    "parts.item.foreign": one(
        with_assistant(ReasoningPart("hm", Opaque("somebody", '{"type":"compaction","x":1}'))),
        with_assistant(ReasoningPart("hm")),
    ),
    "parts.refusal": one(with_assistant(RefusalPart("no")), with_assistant()),
    "parts.call": one(resulted(arguments='{"a":2}'), resulted()),
    "parts.result.text": one(resulted(TextPart("zz")), resulted()),
    "parts.result.image": one(resulted(PNG), resulted()),
    "parts.result.file": one(resulted(PDF), resulted()),
    "parts.result.error": one(resulted(is_error=True), resulted()),
    "cache": one(request_with(user(TextPart("zz", cache="5m"))), request_with(user(TextPart("zz")))),
    "tools": one(request_with(user(), tools=[TOOL]), request_with(user())),
    "tools.custom": one(request_with(user(), tools=[Tool("f", kind="custom")]), request_with(user(), tools=[Tool("f")])),
    "tools.strict": one(request_with(user(), tools=[replace(TOOL, strict=True)]), request_with(user(), tools=[TOOL])),
    "tools.hosted": lambda wire: (
        request_with(user(), tools=[hosted(wire)], wire=wire.NAME),
        request_with(user(), wire=wire.NAME),
    ),
    "tools.hosted.foreign": lambda wire: (
        request_with(user(), tools=[hosted(wire)], wire=other(wire)),
        request_with(user(), wire=other(wire)),
    ),
    **{f"tool_choice.{mode}": chosen(mode) for mode in ("auto", "none", "required", "named")},
    "format.json": one(request_with(user(), format=Format("json")), request_with(user())),
    "format.schema": one(request_with(user(), format=SCHEMA), request_with(user())),
    "format.strict": one(request_with(user(), format=replace(SCHEMA, strict=True)), request_with(user(), format=SCHEMA)),
    "reasoning.effort": one(request_with(user(), reasoning=Thinking("high")), request_with(user())),
    "reasoning.budget": one(request_with(user(), reasoning=Thinking(budget=4096)), request_with(user())),
    "reasoning.summary": one(
        request_with(user(), reasoning=Thinking("high", summary="auto")), request_with(user(), reasoning=Thinking("high"))
    ),
    "stream": one(request_with(user(), stream=True), request_with(user())),
    "extra": lambda wire: (request_with(user(), wire=wire.NAME, extra={"zz": 1}), request_with(user(), wire=wire.NAME)),
    "extra.foreign": lambda wire: (
        request_with(user(), wire=other(wire), extra={"zz": 1}),
        request_with(user(), wire=other(wire)),
    ),
}


def test_every_field_that_is_more_than_one_value_has_a_sample() -> None:
    """A row that is added to the table is tried on every wire."""
    assert set(SAMPLES) == set(FIELDS) - set(PLAIN)


@each_wire
@pytest.mark.parametrize("field", SAMPLES)
def test_a_field_is_treated_as_in_the_table(field: str, name: str) -> None:
    """What is kept or mapped makes the request another one, which the other half reads as another; of what is dropped nothing
    goes out; what is dropped or emulated is reported as a loss, and nothing else is."""
    wire = wire_named(name)
    support = FIELDS[field].support(name)
    chat_request, without = SAMPLES[field](wire)
    lost = {loss.field: loss.kind for loss in losses(chat_request, wire.SUPPORT, name, wire.VENDOR)}
    assert lost.get(field) == (support.kind if support.kind in ("dropped", "emulated") else None)
    if field == "parts.file.id.foreign":
        chat_request = without_foreign_files(chat_request)  # whether it is another vendor's, the backend knows and not the wire
    if support.kind == "dropped" or support.implied:
        assert sent(wire, chat_request) == sent(wire, without)
    elif support.kind != "emulated":
        assert sent(wire, chat_request) != sent(wire, without)
        if field != "tool_choice.auto":  # on some wires it must be said, and means what is so anyway
            assert reread(wire, chat_request) != reread(wire, without)


def test_the_docstring_of_stream_names_every_keyword() -> None:
    """About the answer, and about the asking: those that there are, and no others."""
    about = (stream.__doc__ or "").partition("The request's fields:")[2].partition("``options``")[0]
    words = set(re.findall(r"``(\w+)``", about.partition("``on_loss`` decides")[0]))
    assert words == set(KEYWORDS)
    assert all(f"``{keyword.name}``" in about for keyword in ASKING)


def test_a_keyword_is_checked_by_its_row() -> None:
    """Each of another type, and below the least there is, is refused by name; each that is good is in the ask."""
    for row in PLAIN.values():
        if not row.keyword:
            continue
        value = samples(row)[0]
        assert getattr(request_of("hi", "m", {row.name: value})[0], row.name) == value
        for bad in (object(), *([] if row.least is None else [row.least - 1])):
            with pytest.raises(BadInput) as caught:
                request_of("hi", "m", {row.name: bad})
            assert caught.value.field == row.name


def test_what_is_given_as_options_is_as_if_by_keyword() -> None:
    """A call's goes before its client's, whichever way each came."""
    with pytest.raises(BadInput, match="top_k is -1"):
        stream("hi", model="local", options={"top_k": -1})
    client = polychat.Client("local", options={"top_k": -1})
    with pytest.raises(BadInput, match="top_k is -1"):
        client.stream("hi")
    client.stream("hi", top_k=1)
    client.stream("hi", options={"top_k": 1})


def test_a_field_that_is_added_is_one_row() -> None:
    """With a row and an attribute it is read and written on each wire, reported as a loss, a keyword that is checked and
    typed, an option of providers that take it, and described by the gateway and on the page of losses.
    """
    run = subprocess.run([sys.executable, "-m", "tests.support.one_more_field"], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "top_a is everywhere\n", run.stderr
