"""The half that asks: an ask as a request's body."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ...types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
    Effort,
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
from ..checks import data_url
from ..plain import writer
from .constants import AUDIO, NAME, VENDOR
from .thoughts import detail_of

Object = dict[str, Any]

BELOW = "(The user's next message shows the rest of this result.)"
ABOVE = "The rest of the result of"
_write_plain = writer(NAME)


def path(request: ChatRequest) -> str:
    """Streamed or not, the same."""
    return "/chat/completions"


def write_request(request: ChatRequest, vendor: str = VENDOR) -> Object:
    """The body, as a value for JSON. Opaque parts of other vendors, and what ``SUPPORT`` drops, are left out."""
    own = request.wire == NAME
    body: Object = {"model": request.model, "messages": _messages(request.turns, vendor, own=own)}
    _write_plain(request, body)
    if request.logprobs is not None:
        body["logprobs"] = True
        if request.logprobs:
            body["top_logprobs"] = request.logprobs
    if request.stream:
        body["stream"] = True
        if request.stream_usage is not None:
            body["stream_options"] = {"include_usage": request.stream_usage}
    _about_form(request, body, own=own)
    if not own:
        return body
    if "reasoning" in request.extra or "thinking" in request.extra:  # it says the effort already, in OpenRouter's words
        body.pop("reasoning_effort", None)
    return merged(body, request.extra)


def _about_form(request: ChatRequest, body: Object, *, own: bool) -> None:
    if request.tools and (tools := [written for tool in request.tools if (written := _tool(tool, own=own)) is not None]):
        body["tools"] = tools
        if request.tool_choice is not None:
            body["tool_choice"] = _choice(request.tool_choice, request.tools)
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.format is not None:
        body["response_format"] = _format(request.format)
    effort = None if request.reasoning is None else effort_of(request.reasoning)
    if effort is not None:
        body["reasoning_effort"] = effort


_BY_BUDGET: tuple[tuple[int, Effort | None], ...] = (
    (-1, None),
    (0, "none"),
    (1024, "minimal"),
    (2048, "low"),
    (8192, "medium"),
)


def effort_of(thinking: Thinking) -> Effort | None:
    """The effort, or the one that comes nearest to a budget of tokens."""
    if thinking.effort is not None or thinking.budget is None:
        return thinking.effort
    for most, effort in _BY_BUDGET:
        if thinking.budget <= most:
            return effort
    return "high"


def _tool(tool: Tool | HostedTool, *, own: bool) -> Object | None:
    if isinstance(tool, HostedTool):
        return tool.spec if own else None
    if tool.kind == "custom":
        custom: Object = {"name": tool.name, "description": tool.description, "format": _grammar(tool.format)}
        custom = {name: value for name, value in custom.items() if value is not None}
        return _with(own, tool.extra, {"type": "custom", "custom": custom})
    said = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    function = {name: value for name, value in said.items() if value is not None}
    return _with(own, tool.extra, _cached(own, tool.cache, {"type": "function", "function": function}))


def _grammar(form: Object | None) -> Object | None:
    """The form of free text: in the Responses API its grammar is flat, here it is an object inside."""
    if form is None or form.get("type") != "grammar" or "grammar" in form:
        return form
    return {"type": "grammar", "grammar": {name: value for name, value in form.items() if name != "type"}}


def _choice(choice: ToolChoice, tools: list[Tool | HostedTool]) -> str | Object:
    if choice.mode != "named":
        return choice.mode
    kind = next((tool.kind for tool in tools if isinstance(tool, Tool) and tool.name == choice.name), "function")
    return {"type": kind, kind: {"name": choice.name}}


def _format(form: Format) -> Object:
    if form.kind != "schema":
        return {"type": "json_object" if form.kind == "json" else "text"}
    said = {"name": form.name or "answer", "description": form.description, "schema": form.schema, "strict": form.strict}
    return {"type": "json_schema", "json_schema": {name: value for name, value in said.items() if value is not None}}


def _messages(turns: list[ChatMessage], vendor: str, *, own: bool) -> list[Object]:
    messages: list[Object] = []
    for turn in turns:
        if turn.role == "tool":
            messages += _results([part for part in turn.parts if isinstance(part, ToolResult)], own=own)
            continue
        message: Object = {"role": turn.role}
        if turn.role == "assistant":
            _assistant(turn.parts, vendor, message, own=own)
        else:
            message["content"] = _content(turn.parts, own=own)
        if turn.parts and not own and not message.get("content") and not any(message.get(name) for name in _SAYING):
            continue  # nothing of it can be told here, and servers refuse a message without anything
        if turn.name is not None:
            message["name"] = turn.name
        messages.append(_with(own, turn.extra, message) if turn.extra else message)
    return messages


_SAYING = ("content", "refusal", "tool_calls", "reasoning_content", "reasoning_details")
"""What of a message says anything."""


def _results(results: list[ToolResult], *, own: bool) -> list[Object]:
    """A message a result. What such a message cannot hold, unless it came so on this wire, is shown by the user behind them."""
    messages: list[Object] = []
    shown: list[Object] = []
    for result in results:
        here = [part for part in result.parts if own or isinstance(part, TextPart)]
        more = [part for part in result.parts if not own and not isinstance(part, TextPart)]
        if more:
            here.append(TextPart(BELOW))
            shown.append({"type": "text", "text": f"{ABOVE} {result.name or result.id}:"})
            shown += _listed(more, own=own)
        said = {"role": "tool", "tool_call_id": result.id, "content": _content(here, own=own)}
        messages.append(_with(own, result.extra, _cached(own, result.cache, said)))
    return [*messages, {"role": "user", "content": shown}] if shown else messages


def _assistant(parts: list[Part], vendor: str, message: Object, *, own: bool) -> None:
    thoughts = [part for part in parts if isinstance(part, ReasoningPart)]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    rest = [part for part in parts if not isinstance(part, (ReasoningPart, ToolCall))]
    if len(rest) == 1 and isinstance(rest[0], RefusalPart):
        message |= {"content": None, "refusal": rest[0].text}
    else:
        message["content"] = _content(rest, own=own) if rest or not calls else None
    if thoughts:
        _thoughts(thoughts, vendor, message, own=own)
    if calls:
        message["tool_calls"] = [_call(call, vendor, own=own) for call in calls]


def _thoughts(thoughts: list[ReasoningPart], vendor: str, message: Object, *, own: bool) -> None:
    """As one text by the name most vendors have for it; block by block as OpenRouter has them where one is signed."""
    kept = [(part, part.opaque if part.opaque is not None and part.opaque.vendor == vendor else None) for part in thoughts]
    if any(opaque is not None or (own and part.extra) for part, opaque in kept):
        details = [_detail(part, opaque, own=own) for part, opaque in kept]
        message["reasoning_details"] = [detail for detail in details if len(detail) > 1]
    elif text := "\n\n".join(part.text for part in thoughts if part.text):
        message["reasoning_content"] = text


def _detail(part: ReasoningPart, opaque: Opaque | None, *, own: bool) -> Object:
    detail = detail_of(part.text, opaque)
    extra = part.extra if own and part.extra else {}
    if extra.get("type") == "reasoning.summary" and "text" in detail:
        detail["summary"] = detail.pop("text")
    if opaque is None and not part.text:
        detail = {"type": "reasoning.text"}
    return merged(detail, extra)


def _call(call: ToolCall, vendor: str, *, own: bool) -> Object:
    said: Object = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    if call.kind == "custom":
        said = {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    if call.opaque is not None and call.opaque.vendor == vendor:
        said["extra_content"] = signature_of(call.opaque.data)
    return _with(own, call.extra, _cached(own, call.cache, said))


def signature_of(data: str) -> Object:
    """Where a tool call carries a signature: as Gemini's OpenAI-compatible API has it."""
    return {"google": {"thought_signature": data}}


