"""Names of tools that meet once they are flattened, shortened or spelled otherwise: every tool keeps a name of its own."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from polychat.events import Event, Finish, ToolCallPiece
from polychat.types import ChatMessage, ChatRequest, TextPart, Tool, ToolCall, ToolResult
from polychat.wire.adapting import LONGEST, adapted
from polychat.wire.contract import names, wire_named

from ..support.gateway_for_clients import house
from ..support.running_gateway import asking

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
each_backend = pytest.mark.parametrize("backend", names())
each_way = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def sent_names(request: ChatRequest) -> list[str]:
    return [tool.name for tool in request.tools if isinstance(tool, Tool)]


def called_names(request: ChatRequest) -> list[str]:
    return [part.name for turn in request.messages for part in turn.parts if isinstance(part, ToolCall)]


def calls(*names: str) -> list[list[Event]]:
    pieces = [ToolCallPiece(index, f"call_{index}", name, '{"path":"a"}') for index, name in enumerate(names)]
    return [*([piece] for piece in pieces), [Finish("complete", "tool_calls")]]


def all_called(request: ChatRequest) -> Any:
    return calls(*sent_names(request))


def names_called(dialect: str, body: bytes, *, stream: bool) -> list[str]:
    wire = wire_named(dialect)
    reader = wire.Reader()
    events = [*reader.feed(body), *reader.end()] if stream else wire.read_reply(body)
    return [event.name for event in events if isinstance(event, ToolCallPiece) and event.name]


def group(name: str, *tools: str) -> dict[str, Any]:
    described = [{"type": "function", "name": tool, "description": f"{name}/{tool}", "parameters": SCHEMA} for tool in tools]
    return {"type": "namespace", "name": name, "description": name, "tools": described}


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name, "description": f"/{name}", "parameters": SCHEMA}


LONG = "x" * 80
MEETING = [
    [group("a", "b__c"), group("a__b", "c")],
    [group("a__", "b"), group("a", "b")],
    [group("a", "b"), function("a__b")],
    [group("a", "b__c", "d"), group("a__b", "c"), group("a__b__c", "d"), function("a__b__c")],
    [group(LONG, f"b__{LONG}"), group(f"{LONG}__b", LONG)],
    [group("é", "b__c"), group("é__b", "c"), group("e", "b__c")],
]
"""Tools of a request of which some have one whole name."""


def tool_names_of(tools: list[dict[str, Any]]) -> list[tuple[str | None, str]]:
    """Group and name of each."""
    tool_names: list[tuple[str | None, str]] = []
    for tool in tools:
        inner = tool.get("tools")
        tool_names += [(None, tool["name"])] if inner is None else [(tool["name"], one["name"]) for one in inner]
    return tool_names


def of_group(item: dict[str, Any]) -> tuple[str | None, str]:
    return item.get("namespace"), item["name"]


@each_backend
@each_way
@pytest.mark.parametrize("tools", MEETING, ids=range(len(MEETING)))
async def test_groups_whose_whole_names_meet(backend: str, stream: bool, tools: list[dict[str, Any]]) -> None:
    """Each tool reaches the backend under a name of its own, and its call comes back by its group and name; so does an
    earlier call of each, and the answer repeats the tools as they were given."""
    pairs = tool_names_of(tools)
    items: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
    for at, (space, name) in enumerate(pairs):
        named = {"name": name} if space is None else {"name": name, "namespace": space}
        items.append({"type": "function_call", "call_id": f"e{at}", "arguments": "{}", **named})
    items += [{"type": "function_call_output", "call_id": f"e{at}", "output": str(at)} for at in range(len(pairs))]
    async with house(backend, all_called) as (here, dialect):
        path, body = asking("openai-responses", stream=stream, tools=tools, input=items)
        answer = await here.ask(path, body)
    assert answer.status == 200
    request = dialect.asks[0]
    if backend != "openai-responses":  # where it passes as it came
        described = {tool.description: tool.name for tool in request.tools if isinstance(tool, Tool)}
        assert described == dict(zip([f"{space or ''}/{name}" for space, name in pairs], sent_names(request), strict=True))
        assert all(len(name) <= LONGEST for name in described.values())
    assert len(set(sent_names(request))) == len(pairs)
    assert called_names(request) == sent_names(request)
    results = [part.name for turn in request.messages for part in turn.parts if isinstance(part, ToolResult) and part.name]
    assert results in ([], sent_names(request))
    if stream:
        events = [json.loads(event.partition("data: ")[2]) for event in answer.events]
        response = events[-1]["response"]
    else:
        response = answer.json
    assert [of_group(item) for item in response["output"] if item["type"] == "function_call"] == pairs
    if backend != "openai-responses":
        assert tool_names_of(response["tools"]) == pairs


@pytest.mark.parametrize("tools", MEETING, ids=range(len(MEETING)))
def test_names_do_not_depend_on_the_order_of_tools(tools: list[dict[str, Any]]) -> None:
    """A tool has one name in every request with these tools: what a backend cached of them stays good."""
    seen: set[tuple[tuple[str | None, str], ...]] = set()
    for order in itertools.permutations(tools):
        request = wire_named("openai-responses").read_request(body_of(list(order)))
        seen.add(tuple(sorted((str(tool.description), tool.name) for tool in request.tools if isinstance(tool, Tool))))
    assert len(seen) == 1


def body_of(tools: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"model": "m", "input": "hi", "tools": tools, **more}).encode()


@pytest.mark.parametrize("tools", MEETING, ids=range(len(MEETING)))
def test_a_request_that_is_written_anew_on_its_own_wire(tools: list[dict[str, Any]]) -> None:
    """The names that it gives its groups' tools are read back as the same tools, and the one that was chosen stays chosen."""
    responses = wire_named("openai-responses")
    for space, name in tool_names_of(tools):
        choice = {"type": "function", "name": name, **({} if space is None else {"namespace": space})}
        request = responses.read_request(body_of(tools, tool_choice=choice))
        chosen = request.tool_choice
        assert chosen is not None
        (tool,) = (tool for tool in request.tools if isinstance(tool, Tool) and tool.name == chosen.name)
        assert tool.description == f"{space or ''}/{name}"
        written = responses.write_request(request)
        flat = [f"{s}{'' if s.endswith('__') else '__'}{n}" if s else n for s, n in tool_names_of(written["tools"])]
        assert flat == sent_names(request)
        assert of_group(written["tool_choice"]) in tool_names_of(written["tools"])
        assert "namespace.name" not in str(written)


