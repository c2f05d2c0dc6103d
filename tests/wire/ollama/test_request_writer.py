"""Requests of Ollama's API, written and read."""

from __future__ import annotations

import json
from dataclasses import replace
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
)
from polychat.wire.json_text import encoded
from polychat.wire.ollama import NAME, SUPPORT, VENDOR, path, read_generate_request, read_request, write_request
from polychat.wire.ollama.constants import JOINED, image_type

from ...support.corpus import FOLDER
from ...support.random_requests import asks, plain


def body(chat_request: ChatRequest, vendor: str = VENDOR) -> bytes:
    return encoded(write_request(chat_request, vendor))


def back(chat_request: ChatRequest) -> ChatRequest:
    return read_request(body(chat_request))


def request_with(**fields: Any) -> ChatRequest:
    return ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], **fields)


def body_with(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()


def as_it_comes_back(chat_request: ChatRequest) -> ChatRequest:
    """``chat_request`` with what the ledger says is dropped, mapped or emulated done to it."""
    left = plain(chat_request, SUPPORT, NAME)
    alone = [sum(isinstance(part, ReasoningPart) for part in turn.parts) == 1 for turn in chat_request.messages]
    turns = [_turn(turn, single) for turn, single in zip(_kept(chat_request, left), alone, strict=True)]
    choice = None if chat_request.tool_choice is None or chat_request.tool_choice.mode == "auto" else chat_request.tool_choice
    return replace(
        left,
        messages=[turn for turn in turns if turn.parts],
        tools=[] if choice is not None and choice.mode == "none" else left.tools,
        tool_choice=None,
        format=None if left.format is None else Format(left.format.kind, left.format.schema),
        reasoning=_thinking(left.reasoning, own=chat_request.wire == NAME),
        stream_usage=None,
    )


def _kept(chat_request: ChatRequest, left: ChatRequest) -> list[ChatMessage]:
    """The turns that are left, with empty ones in place of those that are gone."""
    rest = iter(left.messages)
    whole = [plain(replace(chat_request, messages=[turn]), SUPPORT, NAME).messages for turn in chat_request.messages]
    return [next(rest) if one else ChatMessage("user", []) for one in whole]


def _turn(turn: ChatMessage, single: bool) -> ChatMessage:
    role = "system" if turn.role == "developer" else turn.role
    results = [replace(part, parts=_joined(part.parts)) for part in turn.parts if isinstance(part, ToolResult)]
    calls = [_call(part) for part in turn.parts if isinstance(part, ToolCall)]
    thoughts = [part for part in turn.parts if isinstance(part, ReasoningPart)]
    text = JOINED.join(thought.text for thought in thoughts if thought.text)
    opaque = _bare(thoughts[0].opaque) if single and thoughts else None
    thought = [ReasoningPart(text, opaque)] if text or opaque else []
    return replace(turn, role=role, parts=[*thought, *_joined(turn.parts), *results, *calls])


def _joined(parts: Any) -> list[Any]:
    images = [ImagePart(data=part.data, media_type=image_type(part.data)) for part in parts if isinstance(part, ImagePart)]
    text = JOINED.join(part.text for part in parts if isinstance(part, (TextPart, RefusalPart)))
    return [*images, *([TextPart(text)] if text else [])]


def _call(call: ToolCall) -> ToolCall:
    return replace(call, arguments=encoded(json.loads(call.arguments)).decode(), opaque=_bare(call.opaque))


def _bare(opaque: Opaque | None) -> Opaque | None:
    return None if opaque is None else Opaque(opaque.vendor, opaque.data)


def _thinking(thinking: Thinking | None, *, own: bool) -> Thinking | None:
    if thinking is None:
        return None
    if thinking.effort is None:
        by_budget: dict[Any, Thinking] = {0: Thinking("none"), -1: Thinking(budget=-1), 1024: Thinking("low")}
        return by_budget.get(thinking.budget, Thinking("medium"))
    nearest: Any = {"minimal": "low", "xhigh": "high"}
    return Thinking(thinking.effort if own else nearest.get(thinking.effort, thinking.effort))


@settings(max_examples=100, deadline=None)
@given(asks(vendors=("ollama", "anthropic")))
def test_an_ask_comes_back_less_what_the_ledger_names(chat_request: ChatRequest) -> None:
    """Whatever is asked in common words is read as it was written, less what the ledger says is lost."""
    assert back(chat_request) == as_it_comes_back(chat_request)


@settings(max_examples=100, deadline=None)
@given(asks(wire=NAME, vendors=("ollama",)))
def test_fields_of_this_wire_only_come_back(chat_request: ChatRequest) -> None:
    """Fields beyond the common words stay on the ask, its messages, tools, calls and results."""
    # A message's text and images are bare strings: nothing can stand beside them.
    for turn in chat_request.messages:
        for part in turn.parts:
            for inner in (part, *getattr(part, "parts", ())):
                if isinstance(inner, (TextPart, ImagePart)):
                    inner.extra = None
    assert back(chat_request) == as_it_comes_back(chat_request)


@settings(max_examples=60, deadline=None)
@given(asks(wire=NAME, vendors=("ollama",)))
def test_a_second_trip_changes_nothing(chat_request: ChatRequest) -> None:
    """What was read on this wire is written as it was read."""
    once = back(chat_request)
    assert back(once) == once


def test_stream_is_always_sent() -> None:
    """The server streams by default, and a chat_request that does not say so is one for a stream."""
    assert write_request(request_with())["stream"] is False
    assert write_request(request_with(stream=True))["stream"] is True
    assert read_request(body_with()).stream is True
    assert read_request(body_with(), stream=False).stream is False
    assert read_request(body_with(stream=False), stream=True).stream is False


def test_sampling_goes_into_options() -> None:
    """By the server's names; what else stood there goes back there."""
    chat_request = request_with(max_tokens=5, temperature=0.0, repetition_penalty=1.5, stop=["x"], seed=0)
    options = {"num_predict": 5, "temperature": 0.0, "repeat_penalty": 1.5, "stop": ["x"], "seed": 0}
    assert write_request(chat_request)["options"] == options
    read = read_request(body_with(options={"num_ctx": 9, "top_k": 3.0, "stop": "y", "mirostat": None}, keep_alive="5m"))
    assert (read.top_k, read.stop, read.extra) == (3, ["y"], {"options": {"num_ctx": 9}, "keep_alive": "5m"})
    assert write_request(read)["options"] == {"top_k": 3, "stop": ["y"], "num_ctx": 9}
    assert write_request(read)["keep_alive"] == "5m"


@pytest.mark.parametrize("most", [-1, -2, 0])
def test_no_limit_is_no_number_of_tokens(most: int) -> None:
    """``num_predict`` at or below 0 means something else: it stays this wire's own."""
    chat_request = read_request(body_with(options={"num_predict": most}))
    assert chat_request.max_tokens is None
    assert write_request(chat_request)["options"] == {"num_predict": most}


@pytest.mark.parametrize(
    ("think", "thinking"),
    [(True, Thinking(budget=-1)), (False, Thinking("none")), ("low", Thinking("low")), ("xhigh", Thinking("xhigh"))],
)
def test_think_goes_there_and_back(think: object, thinking: Thinking) -> None:
    """A flag and a level are each what they were."""
    chat_request = read_request(body_with(think=think))
    assert chat_request.reasoning == thinking
    assert write_request(chat_request)["think"] == think


def test_levels_that_some_models_alone_know() -> None:
    """They go back as they came; of another wire's efforts only those that every server knows are sent."""
    assert write_request(read_request(body_with(think="max")))["think"] == "max"
    assert write_request(request_with(reasoning=Thinking("xhigh")))["think"] == "high"
    assert write_request(request_with(reasoning=Thinking("minimal")))["think"] == "low"
    assert write_request(request_with(reasoning=Thinking(budget=99_999)))["think"] == "high"
    assert "think" not in write_request(request_with(reasoning=Thinking(summary="auto")))


def test_tools_are_left_out_where_none_may_be_called() -> None:
    """There is no word for it."""
    tools = [Tool("f"), HostedTool("web", {"type": "web"})]
    assert [tool["function"]["name"] for tool in write_request(request_with(tools=tools))["tools"]] == ["f"]
    assert "tools" not in write_request(request_with(tools=tools, tool_choice=ToolChoice("none")))
    own = read_request(body_with(tools=[{"type": "web", "a": 1}]))
    assert write_request(own)["tools"] == [{"type": "web", "a": 1}]


def test_other_members_of_a_function_come_back() -> None:
    """In a tool and in a call alike, without pushing the common words out."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "x": 1}}
    call = {"id": "a", "type": "function", "function": {"index": 0, "name": "f", "arguments": {"b": 1}, "y": 2}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    written = write_request(read_request(body_with(messages=messages, tools=[tool])))
    assert written["tools"] == [tool]
    assert written["messages"][1]["tool_calls"] == [call]


def test_published_calls_and_results_find_each_other() -> None:
    """Without ids, results go to the calls of their name in order."""
    chat_request = read_request((FOLDER / "ollama/request-tools.json").read_bytes())
    calls = [part for part in chat_request.messages[1].parts if isinstance(part, ToolCall)]
    results = [part for part in chat_request.messages[2].parts if isinstance(part, ToolResult)]
    assert [call.id for call in calls] == [result.id for result in results] == ["call_0", "call_1", "call_2", "call_3"]
    assert [part.text for result in results for part in result.parts if isinstance(part, TextPart)] == [
        *("22°C", "Partly cloudy", "15°C", "Rainy")
    ]
    assert len(chat_request.messages) == 3


def test_ids_that_are_made_up_meet_no_others() -> None:
    """In a conversation of several turns no two calls share an id; a result by id finds its call, and its name."""
    bare = {"function": {"name": "f", "arguments": {}}}
    messages = [
        {"role": "assistant", "tool_calls": [bare, {**bare, "id": "call_1"}]},
        {"role": "tool", "content": "1", "tool_call_id": "call_1"},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "tool_calls": [bare]},
        {"role": "tool", "content": "3", "tool_name": "g"},
    ]
    chat_request = read_request(body_with(messages=messages))
    calls = [part.id for turn in chat_request.messages for part in turn.parts if isinstance(part, ToolCall)]
    results = [(part.id, part.name) for turn in chat_request.messages for part in turn.parts if isinstance(part, ToolResult)]
    assert calls == ["call_0", "call_1", "call_2"]
    assert results == [("call_1", "f"), ("call_0", "f"), ("call_3", "g")]


def test_images_are_of_the_type_their_first_bytes_tell() -> None:
    """The wire does not say it."""
    for beginning, kind in [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"GIF89a", "image/gif"),
        (b"BM12", "image/bmp"),
    ]:
        chat_request = ChatRequest("m", [ChatMessage("user", [TextPart("what?"), ImagePart(data=beginning, media_type="x")])])
        assert back(chat_request).messages[0].parts == [ImagePart(data=beginning, media_type=kind), TextPart("what?")]


def test_no_messages_are_an_ask_without_turns() -> None:
    """As clients send them to have a model loaded."""
    assert read_request(b'{"model":"m","messages":[]}').messages == []
    assert read_request(b'{"model":"m","keep_alive":0}').extra == {"keep_alive": 0}
    assert read_generate_request(b'{"model":"m"}').messages == []


def test_a_published_request_for_a_prompt() -> None:
    """Every option is either in common words or kept beside them, and goes back."""
    sent = (FOLDER / "ollama/request-generate.json").read_bytes()
    chat_request = read_generate_request(sent)
    assert chat_request.messages == [ChatMessage("user", [TextPart("Why is the sky blue?")])]
    assert (chat_request.max_tokens, chat_request.top_k, chat_request.stop, chat_request.stream) == (
        100,
        20,
        ["\n", "user:"],
        False,
    )
    assert write_request(chat_request)["options"] == json.loads(sent)["options"]
    assert path(chat_request) == "/api/chat"


def test_what_only_a_prompt_takes_goes_where_prompts_go() -> None:
    """A suffix means nothing to a chat: such an ask is written as it was read."""
    sent = {"model": "m", "prompt": "def f(", "system": "s", "suffix": "return", "raw": True, "context": [1], "stream": True}
    sent["images"] = ["iVBORw0KGgo="]
    chat_request = read_generate_request(json.dumps(sent).encode())
    assert [turn.role for turn in chat_request.messages] == ["system", "user"]
    assert path(chat_request) == "/api/generate"
    assert write_request(chat_request) == sent
    foreign = replace(chat_request, wire=None)
    assert path(foreign) == "/api/chat"
    assert "suffix" not in write_request(foreign)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (b"", "body"),
        (b"\xff", "body"),
        (b"[" * 100 + b"]" * 100, "body"),
        (b"[]", "body"),
        (b"{}", "model"),
        (body_with(messages={}), "messages"),
        (body_with(messages=["x"]), "messages[0]"),
        (body_with(messages=[{"content": "x"}]), "messages[0].role"),
        (body_with(messages=[{"role": "king"}]), "messages[0].role"),
        (body_with(messages=[{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content"),
        (body_with(messages=[{"role": "user", "images": ["a b"]}]), "messages[0].images[0]"),
        (body_with(messages=[{"role": "user", "images": ["https://a.example/b.png"]}]), "messages[0].images[0]"),
        (body_with(messages=[{"role": "assistant", "tool_calls": [{}]}]), "messages[0].tool_calls[0].function"),
        (
            body_with(messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (body_with(messages=[{"role": "tool", "tool_call_id": 5}]), "messages[0].tool_call_id"),
        (body_with(tools=[{"type": "function"}]), "tools[0].function"),
        (body_with(tools=[{"function": {"name": "f", "parameters": "x"}}]), "tools[0].function.parameters"),
        (body_with(options=[]), "options"),
        (body_with(options={"temperature": "hot"}), "options.temperature"),
        (body_with(options={"num_predict": False}), "options.num_predict"),
        (body_with(options={"seed": 1.5}), "options.seed"),
        (body_with(options={"stop": [1]}), "options.stop[0]"),
        (body_with(format="xml"), "format"),
        (body_with(think=3), "think"),
        (body_with(stream="yes"), "stream"),
        (body_with(logprobs=True, top_logprobs="2"), "top_logprobs"),
    ],
)
def test_what_would_change_its_meaning_is_refused(sent: bytes, field: str) -> None:
    """And the field is named."""
    with pytest.raises(BadInput) as caught:
        read_request(sent)
    assert caught.value.field == field


@pytest.mark.parametrize("arguments", ["[1]", "{", "\ud800"])
def test_earlier_calls_whose_arguments_are_no_object_are_refused(arguments: str) -> None:
    """This wire says them as an object."""
    chat_request = ChatRequest("m", [ChatMessage("assistant", [ToolCall("a", "f", arguments)])])
    with pytest.raises(BadInput) as caught:
        write_request(chat_request)
    assert caught.value.field == "messages[0].tool_calls[0].arguments"


FIELDS = (
    *("model", "messages", "role", "content", "images", "tool_calls", "function", "name", "arguments", "tools", "options"),
    *("stop", "num_predict", "format", "think", "stream", "prompt", "system", "tool_name", "tool_call_id", "id", "logprobs"),
)
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["user", "assistant", "tool", "function", "json"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(ANY, st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=5))
def test_any_json_is_an_ask_or_refused(value: Any, fields: dict[str, Any]) -> None:
    """Nothing else is raised, and what is an ask can be written."""
    good = json.loads(body_with())
    for sent in (value, {**good, **fields}, {**good, "messages": [{"role": "assistant", **fields}]}):
        for read in (read_request, read_generate_request):
            try:
                chat_request = read(json.dumps(sent).encode())
            except BadInput:
                continue
            assert isinstance(body(chat_request), bytes)