def _content(parts: list[Any], *, own: bool) -> str | list[Object]:
    if not parts:
        return ""
    first = parts[0]
    if len(parts) == 1 and isinstance(first, TextPart) and not (own and (first.extra or first.cache)):
        return first.text
    return _listed(parts, own=own)


def _listed(parts: list[Any], *, own: bool) -> list[Object]:
    return [written for part in parts if (written := _part(part, own=own)) is not None]


def _part(part: Part, *, own: bool) -> Object | None:
    match part:
        case TextPart():
            said: Object = {"type": "text", "text": part.text}
        case ImagePart():
            url = part.url if part.data is None else data_url(part.media_type, part.data)
            detail = {} if part.detail is None else {"detail": part.detail}
            said = {"type": "image_url", "image_url": {"url": url, **detail}}
        case AudioPart():
            form = AUDIO.get(part.media_type) or part.media_type.rpartition("/")[2]
            said = {"type": "input_audio", "input_audio": {"data": b64encode(part.data).decode(), "format": form}}
        case FilePart():
            said = {"type": "file", "file": _file(part)}
        case RefusalPart():
            return {"type": "refusal", "refusal": part.text}
        case _:
            return None
    return _with(own, part.extra, _cached(own, getattr(part, "cache", None), said))


def _file(file: FilePart) -> Object:
    said: Object = {} if file.name is None else {"filename": file.name}
    if file.id is not None:
        return {"file_id": file.id, **said}
    return {"file_data": file.url if file.data is None else data_url(file.media_type, file.data), **said}


def _cached(own: bool, cache: str | None, said: Object) -> Object:
    """With the mark that OpenRouter and others take, where the ask came with it on this wire."""
    if own and cache is not None:
        said["cache_control"] = {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}
    return said


def _with(own: bool, extra: Object | None, said: Object) -> Object:
    return merged(said, extra) if own and extra else said


def merged(said: Object, extra: Object) -> Object:
    """``said`` with what the wire's own words add to it, inside its objects too."""
    for name, more in extra.items():
        known = said.get(name)
        said[name] = {**known, **more} if isinstance(known, dict) and isinstance(more, dict) else more
    return said