def test_a_call_without_its_group_is_of_the_tool_that_kept_the_name() -> None:
    """Clients that send a whole name back do not make another tool of it; a call of a group that is not offered any more
    does not become one of a tool that is."""
    items = [
        {"type": "function_call", "call_id": "1", "name": "a__b__c", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "c", "namespace": "a__b", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "2", "output": "x"},
    ]
    request = wire_named("openai-responses").read_request(body_of([group("a", "b__c")], input=items))
    assert sent_names(request) == ["a__b__c"]
    whole, gone = called_names(request)
    assert whole == "a__b__c"
    assert gone.startswith("a__b__c_")
    (result,) = (part for turn in request.messages for part in turn.parts if isinstance(part, ToolResult))
    assert result.name == gone


def earlier_calls(request: ChatRequest) -> list[str]:
    """The calls before the user's last message."""
    last = max(at for at, turn in enumerate(request.messages) if turn.role == "user")
    return called_names(ChatRequest("m", request.messages[:last]))


@pytest.mark.parametrize("tools", MEETING, ids=range(len(MEETING)))
async def test_a_kept_conversation_under_other_tools(tools: list[dict[str, Any]]) -> None:
    """What goes on from a kept reply may bring other tools: each earlier call is then of the tool that has its group and
    name now, and of none where that is not offered any more. The kept items have the client's own names."""
    described = tools[:1]
    space, name = tool_names_of(tools)[0]
    earlier = [
        {"type": "function_call", "call_id": "e", "name": name, "arguments": "{}", **({"namespace": space} if space else {})},
        {"type": "function_call_output", "call_id": "e", "output": "x"},
        {"role": "user", "content": "hi"},
    ]
    async with house("openai-chat", all_called) as (here, dialect):
        one = (await here.ask("/v1/responses", {"model": "house/small", "input": earlier, "tools": described})).json
        results = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "x"}
            for item in one["output"]
            if item["type"] == "function_call"
        ]
        goes_on = {
            "model": "house/small",
            "previous_response_id": one["id"],
            "input": [*results, {"role": "user", "content": "go"}],
        }
        two = (await here.ask("/v1/responses", {**goes_on, "tools": tools})).json
        items = (await here.ask(f"/v1/responses/{two['id']}/input_items?order=asc")).json["data"]
        ahead = {**goes_on, "previous_response_id": two["id"], "tools": tools[1:], "input": "further"}
        await here.ask("/v1/responses", ahead)
    second = dialect.asks[1]
    whole = {tool.description: tool.name for tool in second.tools if isinstance(tool, Tool)}
    pairs = [(space, name), *tool_names_of(described)]
    assert earlier_calls(second) == [whole[f"{space or ''}/{name}"] for space, name in pairs]
    by_id = {part.id: part.name for turn in second.messages for part in turn.parts if isinstance(part, ToolCall)}
    results = [part for turn in second.messages for part in turn.parts if isinstance(part, ToolResult)]
    assert all(result.name in (None, by_id[result.id]) for result in results)
    called = [of_group(item) for item in items if item["type"] == "function_call"]
    assert called == pairs
    third = dialect.asks[2]
    offered = {tool.name: tool.description for tool in third.tools if isinstance(tool, Tool)}
    pairs += tool_names_of(tools)
    for name, (space, own) in zip(earlier_calls(third), pairs, strict=True):
        assert offered.get(name, f"{space or ''}/{own}") == f"{space or ''}/{own}"


