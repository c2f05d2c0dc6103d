"""Gemini's requests: what one half writes the other reads, and what people send by hand."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
    FilePart,
    Format,
    ImagePart,
    Opaque,
    ReasoningPart,
    RefusalPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from polychat.wire import gemini
from polychat.wire.gemini.constants import camel, signature_of
from polychat.wire.json_text import encoded
from polychat.wire.tags import tagged

from ...support.corpus import FOLDER
from ...support.gemini_samples import body_of_parts, only, read, reread
from ...support.random_requests import asks, plain

# What comes back of any ask.


def back(request: ChatRequest) -> ChatRequest:
    """The ask as this wire brings it back: what it maps in the one way that it has."""
    plainly = plain(deepcopy(request), gemini.SUPPORT, gemini.NAME)
    plainly.stream_usage = True if request.stream else None
    plainly.messages = turns_back(plainly.messages)
    plainly.extra = cameled(plainly.extra) or {}
    for tool in plainly.tools:
        tool.extra = cameled(tool.extra)
    if plainly.format is not None and plainly.format.schema is not None:
        plainly.format = Format("schema", plainly.format.schema)
    if (thinking := plainly.reasoning) is not None:
        thinking.effort = {"none": "minimal", "xhigh": "high"}.get(thinking.effort, thinking.effort)
        thinking.summary = thinking.summary and ("none" if thinking.summary == "none" else "auto")
    return plainly


def cameled(extra: dict[str, Any] | None) -> dict[str, Any] | None:
    return extra and {camel(name): value for name, value in extra.items()}


def turns_back(turns: list[ChatMessage]) -> list[ChatMessage]:
    system = [turn for turn in turns if turn.role in ("system", "developer")]
    merged: list[ChatMessage] = []
    for turn in [*system, *(turn for turn in turns if turn not in system)]:
        role = "system" if turn.role == "developer" else turn.role
        turn = replace(turn, role=role, parts=[part_back(part) for part in turn.parts], extra=cameled(turn.extra))
        if merged and merged[-1].role == role and role != "user":
            join(merged[-1], turn)
        else:
            merged.append(turn)
    return merged


def join(last: ChatMessage, turn: ChatMessage) -> None:
    first = turn.parts[0]
    before = last.parts[-1]
    texts = isinstance(before, TextPart) and isinstance(first, TextPart) and before.extra is None and first.extra is None
    if last.role == "assistant" and texts:
        before.text += first.text
        turn.parts = turn.parts[1:]
    last.parts += turn.parts
    last.extra = {**(last.extra or {}), **(turn.extra or {})} or None


def part_back(part: Any) -> Any:
    if hasattr(part, "extra"):
        part.extra = cameled(part.extra)
    if getattr(part, "opaque", None) is not None:
        part.opaque = Opaque(part.opaque.vendor, part.opaque.data)
    match part:
        case RefusalPart():
            return TextPart(part.text)
        case ToolCall():
            part.arguments = encoded(json.loads(part.arguments)).decode()
        case ToolResult():
            texts = [one.text for one in part.parts if isinstance(one, TextPart)]
            media = [part_back(one) for one in part.parts if not isinstance(one, TextPart)]
            part.parts = [*([TextPart("\n".join(texts))] if texts else []), *media]
    return part


@pytest.mark.parametrize("wire", [None, gemini.NAME])
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_an_ask_comes_back(wire: str | None, data: st.DataObject) -> None:
    """All that the ledger says is kept or mapped, with what only this wire knows where it was read on it."""
    request = data.draw(asks(wire=wire))
    assert reread(request) == back(request)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_was_read_is_written_as_it_stood(data: st.DataObject) -> None:
    """A second trip changes nothing."""
    once = reread(data.draw(asks(wire=gemini.NAME)))
    assert reread(once) == once


# What the vendor's own examples say.


def test_a_published_request_is_read() -> None:
    """Instruction, call, result and declaration, with the result under the id that its call was given."""
    request = gemini.read_request((FOLDER / "gemini/request-tool.json").read_bytes(), model="gemini-2.0-flash")
    assert [turn.role for turn in request.messages] == ["system", "user", "assistant", "tool"]
    assert request.messages[2].parts == [ToolCall("call_0", "rand_number", '{"seed":5}')]
    assert request.messages[3].parts == [ToolResult("call_0", [TextPart('{"number":"7"}')], "rand_number")]
    (tool,) = request.tools
    assert isinstance(tool, Tool)
    assert tool.parameters is not None
    assert tool.extra is not None
    assert list(tool.extra) == ["responseJsonSchema"]


def test_snake_case_and_single_objects_are_read() -> None:
    """As the documentation's examples for curl have them."""
    body = {
        "system_instruction": {"parts": {"text": "You are a cat."}},
        "contents": {"parts": {"inline_data": {"mime_type": "image/png", "data": "aGk"}}},
        "generation_config": {
            "max_output_tokens": 5,
            "top_k": 40.0,
            "stop_sequences": ["x"],
            "thinking_config": {"thinking_level": "LOW", "include_thoughts": True},
        },
        "tools": {"function_declarations": {"name": "f"}},
        "safety_settings": [{"category": "A"}],
    }
    request = read(body)
    assert request.messages[0] == ChatMessage("system", [TextPart("You are a cat.")])
    assert request.messages[1] == ChatMessage("user", [ImagePart(data=b"hi", media_type="image/png")])
    assert (request.max_tokens, request.top_k, request.stop, request.reasoning) == (
        5,
        40,
        ["x"],
        Thinking("low", summary="auto"),
    )
    assert request.tools == [Tool("f")]
    assert request.extra == {"safetySettings": [{"category": "A"}]}


