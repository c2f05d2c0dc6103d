"""Client side: a ``ChatRequest`` as a body."""

from __future__ import annotations

import re

from ...types import ChatRequest, Effort, Format, Thinking, Tool, ToolChoice
from ..adapting import name_in_group
from ..efforts import effort_of
from ..extras import with_extra
from ..plain import writer
from .constants import ENCRYPTED, LOGPROBS, NAME, VENDOR, Object
from .message_writer import Items, split_instructions
from .tool_names import allowed
from .tools import client_name, write_tools

_WITHOUT_REASONING = re.compile(r"(?:.*/)?(?:chat)?gpt-(?:3|4)|(?:.*/)?chatgpt-4o|ft:gpt-(?:3|4)")
"""Models that do not reason: they reject a request for encrypted reasoning. All their successors reason."""
EFFORTS: tuple[Effort, ...] = ("none", "low", "medium", "high")
"""The efforts that token budgets are converted to."""
_write_plain = writer(NAME)


def path(request: ChatRequest) -> str:
    """The path, the same for a stream."""
    return "/responses"


def write_request(request: ChatRequest, vendor: str = VENDOR) -> Object:
    """The body, as a value for JSON. Opaque parts of other vendors, and fields that ``SUPPORT`` drops, are omitted."""
    native = request.wire == NAME
    instructions, messages = split_instructions(request.messages, native=native)
    body: Object = {"model": request.model}
    if instructions is not None:
        body["instructions"] = instructions
    body["input"] = Items(vendor, native=native).of(messages)
    body |= settings(request, native=native)
    if include := _include(request):
        body["include"] = include
    if request.stream:
        body["stream"] = True
    extra = request.extra
    if isinstance(choice := extra.get("tool_choice"), dict) and choice.get("type") == "allowed_tools":
        extra = {**extra, "tool_choice": allowed(choice, request.tools)}
    return with_extra(body, extra, native=native, longer=("include", "tools"))


def settings(request: ChatRequest, *, native: bool, repeated: bool = False) -> Object:
    """All of a request except its conversation: the fields that a response repeats, by the same names.

    ``repeated``: with the client's own names of tools.
    """
    fields: Object = {}
    if tools := write_tools(request.tools, native=native, repeated=repeated):
        fields["tools"] = tools
    if request.tool_choice is not None:
        fields["tool_choice"] = _choice(request, request.tool_choice, repeated=repeated)
    if request.format is not None:
        fields["text"] = {"format": _format(request.format)}
    if request.reasoning is not None and (reasoning := _reasoning(request.reasoning)):
        fields["reasoning"] = reasoning
    _write_plain(request, fields)
    if request.logprobs is not None:
        fields["top_logprobs"] = request.logprobs
    return fields


def _include(request: ChatRequest) -> list[str]:
    include = [LOGPROBS] if request.logprobs is not None else []
    if request.store is False and not _WITHOUT_REASONING.match(request.model):
        include.append(ENCRYPTED)
    return include


def _choice(request: ChatRequest, choice: ToolChoice, *, repeated: bool) -> str | Object:
    if choice.mode != "named":
        return choice.mode
    tool = next((tool for tool in request.tools if isinstance(tool, Tool) and tool.name == choice.name), None)
    if tool is None:
        return {"type": "function", "name": choice.name}
    group = {} if tool.namespace is None else {"namespace": tool.namespace}
    name = client_name(tool) if repeated else name_in_group(tool.namespace, tool.name)
    return {"type": tool.kind, "name": name, **group}


def _format(form: Format) -> Object:
    if form.kind != "schema":
        return {"type": "json_object" if form.kind == "json" else "text"}
    schema = {"name": form.name or "answer", "description": form.description, "schema": form.schema, "strict": form.strict}
    return {"type": "json_schema", **{name: value for name, value in schema.items() if value is not None}}


def _reasoning(thinking: Thinking) -> Object:
    reasoning = {"effort": effort_of(thinking, EFFORTS), "summary": None if thinking.summary == "none" else thinking.summary}
    return {name: value for name, value in reasoning.items() if value is not None}