@pytest.mark.parametrize("tools", MEETING, ids=range(len(MEETING)))
@pytest.mark.parametrize("grouped", [False, True])
def test_tools_that_are_allowed(tools: list[dict[str, Any]], grouped: bool) -> None:
    """A choice among some tools names them as they are sent, and the answer repeats it as it came."""
    responses = wire_named("openai-responses")
    pairs = tool_names_of(tools)
    entries: list[dict[str, Any]] = [
        {"type": "function", "name": name, **({} if space is None else {"namespace": space})} for space, name in pairs
    ]
    if grouped:
        entries = [
            {"type": "function", "name": name}
            if space is None
            else {"type": "namespace", "name": space, "tools": [{"name": name}]}
            for space, name in pairs
        ]
    choice = {"type": "allowed_tools", "mode": "required", "tools": entries}
    request = responses.read_request(body_of(tools, tool_choice=choice))
    written = responses.write_request(request)
    sent = written["tool_choice"]["tools"]
    if grouped:
        sent = [{**entry, **(entry["tools"][0] | {"namespace": entry["name"]} if "tools" in entry else {})} for entry in sent]
    assert sorted(map(str, map(of_group, sent))) == sorted(map(str, tool_names_of(written["tools"])))
    assert written["tool_choice"]["mode"] == "required"
    writer = responses.writer(request, "one", 1)
    writer.write([Finish("complete", "stop")])
    assert json.loads(writer.end())["tool_choice"] == choice


