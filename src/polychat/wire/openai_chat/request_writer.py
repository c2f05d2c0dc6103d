"""Client side: a ``ChatRequest`` as a body."""

from __future__ import annotations

from typing import Any

from ...types import ChatRequest, Format, HostedTool, Tool, ToolChoice
from ..efforts import effort_of
from ..extras import with_extra
from ..plain import writer
from .constants import NAME, VENDOR
from .message_writer import messages_of, with_native_extra

Object = dict[str, Any]
_write_plain = writer(NAME)


def path(request: ChatRequest) -> str:
    """The path, the same for a stream."""
    return "/chat/completions"


def write_request(request: ChatRequest, vendor: str = VENDOR) -> Object:
    """The body, as a value for JSON. Opaque parts of other vendors, and fields that ``SUPPORT`` drops, are omitted."""
    native = request.wire == NAME
    body: Object = {"model": request.model, "messages": messages_of(request.messages, vendor, native=native)}
    _write_plain(request, body)
    if request.logprobs is not None:
        body["logprobs"] = True
        if request.logprobs:
            body["top_logprobs"] = request.logprobs
    if request.stream:
        body["stream"] = True
        if request.stream_usage is not None:
            body["stream_options"] = {"include_usage": request.stream_usage}
    _about_form(request, body, native=native)
    if native and ("reasoning" in request.extra or "thinking" in request.extra):  # they have the effort in a vendor's own field
        body.pop("reasoning_effort", None)
    return with_extra(body, request.extra, native=native)


def _about_form(request: ChatRequest, body: Object, *, native: bool) -> None:
    if request.tools and (tools := [written for tool in request.tools if (written := _tool(tool, native=native)) is not None]):
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


def _tool(tool: Tool | HostedTool, *, native: bool) -> Object | None:
    if isinstance(tool, HostedTool):
        return tool.spec if native else None
    if tool.kind == "custom":
        custom: Object = {"name": tool.name, "description": tool.description, "format": _grammar(tool.format)}
        custom = {name: value for name, value in custom.items() if value is not None}
        return with_extra({"type": "custom", "custom": custom}, tool.extra, native=native)
    about = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    function = {name: value for name, value in about.items() if value is not None}
    written: Object = {"type": "function", "function": function}
    return with_native_extra(written, tool.extra, tool.cache) if native else written


def _grammar(form: Object | None) -> Object | None:
    """The format of free text: in the Responses API its grammar is flat, here it is a nested object."""
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
    schema = {"name": form.name or "answer", "description": form.description, "schema": form.schema, "strict": form.strict}
    return {"type": "json_schema", "json_schema": {name: value for name, value in schema.items() if value is not None}}
