"""The half that asks: an ask as a request's body."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ...errors import BadInput, redact
from ...types import (
    ChatMessage,
    ChatRequest,
    Format,
    HostedTool,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from ..extras import with_extra
from ..json_text import decoded
from ..plain import writer
from .constants import CALL_SIGNATURE, GENERATE_ONLY, JOINED, NAME, NO_PARAMETERS, THOUGHT_SIGNATURE, VENDOR

Object = dict[str, Any]
_write_plain = writer(NAME)


def path(request: ChatRequest) -> str:
    """A chat, or where the ask was read as one prompt with what only that takes, ``/api/generate``."""
    return "/api/generate" if _generates(request) else "/api/chat"


def _generates(request: ChatRequest) -> bool:
    return request.wire == NAME and any(name in request.extra for name in GENERATE_ONLY)


def write_request(request: ChatRequest, vendor: str = VENDOR) -> Object:
    """The body, as a value for JSON. Opaque parts of other vendors, and what ``SUPPORT`` drops, are left out.

    Raises ``BadInput`` for an earlier call whose arguments are no JSON object.
    """
    native = request.wire == NAME
    body: Object = {"model": request.model}
    if _generates(request):
        body |= _prompt(request.turns)
    else:
        body["messages"] = _messages(request.turns, vendor, native=native)
        if tools := _tools(request, native=native):
            body["tools"] = tools
    body["stream"] = request.stream
    if (form := _format(request.format)) is not None:
        body["format"] = form
    if (think := _think(request.reasoning, native=native)) is not None:
        body["think"] = think
    if request.logprobs is not None:
        body["logprobs"] = True
        if request.logprobs:
            body["top_logprobs"] = request.logprobs
    _write_plain(request, body)
    return with_extra(body, request.extra, native=native)


def _format(form: Format | None) -> Any:
    if form is None or form.kind == "text":
        return None
    return "json" if form.kind == "json" else form.schema


def _think(thinking: Thinking | None, *, native: bool) -> bool | str | None:
    """``think``. What was read on this wire goes back by its own word; other efforts by one that every server knows."""
    if thinking is None:
        return None
    if thinking.effort is not None:
        if thinking.effort == "none":
            return False
        return thinking.effort if native else {"minimal": "low", "xhigh": "high"}.get(thinking.effort, thinking.effort)
    if thinking.budget is None:
        return None
    if thinking.budget <= 0:
        return thinking.budget < 0
    return "low" if thinking.budget <= 2048 else "medium" if thinking.budget <= 8192 else "high"


def _tools(request: ChatRequest, *, native: bool) -> list[Object]:
    if request.tool_choice is not None and request.tool_choice.mode == "none":
        return []
    return [written for tool in request.tools if (written := _tool(tool, native=native)) is not None]


def _tool(tool: Tool | HostedTool, *, native: bool) -> Object | None:
    if isinstance(tool, HostedTool):
        return tool.spec if native else None
    about = {} if tool.description is None else {"description": tool.description}
    function = {"name": tool.name, **about, "parameters": NO_PARAMETERS if tool.parameters is None else tool.parameters}
    return with_extra({"type": "function", "function": function}, tool.extra, native=native)


def _prompt(turns: list[ChatMessage]) -> Object:
    """A system's and a user's turn as ``/api/generate`` has them: such an ask was read there and has no others."""
    body: Object = {"prompt": JOINED.join(_text(turn.parts) for turn in turns if turn.role != "system")}
    if system := JOINED.join(_text(turn.parts) for turn in turns if turn.role == "system"):
        body["system"] = system
    if images := [image for turn in turns for image in _images(turn.parts)]:
        body["images"] = images
    return body


def _messages(turns: list[ChatMessage], vendor: str, *, native: bool) -> list[Object]:
    messages: list[Object] = []
    for place, turn in enumerate(turns):
        if turn.role == "tool":
            messages += [_result(part, native=native) for part in turn.parts if isinstance(part, ToolResult)]
            continue
        message: Object = {"role": "system" if turn.role == "developer" else turn.role, "content": _text(turn.parts)}
        if images := _images(turn.parts):
            message["images"] = images
        if turn.role == "assistant":
            _think_back(turn.parts, vendor, message)
            if calls := [part for part in turn.parts if isinstance(part, ToolCall)]:
                where = f"turns[{place}]"
                message["tool_calls"] = [_call(call, number, vendor, where, native=native) for number, call in enumerate(calls)]
        if len(message) > 2 or message["content"] or (native and not turn.parts):
            messages.append(with_extra(message, turn.extra, native=native))
    return messages


def _text(parts: list[Part]) -> str:
    return JOINED.join(part.text for part in parts if isinstance(part, (TextPart, RefusalPart)) and part.text)


def _images(parts: list[Any]) -> list[str]:
    return [b64encode(part.data).decode() for part in parts if isinstance(part, ImagePart) and part.data is not None]


def _think_back(parts: list[Part], vendor: str, message: Object) -> None:
    thoughts = [part for part in parts if isinstance(part, ReasoningPart)]
    if text := JOINED.join(thought.text for thought in thoughts if thought.text):
        message["thinking"] = text
    if len(thoughts) == 1 and (opaque := thoughts[0].opaque) is not None and opaque.vendor == vendor:
        message[THOUGHT_SIGNATURE] = opaque.data  # a signature holds for its own thought alone, not for several joined


def _call(call: ToolCall, number: int, vendor: str, where: str, *, native: bool) -> Object:
    function = {"index": number, "name": call.name, "arguments": arguments_of(call, f"{where}.tool_calls[{number}]")}
    written: Object = {"id": call.id, "type": "function", "function": function}
    if call.opaque is not None and call.opaque.vendor == vendor:
        written[CALL_SIGNATURE] = call.opaque.data
    return with_extra(written, call.extra, native=native)


def arguments_of(call: ToolCall, where: str) -> Object:
    """The arguments as the object they stand for. Raises ``BadInput``."""
    if not call.arguments.strip():
        return {}
    try:
        value = decoded(call.arguments.encode())
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadInput(
            f"{where}.arguments, for the tool {redact(call.name, 60)}, are not a JSON object: {redact(call.arguments)}",
            field=f"{where}.arguments",
        )
    return value


def _result(result: ToolResult, *, native: bool) -> Object:
    message: Object = {"role": "tool", "content": _text(list(result.parts))}
    if images := _images(result.parts):
        message["images"] = images
    if result.name is not None:
        message["tool_name"] = result.name
    message["tool_call_id"] = result.id
    return with_extra(message, result.extra, native=native)
