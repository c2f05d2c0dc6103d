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
    Ask,
    AudioPart,
    FilePart,
    Format,
    HostedTool,
    ImagePart,
    Opaque,
    ReasoningPart,
    RefusalPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from polychat.wire import gemini
from polychat.wire._json import encoded
from polychat.wire.gemini.names import camel
from polychat.wire.limits import Limits
from polychat.wire.tags import tagged

from .furniture.asks import VALUES, asks, plain
from .furniture.corpus import FOLDER


def read(value: Any, model: str | None = "gemini-3-pro", **path: Any) -> Ask:
    return gemini.read_request(encoded(value), model=model, **path)


def reread(ask: Ask) -> Ask:
    return read(gemini.write_request(ask), ask.model, stream=ask.stream)


def said(*parts: Any, role: str = "user", **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": role, "parts": list(parts)}], **fields}


def only(ask: Ask) -> list[Any]:
    (turn,) = ask.turns
    return turn.parts


# What comes back of any ask.


def back(ask: Ask) -> Ask:
    """The ask as this wire brings it back: what it maps in the one way that it has."""
    plainly = plain(deepcopy(ask), gemini.FATES, gemini.NAME)
    plainly.stream_usage = True if ask.stream else None
    plainly.turns = turns_back(plainly.turns)
    plainly.extra = cameled(plainly.extra) or {}
    for tool in plainly.tools:
        tool.extra = cameled(tool.extra)
    if plainly.format is not None and plainly.format.schema is not None:
        plainly.format = Format("schema", plainly.format.schema)
    if (thinking := plainly.reasoning) is not None:
        thinking.effort = "minimal" if thinking.effort == "none" else thinking.effort
        thinking.summary = thinking.summary and ("none" if thinking.summary == "none" else "auto")
    return plainly


def cameled(extra: dict[str, Any] | None) -> dict[str, Any] | None:
    return extra and {camel(name): value for name, value in extra.items()}


def turns_back(turns: list[Turn]) -> list[Turn]:
    system = [turn for turn in turns if turn.role in ("system", "developer")]
    merged: list[Turn] = []
    for turn in [*system, *(turn for turn in turns if turn not in system)]:
        role = "system" if turn.role == "developer" else turn.role
        turn = replace(turn, role=role, parts=[part_back(part) for part in turn.parts], extra=cameled(turn.extra))
        if merged and merged[-1].role == role and role != "user":
            join(merged[-1], turn)
        else:
            merged.append(turn)
    return merged


def join(last: Turn, turn: Turn) -> None:
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
    ask = data.draw(asks(wire=wire))
    assert reread(ask) == back(ask)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_was_read_is_written_as_it_stood(data: st.DataObject) -> None:
    """A second trip changes nothing."""
    once = reread(data.draw(asks(wire=gemini.NAME)))
    assert reread(once) == once


# What the vendor's own examples say.


def test_a_published_request_is_read() -> None:
    """Instruction, call, result and declaration, with the result under the id that its call was given."""
    ask = gemini.read_request((FOLDER / "gemini/request-tool.json").read_bytes(), model="gemini-2.0-flash")
    assert [turn.role for turn in ask.turns] == ["system", "user", "assistant", "tool"]
    assert ask.turns[2].parts == [ToolCall("call_0", "rand_number", '{"seed":5}')]
    assert ask.turns[3].parts == [ToolResult("call_0", [TextPart('{"number":"7"}')], "rand_number")]
    (tool,) = ask.tools
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
    ask = read(body)
    assert ask.turns[0] == Turn("system", [TextPart("You are a cat.")])
    assert ask.turns[1] == Turn("user", [ImagePart(data=b"hi", media_type="image/png")])
    assert (ask.max_tokens, ask.top_k, ask.stop, ask.reasoning) == (5, 40, ["x"], Thinking("low", summary="auto"))
    assert ask.tools == [Tool("f")]
    assert ask.extra == {"safetySettings": [{"category": "A"}]}


def test_the_path_says_the_model_and_whether_it_streams() -> None:
    """The half that asks puts them there, the other is given them from there; a stream is asked for as events."""
    ask = Ask("gemini-2.5-flash", [Turn("user", [TextPart("hi")])])
    assert gemini.path(ask) == "/models/gemini-2.5-flash:generateContent"
    ask.stream = True
    assert gemini.path(ask) == "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert gemini.path(Ask("tunedModels/a b?c", [])) == "/tunedModels/a%20b%3Fc:generateContent"
    assert gemini.count_path(Ask("models/m", [])) == "/models/m:countTokens"
    assert (read(said({"text": "x"}), "models/m", stream=True).model, read(said({"text": "x"}, model="a"), None).model) == (
        "m",
        "a",
    )


@pytest.mark.parametrize("model", ["", "../files", "a//b", "a/./b"])
def test_a_model_cannot_lead_elsewhere(model: str) -> None:
    """A name that a server might take for another path is sent nowhere."""
    with pytest.raises(BadInput) as caught:
        gemini.path(Ask(model, []))
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
def test_media_are_told_by_their_type(part: Any, read_as: Any) -> None:
    """And go back as they came, with what only this wire says of them."""
    ask = read(said(part))
    assert only(ask) == [read_as]
    assert reread(ask) == ask


def test_parts_without_a_common_word_go_back_as_they_came() -> None:
    """Code that the backend ran stays in the conversation, on this wire alone."""
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    output = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    ask = read(said(code, output, {"text": "1"}, role="model"))
    assert gemini.write_request(ask)["contents"][0]["parts"] == [code, output, {"text": "1"}]
    ask.wire = None
    assert gemini.write_request(ask)["contents"][0]["parts"] == [{"text": ""}, {"text": ""}, {"text": "1"}]


def test_signatures_stand_where_they_stood() -> None:
    """On a text, on a call, on thoughts, and alone."""
    parts = [
        {"text": "hm", "thought": True, "thoughtSignature": "cw=="},
        {"text": "a"},
        {"text": "", "thoughtSignature": "dA=="},
        {"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": "dQ=="},
    ]
    ask = read(said(*parts, role="model"))
    assert only(ask) == [
        ReasoningPart("hm", Opaque("gemini", "cw==")),
        TextPart("a"),
        ReasoningPart("", Opaque("gemini", "dA==")),
        ToolCall("1", "f", "{}", Opaque("gemini", "dQ==")),
    ]
    assert gemini.write_request(ask)["contents"][0]["parts"] == parts
    assert only(read(said({"text": "b", "thoughtSignature": "dg=="}, role="model"))) == [
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
    ask = read({"contents": [{"role": "model", "parts": [chunk]} for chunk in chunks]})
    assert only(ask) == [
        ReasoningPart("hey", Opaque("gemini", "cw==")),
        TextPart("Hello"),
        ReasoningPart("", Opaque("gemini", "dA==")),
    ]


def test_a_foreign_signature_goes_to_its_vendor_alone() -> None:
    """It survives a client of this wire, and stays out of a request to this vendor."""
    ask = Ask("m", [Turn("assistant", [ReasoningPart("hm", Opaque("anthropic", "sig")), TextPart("a")])])
    assert gemini.write_request(ask)["contents"][0]["parts"][0] == {"text": "hm", "thought": True}
    assert gemini.write_request(ask, vendor="anthropic")["contents"][0]["parts"][0]["thoughtSignature"] == "sig"


def test_newer_models_get_the_word_that_stands_for_a_missing_signature() -> None:
    """On the first call of a turn that another model made; the other half takes it for none."""
    turn = Turn("assistant", [ToolCall("1", "f", "{}"), ToolCall("2", "g", "{}")])
    for model, expected in (
        ("gemini-3-pro", True),
        ("gemini-flash-latest", True),
        ("gemini-2.5-flash", False),
        ("gemma-3", False),
    ):
        first, second = gemini.write_request(Ask(model, [turn]))["contents"][0]["parts"]
        assert ("thoughtSignature" in first, "thoughtSignature" in second) == (expected, False), model
    assert only(reread(Ask("gemini-3-pro", [turn])))[0].opaque is None


# Results of tools.


@pytest.mark.parametrize(
    ("response", "parts", "error"),
    [
        ({"output": "plain"}, ["plain"], False),
        ({"output": ""}, [""], False),
        ({}, [], False),
        ({"error": "no"}, ["no"], True),
        ({"error": {"code": 1}}, ['{"code":1}'], True),
        ({"a": [1, None]}, ['{"a":[1,null]}'], False),
        ({"output": {"a": 1}}, ['{"a":1}'], False),
        ({"output": "x", "error": "y"}, ['{"output":"x","error":"y"}'], True),
        ({"output": [1]}, ['{"output":[1]}'], False),
    ],
)
def test_results_are_text(response: dict[str, Any], parts: list[str], error: bool) -> None:
    """An object that is more than an output or an error is told as its JSON."""
    ask = read(said({"functionResponse": {"id": "1", "name": "f", "response": response}}))
    assert only(ask) == [ToolResult("1", [TextPart(text) for text in parts], "f", error)]


@given(st.dictionaries(st.sampled_from(["output", "error", "a"]), VALUES, max_size=3), st.booleans(), st.booleans())
def test_the_text_of_a_result_comes_back_letter_for_letter(value: dict[str, Any], spaced: bool, failed: bool) -> None:
    """Whether it is an object as this wire would write it, one written otherwise, or none."""
    text = json.dumps(value) if spaced else encoded(value).decode()
    ask = Ask("m", [Turn("tool", [ToolResult("1", [TextPart(text)], "f", failed)])])
    (result,) = only(reread(ask))
    assert result == ToolResult("1", [TextPart(text)], "f", failed)


def test_results_without_ids_find_their_calls_by_name() -> None:
    """The oldest that waits, each once."""
    calls = [{"functionCall": {"name": name}} for name in ("f", "g", "f")]
    results = [{"functionResponse": {"name": name, "response": {}}} for name in ("f", "f", "g", "h")]
    ask = read({"contents": [{"role": "model", "parts": calls}, {"role": "user", "parts": [*results, {"text": "so?"}]}]})
    assert [part.id for part in ask.turns[1].parts] == ["call_0", "call_2", "call_1", "call_h"]
    assert ask.turns[2] == Turn("user", [TextPart("so?")])


def test_a_result_gets_the_name_of_its_call() -> None:
    """Of the last call with that id; without one it says what is missing."""
    calls = [Turn("assistant", [ToolCall("1", "old")]), Turn("assistant", [ToolCall("1", "new", '{"x": 1}')])]
    ask = Ask("m", [*calls, Turn("tool", [ToolResult("1", [TextPart("a")])]), Turn("tool", [ToolResult("1", [])])])
    contents = gemini.write_request(ask)["contents"]
    assert [part["functionResponse"]["name"] for part in contents[2]["parts"]] == ["new", "new"]
    with pytest.raises(BadInput, match="name") as caught:
        gemini.write_request(Ask("m", [Turn("tool", [ToolResult("2", [])])]))
    assert caught.value.field == "turns[0].parts[0].name"


@pytest.mark.parametrize("arguments", ["{", "[1]", "\ud800"])
def test_arguments_that_are_no_object_cannot_be_sent(arguments: str) -> None:
    """The field that is at fault is named."""
    with pytest.raises(BadInput) as caught:
        gemini.write_request(Ask("m", [Turn("assistant", [TextPart("a"), ToolCall("1", "f", arguments)])]))
    assert caught.value.field == "turns[0].parts[1].arguments"


# Tools, formats, thinking.


def test_tools_that_the_backend_runs_keep_their_places() -> None:
    """Each is one of its own, however they were put together; functions between them are declared together."""
    tools = [
        {"functionDeclarations": [{"name": "f"}, {"name": "g"}], "google_search": {}},
        {"codeExecution": {}},
        {"functionDeclarations": [{"name": "h"}]},
    ]
    ask = read(said({"text": "x"}, tools=tools))
    search, code = HostedTool("googleSearch", {"googleSearch": {}}), HostedTool("codeExecution", {"codeExecution": {}})
    assert ask.tools == [Tool("f"), Tool("g"), search, code, Tool("h")]
    assert reread(ask) == ask
    ask.wire = "anthropic"
    assert gemini.write_request(ask)["tools"] == [{"functionDeclarations": [{"name": "f"}, {"name": "g"}, {"name": "h"}]}]


def test_the_apis_own_schemas_become_json_schemas() -> None:
    """Types, nulls and numbers as all others write them."""
    schema = {
        "type": "OBJECT",
        "properties": {
            "any_of": {"type": "STRING", "nullable": True, "enum": ["a"], "min_length": "2"},
            "list": {"type": "ARRAY", "items": {"type": "NUMBER"}, "nullable": False},
            "either": {"any_of": [{"type": "INTEGER"}, {"type": "NULL"}], "nullable": True},
        },
        "property_ordering": ["list"],
    }
    tools = [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]
    (tool,) = read(said({"text": "x"}, tools=tools)).tools
    assert isinstance(tool, Tool)
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "any_of": {"type": ["string", "null"], "enum": ["a", None], "minLength": 2},
            "list": {"type": "array", "items": {"type": "number"}},
            "either": {"anyOf": [{"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": "null"}]},
        },
        "propertyOrdering": ["list"],
    }


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice("auto")),
        ({"mode": "any"}, ToolChoice("required")),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice("named", "f")),
        ({"mode": "ANY", "allowed_function_names": ["f", "g"]}, ToolChoice("required")),
        ({"mode": "VALIDATED"}, ToolChoice("auto")),
        ({"mode": "MODE_UNSPECIFIED"}, None),
        ({}, None),
    ],
)
def test_choices_of_tools(config: dict[str, Any], choice: ToolChoice | None) -> None:
    """What there is no common word for stays with the ask, and goes back."""
    ask = read(said({"text": "x"}, toolConfig={"functionCallingConfig": config}))
    assert ask.tool_choice == choice
    written = gemini.write_request(ask).get("toolConfig", {}).get("functionCallingConfig", {})
    if choice is not None:
        assert written["mode"] == config["mode"].upper()
        names = config.get("allowedFunctionNames", config.get("allowed_function_names"))
        assert written.get("allowedFunctionNames") == names