@pytest.mark.parametrize("backend", [name for name in names() if name != "openai-responses"])
async def test_a_function_called_as_the_search_for_tools_is(backend: str) -> None:
    """``tool_search`` of a client and a function of that name are two tools, and each is called back as what it is."""
    search = {"type": "tool_search", "execution": "client", "description": "Find.", "parameters": SCHEMA}
    tools = [search, function("tool_search")]
    items = [
        {"role": "user", "content": "hi"},
        {"type": "tool_search_call", "call_id": "s", "execution": "client", "arguments": {"path": "x"}},
        {"type": "tool_search_output", "call_id": "s", "execution": "client", "status": "completed", "tools": []},
    ]
    async with house(backend, all_called) as (here, dialect):
        path, body = asking("openai-responses", tools=tools, input=items)
        answer = await here.ask(path, body)
        await here.ask(path, {**body, "input": "on", "previous_response_id": answer.json["id"]})
        await here.ask(path, {**body, "input": "on", "previous_response_id": answer.json["id"], "tools": tools[1:]})
    searching, plain = sent_names(dialect.asks[0])
    assert earlier_calls(dialect.asks[1]) == [searching, searching, plain]
    assert earlier_calls(dialect.asks[2])[2:] == ["tool_search"]
    assert "tool_search" not in earlier_calls(dialect.asks[2])[:2]
    assert len(set(sent_names(dialect.asks[0]))) == 2
    assert called_names(dialect.asks[0]) == [sent_names(dialect.asks[0])[0]]
    assert [item["type"] for item in answer.json["output"]] == ["tool_search_call", "function_call"]
    assert answer.json["output"][1]["name"] == "tool_search"


def short_of(name: str) -> str:
    """What a name becomes that no other is near."""
    request, _ = adapted(ChatRequest("m", [], tools=[Tool(name)]), custom=True)
    return sent_names(request)[0]


PAIRS = [
    [LONG, short_of(LONG)],
    ["a.b", short_of("a.b"), short_of(short_of("a.b") + ".")],
    [LONG + "1", LONG + "2", "é.x", "è.x"],
    ["y" * 64, "y" * 65],
]
"""Names, some of which are what others become."""


@pytest.mark.parametrize(("dialect", "backend"), list(itertools.permutations(names(), 2)))
@each_way
@pytest.mark.parametrize("names", PAIRS, ids=range(len(PAIRS)))
async def test_names_that_are_changed_to_fit(dialect: str, backend: str, stream: bool, names: list[str]) -> None:
    """From every dialect to every backend: a name that another becomes is not taken from its tool, and both come back
    exactly.
    """
    calls_before = [ToolCall(f"e{at}", name, "{}") for at, name in enumerate(names)]
    results = [ToolResult(call.id, [TextPart("R")], call.name) for call in calls_before]
    turns = [
        ChatMessage("user", [TextPart("hi")]),
        ChatMessage("assistant", list(calls_before)),
        ChatMessage("tool", list(results)),
    ]
    request = ChatRequest("house/small", turns, tools=[Tool(name, name, SCHEMA) for name in names], max_tokens=9)
    path, body = asking(dialect, stream=stream)
    body |= {
        name: value for name, value in wire_named(dialect).write_request(request).items() if name not in ("model", "stream")
    }
    async with house(backend, all_called) as (here, vendor):
        answer = await here.ask(path, body)
    assert answer.status == 200, answer.body
    chat_request = vendor.asks[0]
    assert len(set(sent_names(chat_request))) == len(names)
    assert all(len(name) <= LONGEST for name in sent_names(chat_request))
    assert called_names(chat_request) == sent_names(chat_request)
    assert names_called(dialect, answer.body, stream=stream) == names


def test_names_that_utf_8_cannot_carry() -> None:
    """Half an emoji in a name is a letter of its own: two names that differ in nothing else stay two."""
    request, back = adapted(ChatRequest("m", [], tools=[Tool("a\ud83d"), Tool("a\ud83e"), Tool("a?")]), custom=True)
    sent = sent_names(request)
    assert len(set(sent)) == 3
    assert back is not None
    pieces = back.take([ToolCallPiece(at, "i", name) for at, name in enumerate(sent)])
    assert [piece.name for piece in pieces if isinstance(piece, ToolCallPiece)] == ["a\ud83d", "a\ud83e", "a?"]
