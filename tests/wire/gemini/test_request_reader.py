"""Gemini's requests: results of tools, tools, formats, thinking; and what is wrong in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.types import (
    ChatMessage,
    ChatRequest,
    Format,
    HostedTool,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from polychat.wire import gemini
from polychat.wire.json_text import encoded
from polychat.wire.limits import ReaderLimits

from ...support.gemini_samples import ANY, WORDS, body_of_parts, only, read, reread
from ...support.random_requests import VALUES

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
    """An object that is more than an output or an error is read as its JSON."""
    request = read(body_of_parts({"functionResponse": {"id": "1", "name": "f", "response": response}}))
    assert only(request) == [ToolResult("1", [TextPart(text) for text in parts], "f", error)]


@given(st.dictionaries(st.sampled_from(["output", "error", "a"]), VALUES, max_size=3), st.booleans(), st.booleans())
def test_the_text_of_a_result_comes_back_letter_for_letter(value: dict[str, Any], spaced: bool, failed: bool) -> None:
    """Whether it is an object as this wire would write it, one written otherwise, or none."""
    text = json.dumps(value) if spaced else encoded(value).decode()
    request = ChatRequest("m", [ChatMessage("tool", [ToolResult("1", [TextPart(text)], "f", failed)])])
    (result,) = only(reread(request))
    assert result == ToolResult("1", [TextPart(text)], "f", failed)


def test_results_without_ids_find_their_calls_by_name() -> None:
    """The oldest that waits, each once."""
    calls = [{"functionCall": {"name": name}} for name in ("f", "g", "f")]
    results = [{"functionResponse": {"name": name, "response": {}}} for name in ("f", "f", "g", "h")]
    request = read({"contents": [{"role": "model", "parts": calls}, {"role": "user", "parts": [*results, {"text": "so?"}]}]})
    assert [part.id for part in request.messages[1].parts] == ["call_0", "call_2", "call_1", "call_h"]
    assert request.messages[2] == ChatMessage("user", [TextPart("so?")])


def test_a_result_gets_the_name_of_its_call() -> None:
    """Of the last call with that id; without one it says what is missing."""
    calls = [ChatMessage("assistant", [ToolCall("1", "old")]), ChatMessage("assistant", [ToolCall("1", "new", '{"x": 1}')])]
    request = ChatRequest(
        "m", [*calls, ChatMessage("tool", [ToolResult("1", [TextPart("a")])]), ChatMessage("tool", [ToolResult("1", [])])]
    )
    contents = gemini.write_request(request)["contents"]
    assert [part["functionResponse"]["name"] for part in contents[2]["parts"]] == ["new", "new"]
    with pytest.raises(BadInput, match="name") as caught:
        gemini.write_request(ChatRequest("m", [ChatMessage("tool", [ToolResult("2", [])])]))
    assert caught.value.field == "messages[0].parts[0].name"


@pytest.mark.parametrize("arguments", ["{", "[1]", "\ud800"])
def test_arguments_that_are_no_object_cannot_be_sent(arguments: str) -> None:
    """The field that is at fault is named."""
    with pytest.raises(BadInput) as caught:
        gemini.write_request(ChatRequest("m", [ChatMessage("assistant", [TextPart("a"), ToolCall("1", "f", arguments)])]))
    assert caught.value.field == "messages[0].parts[1].arguments"


# Tools, formats, thinking.


def test_tools_that_the_backend_runs_keep_their_places() -> None:
    """Each is one of its own, however they were put together; functions between them are declared together."""
    tools = [
        {"functionDeclarations": [{"name": "f"}, {"name": "g"}], "google_search": {}},
        {"codeExecution": {}},
        {"functionDeclarations": [{"name": "h"}]},
    ]
    request = read(body_of_parts({"text": "x"}, tools=tools))
    search, code = HostedTool("googleSearch", {"googleSearch": {}}), HostedTool("codeExecution", {"codeExecution": {}})
    assert request.tools == [Tool("f"), Tool("g"), search, code, Tool("h")]
    assert reread(request) == request
    request.wire = "anthropic"
    assert gemini.write_request(request)["tools"] == [{"functionDeclarations": [{"name": "f"}, {"name": "g"}, {"name": "h"}]}]


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
    (tool,) = read(body_of_parts({"text": "x"}, tools=tools)).tools
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
    request = read(body_of_parts({"text": "x"}, toolConfig={"functionCallingConfig": config}))
    assert request.tool_choice == choice
    written = gemini.write_request(request).get("toolConfig", {}).get("functionCallingConfig", {})
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
    request = read(body_of_parts({"text": "x"}, generationConfig=config))
    assert request.format == form
    assert reread(request) == request
    assert form is not None or gemini.write_request(request)["generationConfig"] == config


def test_efforts_are_levels_and_budgets_where_there_are_no_levels() -> None:
    """Never both, which the API refuses."""
    turns = [ChatMessage("user", [TextPart("x")])]

    def config(model: str, **thinking: Any) -> Any:
        return gemini.write_request(ChatRequest(model, turns, reasoning=Thinking(**thinking)))["generationConfig"][
            "thinkingConfig"
        ]

    assert config("gemini-3-pro", effort="high") == {"thinkingLevel": "HIGH"}
    assert config("gemini-3-pro", effort="none") == {"thinkingLevel": "MINIMAL"}
    assert config("gemini-2.5-flash", effort="none") == {"thinkingBudget": 0}
    assert config("gemini-2.5-pro", effort="xhigh", summary="auto") == {"thinkingBudget": 32768, "includeThoughts": True}
    assert config("gemini-3-pro", effort="low", budget=5) == {"thinkingBudget": 5}
    assert read(body_of_parts({"text": "x"}, generationConfig={"thinkingConfig": {}})).reasoning is None


def test_a_system_turn_alone_is_asked() -> None:
    """The API refuses a request without contents."""
    body = gemini.write_request(ChatRequest("m", [ChatMessage("system", [TextPart("Say hi.")])]))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Say hi."}]}]}


def test_what_is_extra_lies_over_what_is_common() -> None:
    """Whoever speaks this wire's words meant them; another wire's words stay away."""
    request = ChatRequest("m", [ChatMessage("user", [TextPart("x")])], temperature=1.0, wire="gemini", seed=5)
    request.extra = {"generationConfig": {"temperature": 0.5, "speechConfig": {}}, "cachedContent": "cachedContents/1"}
    body = gemini.write_request(request)
    assert body["generationConfig"] == {"temperature": 0.5, "seed": 5, "speechConfig": {}}
    assert body["cachedContent"] == "cachedContents/1"
    request.wire = "ollama"
    assert "cachedContent" not in gemini.write_request(request)


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
        (body_of_parts("x"), "contents[0].parts[0]"),
        (body_of_parts({}), "contents[0].parts[0]"),
        (body_of_parts({"text": 5}), "contents[0].parts[0].text"),
        (body_of_parts({"text": "x"}, {"inlineData": {"data": "aGk="}}), "contents[0].parts[1].inlineData.mimeType"),
        (body_of_parts({"inlineData": {"mimeType": "image/png", "data": "!"}}), "contents[0].parts[0].inlineData.data"),
        (body_of_parts({"fileData": {}}), "contents[0].parts[0].fileData.fileUri"),
        (body_of_parts({"functionCall": {"name": "f"}}), "contents[0].parts[0].functionCall"),
        (body_of_parts({"functionCall": {}}, role="model"), "contents[0].parts[0].functionCall.name"),
        (body_of_parts({"functionCall": {"name": "f", "args": []}}, role="model"), "contents[0].parts[0].functionCall.args"),
        (body_of_parts({"functionResponse": {"name": "f"}}, role="model"), "contents[0].parts[0].functionResponse"),
        (body_of_parts({"functionResponse": {"name": "f", "response": "x"}}), "contents[0].parts[0].functionResponse.response"),
        (
            body_of_parts({"functionResponse": {"name": "f", "parts": [{}]}}),
            "contents[0].parts[0].functionResponse.parts[0].fileData",
        ),
        (body_of_parts({"text": "x"}, systemInstruction="y"), "systemInstruction"),
        (body_of_parts({"text": "x"}, tools=[{"functionDeclarations": [{}]}]), "tools[0].functionDeclarations[0].name"),
        (
            body_of_parts({"text": "x"}, toolConfig={"functionCallingConfig": {"mode": "SOME"}}),
            "toolConfig.functionCallingConfig.mode",
        ),
        (body_of_parts({"text": "x"}, generationConfig={"topP": "x"}), "generationConfig.topP"),
        (body_of_parts({"text": "x"}, generationConfig={"stopSequences": [1]}), "generationConfig.stopSequences[0]"),
        (body_of_parts({"text": "x"}, generationConfig={"responseJsonSchema": 1}), "generationConfig.responseJsonSchema"),
        (
            body_of_parts({"text": "x"}, generationConfig={"thinkingConfig": {"thinkingLevel": "x"}}),
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (body_of_parts({"text": "x"}, store=1), "store"),
    ],
)
def test_a_wrong_field_is_named(body: Any, field: str) -> None:
    """With its place in the request."""
    with pytest.raises(BadInput) as caught:
        read(body)
    assert caught.value.field == field


def test_a_body_that_cannot_be_read_is_reported() -> None:
    """No JSON, JSON that is too deep, a model that nobody named."""
    with pytest.raises(BadInput, match="JSON"):
        gemini.read_request(b"{", model="m")
    with pytest.raises(BadInput, match="deep"):
        gemini.read_request(b"[" * 9 + b"]" * 9, model="m", limits=ReaderLimits(depth=8))
    with pytest.raises(BadInput) as caught:
        read(body_of_parts({"text": "x"}), None)
    assert caught.value.field == "model"


@settings(max_examples=100, deadline=None)
@given(
    ANY
    | st.builds(lambda parts, rest: {**rest, "contents": [{"role": "model", "parts": parts}]}, ANY, st.dictionaries(WORDS, ANY))
)
def test_no_json_breaks_the_reader(value: Any) -> None:
    """It is an ask that can be written again, or ``BadInput``."""
    for read_as in (gemini.read_request, gemini.read_count_request):
        try:
            request = read_as(encoded(value), model="m")
        except BadInput:
            continue
        gemini.write_request(request)


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    """They are no request."""
    with pytest.raises(BadInput):
        gemini.read_request(body, model="m")