@pytest.mark.parametrize(
    ("config", "form"),
    [
        ({"responseMimeType": "application/json"}, Format("json")),
        ({"responseMimeType": "text/plain"}, Format("text")),
        ({"responseJsonSchema": {"type": "object"}}, Format("schema", {"type": "object"})),
        ({"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}, Format("schema", {"type": "object"})),
        ({"responseMimeType": "text/x.enum", "responseSchema": {"enum": ["a"]}}, None),
    ],
)
def test_formats(config: dict[str, Any], form: Format | None) -> None:
    """A format of this wire alone stays as it is."""
    ask = read(said({"text": "x"}, generationConfig=config))
    assert ask.format == form
    assert reread(ask) == ask
    assert form is not None or gemini.write_request(ask)["generationConfig"] == config


def test_efforts_are_levels_and_budgets_where_there_are_no_levels() -> None:
    """Never both, which the API refuses."""
    turns = [Turn("user", [TextPart("x")])]

    def config(model: str, **thinking: Any) -> Any:
        return gemini.write_request(Ask(model, turns, reasoning=Thinking(**thinking)))["generationConfig"]["thinkingConfig"]

    assert config("gemini-3-pro", effort="high") == {"thinkingLevel": "HIGH"}
    assert config("gemini-3-pro", effort="none") == {"thinkingLevel": "MINIMAL"}
    assert config("gemini-2.5-flash", effort="none") == {"thinkingBudget": 0}
    assert config("gemini-2.5-pro", effort="xhigh", summary="auto") == {"thinkingBudget": 24576, "includeThoughts": True}
    assert config("gemini-3-pro", effort="low", budget=5) == {"thinkingBudget": 5}
    assert read(said({"text": "x"}, generationConfig={"thinkingConfig": {}})).reasoning is None


def test_a_system_turn_alone_is_asked() -> None:
    """The API refuses a request without contents."""
    body = gemini.write_request(Ask("m", [Turn("system", [TextPart("Say hi.")])]))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Say hi."}]}]}


def test_what_is_extra_lies_over_what_is_common() -> None:
    """Whoever speaks this wire's words meant them; another wire's words stay away."""
    ask = Ask("m", [Turn("user", [TextPart("x")])], temperature=1.0, wire="gemini", seed=5)
    ask.extra = {"generationConfig": {"temperature": 0.5, "speechConfig": {}}, "cachedContent": "cachedContents/1"}
    body = gemini.write_request(ask)
    assert body["generationConfig"] == {"temperature": 0.5, "seed": 5, "speechConfig": {}}
    assert body["cachedContent"] == "cachedContents/1"
    ask.wire = "ollama"
    assert "cachedContent" not in gemini.write_request(ask)


# Counting.


def test_an_ask_to_be_counted_comes_back() -> None:
    """Whole, or as contents alone."""
    ask = Ask("gemini-3-pro", [Turn("system", [TextPart("s")]), Turn("user", [TextPart("x")])], [Tool("f")], wire="gemini")
    assert gemini.read_count_request(encoded(gemini.write_count_request(ask))) == ask
    contents = gemini.read_count_request(encoded(said({"text": "x"})), model="m")
    assert contents == Ask("m", [Turn("user", [TextPart("x")])], wire="gemini")
    assert gemini.read_count(gemini.write_count(31)) == 31


# What is wrong.


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": 5}, "contents"),
        ({"contents": [5]}, "contents[0]"),
        ({"contents": [{"role": "assistant", "parts": []}]}, "contents[0].role"),
        (said("x"), "contents[0].parts[0]"),
        (said({}), "contents[0].parts[0]"),
        (said({"text": 5}), "contents[0].parts[0].text"),
        (said({"text": "x"}, {"inlineData": {"data": "aGk="}}), "contents[0].parts[1].inlineData.mimeType"),
        (said({"inlineData": {"mimeType": "image/png", "data": "!"}}), "contents[0].parts[0].inlineData.data"),
        (said({"fileData": {}}), "contents[0].parts[0].fileData.fileUri"),
        (said({"functionCall": {"name": "f"}}), "contents[0].parts[0].functionCall"),
        (said({"functionCall": {}}, role="model"), "contents[0].parts[0].functionCall.name"),
        (said({"functionCall": {"name": "f", "args": []}}, role="model"), "contents[0].parts[0].functionCall.args"),
        (said({"functionResponse": {"name": "f"}}, role="model"), "contents[0].parts[0].functionResponse"),
        (said({"functionResponse": {"name": "f", "response": "x"}}), "contents[0].parts[0].functionResponse.response"),
        (said({"functionResponse": {"name": "f", "parts": [{}]}}), "contents[0].parts[0].functionResponse.parts[0].fileData"),
        (said({"text": "x"}, systemInstruction="y"), "systemInstruction"),
        (said({"text": "x"}, tools=[{"functionDeclarations": [{}]}]), "tools[0].functionDeclarations[0].name"),
        (said({"text": "x"}, toolConfig={"functionCallingConfig": {"mode": "SOME"}}), "toolConfig.functionCallingConfig.mode"),
        (said({"text": "x"}, generationConfig={"topP": "x"}), "generationConfig.topP"),
        (said({"text": "x"}, generationConfig={"stopSequences": [1]}), "generationConfig.stopSequences[0]"),
        (said({"text": "x"}, generationConfig={"responseJsonSchema": 1}), "generationConfig.responseJsonSchema"),
        (
            said({"text": "x"}, generationConfig={"thinkingConfig": {"thinkingLevel": "x"}}),
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (said({"text": "x"}, store=1), "store"),
    ],
)
def test_a_wrong_field_is_named(body: Any, field: str) -> None:
    """With its place in the request."""
    with pytest.raises(BadInput) as caught:
        read(body)
    assert caught.value.field == field


def test_a_body_that_cannot_be_read_is_told_of() -> None:
    """No JSON, JSON that is too deep, a model that nobody named."""
    with pytest.raises(BadInput, match="JSON"):
        gemini.read_request(b"{", model="m")
    with pytest.raises(BadInput, match="deep"):
        gemini.read_request(b"[" * 9 + b"]" * 9, model="m", limits=Limits(depth=8))
    with pytest.raises(BadInput) as caught:
        read(said({"text": "x"}), None)
    assert caught.value.field == "model"


WORDS = st.sampled_from(
    [
        *("contents", "parts", "text", "role", "model", "user", "functionCall", "functionResponse", "name", "args", "response"),
        *("inlineData", "mimeType", "data", "fileData", "fileUri", "tools", "functionDeclarations", "parameters", "type"),
        *("generationConfig", "thinkingConfig", "toolConfig", "functionCallingConfig", "mode", "systemInstruction", "thought"),
        *("thoughtSignature", "allowedFunctionNames", "generateContentRequest", "responseSchema", "id", "output", "error"),
    ]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(
    ANY
    | st.builds(lambda parts, rest: {**rest, "contents": [{"role": "model", "parts": parts}]}, ANY, st.dictionaries(WORDS, ANY))
)
def test_no_json_breaks_the_reader(value: Any) -> None:
    """It is an ask that can be written again, or ``BadInput``."""
    for read_as in (gemini.read_request, gemini.read_count_request):
        try:
            ask = read_as(encoded(value), model="m")
        except BadInput:
            continue
        gemini.write_request(ask)


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    """They are no request."""
    with pytest.raises(BadInput):
        gemini.read_request(body, model="m")


def test_tags_survive_as_base64() -> None:
    """Another vendor's signature, as the writer of answers puts it, is that vendor's again."""
    from polychat.wire.gemini.names import signature_of

    opaque = Opaque("anthropic", "a+b/c==", "id.1", redacted=True)
    signature = signature_of(opaque)
    assert signature != tagged(opaque, "gemini")
    for way in (signature, signature.replace("-", "+").replace("_", "/")):
        assert only(read(said({"text": "", "thoughtSignature": way}, role="model"))) == [ReasoningPart("", opaque)]
