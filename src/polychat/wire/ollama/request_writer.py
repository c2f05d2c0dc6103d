"""Client side: a ``ChatRequest`` as a body."""

from __future__ import annotations

from typing import Any

from ...types import ChatRequest, Format, HostedTool, Thinking, Tool
from ..efforts import effort_of
from ..extras import with_extra
from ..plain import writer
from .constants import GENERATE_ONLY, NAME, NO_PARAMETERS, VENDOR
from .message_writer import messages_of, prompt_of

Object = dict[str, Any]
_write_plain = writer(NAME)


def path(request: ChatRequest) -> str:
    """The path of a chat, or ``/api/generate`` for a request that was read there and has fields that only it accepts."""
    return "/api/generate" if _generates(request) else "/api/chat"


def _generates(request: ChatRequest) -> bool:
    return request.wire == NAME and any(name in request.extra for name in GENERATE_ONLY)


def write_request(request: ChatRequest, vendor: str = VENDOR) -> Object:
    """The body, as a value for JSON. Opaque parts of other vendors, and fields that ``SUPPORT`` drops, are omitted.

    Raises ``BadInput`` for an earlier call whose arguments are no JSON object.
    """
    native = request.wire == NAME
    body: Object = {"model": request.model}
    if _generates(request):
        body |= prompt_of(request.messages)
    else:
        body["messages"] = messages_of(request.messages, vendor, native=native)
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
    """``think``. A value that was read on this wire is written unchanged; other efforts as one that every server knows."""
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
    return effort_of(thinking, ("low", "medium", "high"))


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