def test_the_path_has_the_model_and_whether_it_streams() -> None:
    """The half that asks puts them there, the other is given them from there; a stream is asked for as events."""
    request = ChatRequest("gemini-2.5-flash", [ChatMessage("user", [TextPart("hi")])])
    assert gemini.path(request) == "/models/gemini-2.5-flash:generateContent"
    request.stream = True
    assert gemini.path(request) == "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert gemini.path(ChatRequest("tunedModels/a b?c", [])) == "/tunedModels/a%20b%3Fc:generateContent"
    assert gemini.count_path(ChatRequest("models/m", [])) == "/models/m:countTokens"
    assert (
        read(body_of_parts({"text": "x"}), "models/m", stream=True).model,
        read(body_of_parts({"text": "x"}, model="a"), None).model,
    ) == (
        "m",
        "a",
    )


@pytest.mark.parametrize("model", ["", "../files", "a//b", "a/./b"])
def test_a_model_cannot_lead_elsewhere(model: str) -> None:
    """A name that a server might take for another path is sent nowhere."""
    with pytest.raises(BadInput) as caught:
        gemini.path(ChatRequest(model, []))
    assert caught.value.field == "model"


# Parts.


@pytest.mark.parametrize(
    ("part", "read_as"),
    [
        ({"inlineData": {"mimeType": "audio/mp3", "data": "aGk="}}, AudioPart(b"hi", "audio/mp3")),
        (
            {"inlineData": {"mimeType": "application/pdf", "data": "_-8="}},
            FilePart(data=b"\xff\xef", media_type="application/pdf"),
        ),
        (
            {"fileData": {"fileUri": "https://a.example/v", "mimeType": "video/mp4"}},
            FilePart(url="https://a.example/v", media_type="video/mp4"),
        ),
        (
            {"fileData": {"fileUri": "https://a.example/i", "mimeType": "image/png"}},
            ImagePart(url="https://a.example/i", media_type="image/png"),
        ),
        ({"fileData": {"fileUri": "https://a.example/i.JPG?x"}}, ImagePart(url="https://a.example/i.JPG?x")),
        ({"fileData": {"fileUri": "files/abc", "mimeType": "image/png"}}, FilePart(id="files/abc", media_type="image/png")),
        ({"text": "x", "videoMetadata": {"fps": 1}}, TextPart("x", extra={"videoMetadata": {"fps": 1}})),
        (
            {"inlineData": {"mimeType": "image/png", "data": "aGk=", "displayName": "n"}},
            ImagePart(data=b"hi", media_type="image/png", extra={"inlineData": {"displayName": "n"}}),
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_media_are_sent_with_their_type(part: Any, read_as: Any) -> None:
    """And go back as they came, with what only this wire says of them."""
    request = read(body_of_parts(part))
    assert only(request) == [read_as]
    assert reread(request) == request


def test_parts_without_a_common_word_go_back_as_they_came() -> None:
    """Code that the backend ran stays in the conversation, before this vendor alone."""
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    output = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    request = read(body_of_parts(code, output, {"text": "1"}, role="model"))
    assert gemini.write_request(request)["contents"][0]["parts"] == [code, output, {"text": "1"}]
    request.wire = None
    assert gemini.write_request(request, vendor="elsewhere")["contents"][0]["parts"] == [{"text": "1"}]


def test_signatures_stand_where_they_stood() -> None:
    """On a text, on a call, on thoughts, and alone."""
    parts = [
        {"text": "hm", "thought": True, "thoughtSignature": "cw=="},
        {"text": "a"},
        {"text": "", "thoughtSignature": "dA=="},
        {"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": "dQ=="},
    ]
    request = read(body_of_parts(*parts, role="model"))
    assert only(request) == [
        ReasoningPart("hm", Opaque("gemini", "cw==")),
        TextPart("a"),
        ReasoningPart("", Opaque("gemini", "dA==")),
        ToolCall("1", "f", "{}", Opaque("gemini", "dQ==")),
    ]
    assert gemini.write_request(request)["contents"][0]["parts"] == parts
    assert only(read(body_of_parts({"text": "b", "thoughtSignature": "dg=="}, role="model"))) == [
        TextPart("b"),
        ReasoningPart("", Opaque("gemini", "dg==")),
    ]


def test_the_pieces_a_client_kept_of_a_stream_are_one_turn() -> None:
    """The SDK's chats keep each chunk as a content; other wires want one turn of it."""
    chunks = [
        {"text": "he", "thought": True},
        {"text": "y", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": "cw=="},
        {"text": "Hel"},
        {"text": "lo"},
        {"text": "", "thoughtSignature": "dA=="},
    ]
    request = read({"contents": [{"role": "model", "parts": [chunk]} for chunk in chunks]})
    assert only(request) == [
        ReasoningPart("hey", Opaque("gemini", "cw==")),
        TextPart("Hello"),
        ReasoningPart("", Opaque("gemini", "dA==")),
    ]


def test_a_foreign_signature_goes_to_its_vendor_alone() -> None:
    """It survives a client of this wire, and stays out of a request to this vendor."""
    request = ChatRequest("m", [ChatMessage("assistant", [ReasoningPart("hm", Opaque("anthropic", "sig")), TextPart("a")])])
    assert gemini.write_request(request)["contents"][0]["parts"][0] == {"text": "hm", "thought": True}
    assert gemini.write_request(request, vendor="anthropic")["contents"][0]["parts"][0]["thoughtSignature"] == "sig"


def test_newer_models_get_the_value_for_a_missing_signature() -> None:
    """On the first call of a turn that another model made; the other half takes it for none."""
    turn = ChatMessage("assistant", [ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}")])
    for model, expected in (
        ("gemini-3-pro", True),
        ("gemini-flash-latest", True),
        ("gemini-2.5-flash", False),
        ("gemma-3", False),
    ):
        first, second = gemini.write_request(ChatRequest(model, [turn]))["contents"][0]["parts"]
        assert ("thoughtSignature" in first, "thoughtSignature" in second) == (expected, False), model
    assert only(reread(ChatRequest("gemini-3-pro", [turn])))[0].opaque is None


# Counting.


def test_an_ask_to_be_counted_comes_back() -> None:
    """Whole, or as contents alone."""
    request = ChatRequest(
        "gemini-3-pro",
        [ChatMessage("system", [TextPart("s")]), ChatMessage("user", [TextPart("x")])],
        [Tool("f")],
        wire="gemini",
    )
    assert gemini.read_count_request(encoded(gemini.write_count_request(request))) == request
    contents = gemini.read_count_request(encoded(body_of_parts({"text": "x"})), model="m")
    assert contents == ChatRequest("m", [ChatMessage("user", [TextPart("x")])], wire="gemini")
    assert gemini.read_count(gemini.write_count(31)) == 31


def test_tags_survive_as_base64() -> None:
    """Another vendor's signature, as the writer of answers puts it, is that vendor's again."""
    opaque = Opaque("anthropic", "a+b/c==", "id.1", redacted=True)
    signature = signature_of(opaque)
    assert signature != tagged(opaque, "gemini")
    for way in (signature, signature.replace("-", "+").replace("_", "/")):
        assert only(read(body_of_parts({"text": "", "thoughtSignature": way}, role="model"))) == [ReasoningPart("", opaque)]
