"""Codex in the Responses dialect, before backends of every wire: groups of tools, free text, searches, and its own items."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.events import Event, Finish, Text, ToolCallPiece
from polychat.types import ChatRequest, TextPart, ToolCall, ToolResult
from polychat.wire.adapting import FreeText
from polychat.wire.contract import names, wire_named

from ..support.gateway_for_clients import house
from ..support.running_gateway import Answer, asking

WIRES = [name for name in names() if name != "openai-responses"]
each_wire = pytest.mark.parametrize("name", WIRES)
each_way = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
GROUP = {
    "type": "namespace",
    "name": "mcp__files",
    "description": "Files of the project.",
    "tools": [{"type": "function", "name": "read", "description": "Read one.", "parameters": SCHEMA, "strict": False}],
}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Change files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'},
}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Find tools.", "parameters": SCHEMA}
TOOLS = [
    {"type": "function", "name": "shell", "description": "Run it.", "parameters": SCHEMA, "strict": False},
    GROUP,
    PATCH,
    SEARCH,
    {"type": "web_search", "external_web_access": True},
]
TEXT = '*** Begin Patch\n+"é\u2028🙂\\n'


def called(*calls: tuple[str, str]) -> list[list[Event]]:
    """A reply of these calls, each in two pieces."""
    batches: list[list[Event]] = []
    for index, (name, arguments) in enumerate(calls):
        half = len(arguments) // 2
        batches.append([ToolCallPiece(index, f"call_{index}", name, arguments[:half])])
        batches.append([ToolCallPiece(index, arguments=arguments[half:])])
    return [*batches, [Finish("complete", "tool_calls")]]


async def ask(
    name: str, answer: Any, *, stream: bool, status: int = 200, **more: Any
) -> tuple[Answer, list[Any], list[ChatRequest]]:
    """The answer, the items of its output, and what the backend was asked."""
    async with house(name, answer) as (here, backend):
        path, body = asking("openai-responses", stream=stream, **more)
        got = await here.ask(path, body)
        assert got.status == status, got.body
        if not stream or status != 200:
            return got, got.json.get("output", []), backend.asks
        events = [json.loads(event.partition("data: ")[2]) for event in got.events]
        done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        assert events[-1]["response"]["output"] == done
        return got, done, backend.asks


@each_wire
@each_way
async def test_each_kind_of_tool_is_called_back_in_its_own_form(name: str, stream: bool) -> None:
    """A call of a group's tool has its name and its group apart; free text is a ``custom_tool_call``, a search a
    ``tool_search_call``; a plain function stays one."""
    calls = called(
        ("mcp__files__read", '{"path":"a"}'),
        ("apply_patch", json.dumps({"input": TEXT})),
        ("tool_search", '{"path":"mail"}'),
        ("shell", '{"path":"b"}'),
    )

    def answer(request: ChatRequest) -> Any:
        assert {tool.name for tool in request.tools} == {"shell", "mcp__files__read", "apply_patch", "tool_search"}  # type: ignore[union-attr]
        return calls

    got, items, _ = await ask(name, answer, stream=stream, tools=TOOLS)
    read, patch, search, shell = items
    assert (read["type"], read["namespace"], read["name"]) == ("function_call", "mcp__files", "read")
    assert json.loads(read["arguments"]) == {"path": "a"}
    assert (patch["type"], patch["name"], patch["input"]) == ("custom_tool_call", "apply_patch", TEXT)
    assert (search["type"], search["execution"], search["arguments"]) == ("tool_search_call", "client", {"path": "mail"})
    assert (shell["type"], shell["name"]) == ("function_call", "shell")
    assert "namespace" not in shell
    ids = [item["call_id"] for item in items]
    assert len(set(ids)) == len(ids)
    assert ids == ["call_0", "call_1", "call_2", "call_3"] or name in ("gemini", "ollama"), "whose replies name no calls"
    assert "web_search" in got.headers["x-polychat-losses"]


@each_wire
async def test_free_text_streams(name: str) -> None:
    """The input of a custom tool comes in ``custom_tool_call_input.delta`` events, letters and escapes as they are."""
    got, _, _ = await ask(name, called(("apply_patch", json.dumps({"input": TEXT}))), stream=True, tools=[PATCH])
    events = [json.loads(event.partition("data: ")[2]) for event in got.events]
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    done = [event["input"] for event in events if event["type"] == "response.custom_tool_call_input.done"]
    assert "".join(deltas) == TEXT
    assert done == [TEXT]
    assert not [event for event in events if "function_call_arguments" in event["type"]]


HISTORY = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    {"type": "function_call", "call_id": "a1", "name": "read", "namespace": "mcp__files", "arguments": '{"path":"a"}'},
    {"type": "custom_tool_call", "call_id": "a2", "name": "apply_patch", "input": TEXT},
    {"type": "local_shell_call", "call_id": "a3", "status": "completed", "action": {"type": "exec", "command": ["ls"]}},
    {"type": "tool_search_call", "call_id": "a4", "execution": "client", "arguments": {"query": "mail"}},
    {"type": "function_call_output", "call_id": "a1", "output": "R1"},
    {"type": "custom_tool_call_output", "call_id": "a2", "output": "R2"},
    {"type": "local_shell_call_output", "call_id": "a3", "output": "R3"},
    {"type": "tool_search_output", "call_id": "a4", "execution": "client", "status": "completed", "tools": [GROUP]},
]


@each_wire
async def test_the_history_keeps_its_calls_and_results(name: str) -> None:
    """Calls of every kind go to the backend as calls of functions, by the names it knows, and each result beside its call."""
    _, _, asks = await ask(name, [[Text("ok")], [Finish("complete", "stop")]], stream=False, input=HISTORY, tools=[PATCH])
    turns = asks[0].messages
    calls = [part for turn in turns for part in turn.parts if isinstance(part, ToolCall)]
    assert [call.name for call in calls] == ["mcp__files__read", "apply_patch", "local_shell", "tool_search"]
    assert json.loads(calls[1].arguments) == {"input": TEXT}
    results = [part for turn in turns for part in turn.parts if isinstance(part, ToolResult)]
    words = ["".join(part.text for part in result.parts if isinstance(part, TextPart)) for result in results]
    assert words[:3] == ["R1", "R2", "R3"]
    assert "mcp__files" in words[3]
    assert "mcp__files__read" in {tool.name for tool in asks[0].tools}  # type: ignore[union-attr]  # found by the search


@each_wire
@each_way
async def test_calls_of_tools_that_only_the_history_names(name: str, stream: bool) -> None:
    """A tool that an earlier call used as free text is free text, one that was a function stays one: neither is listed."""
    plain = {"type": "function_call", "call_id": "a5", "name": "shell", "arguments": '{"path":"b"}'}
    history = [*HISTORY, plain, {"type": "function_call_output", "call_id": "a5", "output": "R5"}]
    calls = called(("apply_patch", json.dumps({"input": TEXT})), ("shell", '{"path":"b"}'))
    _, (patch, shell), _ = await ask(name, calls, stream=stream, input=history, tools=[SEARCH])
    assert (patch["type"], patch.get("input")) == ("custom_tool_call", TEXT)
    assert (shell["type"], json.loads(shell["arguments"])) == ("function_call", {"path": "b"})


@each_wire
@pytest.mark.parametrize(
    ("arguments", "query"), [({"query": "mail"}, {"query": "mail"}), ('{"query":"mail"}', {"query": "mail"}), (None, {})]
)
async def test_an_earlier_search_in_each_form(name: str, arguments: Any, query: Any) -> None:
    """Its arguments are an object, or that as text, or not there: the backend reads an object."""
    search = {**HISTORY[4], "arguments": arguments}
    history = [HISTORY[0], search, HISTORY[8]]
    _, _, asks = await ask(name, [[Text("ok")], [Finish("complete", "stop")]], stream=False, input=history, tools=[SEARCH])
    (call,) = [part for turn in asks[0].messages for part in turn.parts if isinstance(part, ToolCall)]
    assert json.loads(call.arguments) == query


@each_wire
@each_way
async def test_tools_that_come_as_an_item(name: str, stream: bool) -> None:
    """Newer models are sent their tools as an item of the input: they are tools like all others."""
    more = [{"type": "additional_tools", "role": "developer", "tools": [GROUP, PATCH]}, {"role": "user", "content": "hi"}]
    _, items, asks = await ask(name, called(("mcp__files__read", '{"path":"a"}')), stream=stream, input=more)
    assert [tool.name for tool in asks[0].tools] == ["mcp__files__read", "apply_patch"]  # type: ignore[union-attr]
    assert (items[0]["namespace"], items[0]["name"]) == ("mcp__files", "read")
    assert all(turn.parts for turn in asks[0].messages)


@each_wire
@pytest.mark.parametrize("kind", ["compaction", "item_reference"])
async def test_a_reference_to_a_past_is_refused_by_name(name: str, kind: str) -> None:
    """A compaction or a reference holds what only its own vendor has: without it the answer would be to another question."""
    items = [{"type": kind, "id": "x", "encrypted_content": "e"}, {"role": "user", "content": "hi"}]
    got, _, asks = await ask(name, [[Text("ok")], [Finish("complete", "stop")]], stream=False, status=400, input=items)
    assert kind in got.json["error"]["message"]
    assert not asks


@each_wire
@pytest.mark.parametrize("kind", ["web_search_call", "code_interpreter_call", "mcp_list_tools", "mcp_call", "whatever_call"])
async def test_an_item_of_another_backend_leaves_no_empty_message(name: str, kind: str) -> None:
    """What another backend did by itself is left out and reported, and no turn is left empty for it."""
    items = [
        {"role": "user", "content": "hi"},
        {"type": kind, "id": "x", "status": "completed"},
        {"role": "user", "content": "and"},
    ]
    got, _, asks = await ask(name, [[Text("ok")], [Finish("complete", "stop")]], stream=False, input=items)
    assert f"parts.opaque.foreign ({kind})" in got.headers["x-polychat-losses"]
    assert all(any(getattr(part, "text", "") for part in turn.parts) for turn in asks[0].messages)


@each_wire
async def test_names_longer_than_the_vendors_take(name: str) -> None:
    """A name over 64 letters goes out as one that fits, in tools, choice and history, and its calls come back by the whole."""
    long = "read_" + "x" * 90
    group = {**GROUP, "tools": [{**GROUP["tools"][0], "name": long}]}  # type: ignore[dict-item]
    history = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "a1", "name": long, "namespace": "mcp__files", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a1", "output": "R"},
    ]
    choice = {"type": "function", "name": long, "namespace": "mcp__files"}

    def answer(request: ChatRequest) -> Any:
        return called((request.tools[0].name, '{"path":"a"}'))  # type: ignore[union-attr]

    more = {} if name == "ollama" else {"tool_choice": choice}  # which has no such choice
    _, items, asks = await ask(name, answer, stream=True, input=history, tools=[group], **more)
    sent = asks[0].tools[0].name  # type: ignore[union-attr]
    assert len(sent) <= 64
    assert {part.name for turn in asks[0].messages for part in turn.parts if isinstance(part, ToolCall)} == {sent}
    choice_sent = asks[0].tool_choice
    assert (choice_sent and choice_sent.name) == (sent if more else None)
    assert (items[0]["namespace"], items[0]["name"]) == ("mcp__files", long)


@pytest.mark.parametrize(
    "text", ["", "plain", TEXT, '"', "\\", "\ud83d\ude42".encode("utf-16", "surrogatepass").decode("utf-16")]
)
@pytest.mark.parametrize("ascii_", [True, False])
def test_free_text_at_every_cut(text: str, ascii_: bool) -> None:
    """Wherever arguments are cut, within an escape or a pair of them too, the text is the same; nothing is repeated."""
    whole = json.dumps({"input": text}, ensure_ascii=ascii_)
    for cut in range(len(whole) + 1):
        reader = FreeText()
        assert reader.feed(whole[:cut]) + reader.feed(whole[cut:]) + reader.end() == text
    reader = FreeText()
    assert "".join(map(reader.feed, whole)) + reader.end() == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [('{"patch":"x"}', "x"), ('"x"', "x"), ("x y", "x y"), ("{}", ""), ('{"a":1}', '{"a":1}'), (' {\n "input" :"x"}', "x")],
)
def test_free_text_of_another_shape(arguments: str, text: str) -> None:
    """Models that name the argument otherwise, or none, are understood."""
    reader = FreeText()
    assert "".join(map(reader.feed, arguments)) + reader.end() == text


def test_custom_tools_pass_where_the_wire_has_them() -> None:
    """OpenAI's chat has such tools: with their grammar, their calls and the choice of one."""
    chat, responses = wire_named("openai-chat"), wire_named("openai-responses")
    body = {
        "model": "m",
        "tools": [PATCH],
        "tool_choice": {"type": "custom", "name": "apply_patch"},
        "input": [HISTORY[0], HISTORY[2], HISTORY[6]],
    }
    request = responses.read_request(json.dumps(body).encode())
    chat_body = chat.write_request(request)
    grammar = {"syntax": "lark", "definition": 'start: "*** Begin Patch"'}
    assert chat_body["tools"][0]["custom"]["format"] == {"type": "grammar", "grammar": grammar}
    assert chat_body["tool_choice"] == {"type": "custom", "custom": {"name": "apply_patch"}}
    assert chat_body["messages"][1]["tool_calls"][0]["custom"] == {"name": "apply_patch", "input": TEXT}
    bare = responses.read_request(json.dumps({**body, "tools": [{"type": "custom", "name": "apply_patch"}]}).encode())
    assert chat.write_request(bare)["tools"] == [{"type": "custom", "custom": {"name": "apply_patch"}}], "nothing is null"
    back = responses.write_request(chat.read_request(json.dumps(chat_body).encode()))
    assert [back["tools"], back["tool_choice"]] == [[PATCH], body["tool_choice"]]
    assert [item["type"] for item in back["input"]] == ["message", "custom_tool_call", "custom_tool_call_output"]
