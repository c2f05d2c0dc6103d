"""Client side: the path and body of a request."""

from __future__ import annotations

import re
from typing import Any

from ...types import ChatRequest, Effort, Format, HostedTool, Thinking, Tool, ToolChoice
from ..checks import in_path
from ..efforts import BUDGETS
from ..extras import with_extra
from ..plain import writer
from .constants import NAME, VENDOR, Object
from .message_writer import contents_of

_write_plain = writer(NAME)
_LEVELS: dict[Effort, str] = {
    **{"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"},
    "xhigh": "HIGH",  # the API has no other values
}
_NO_LEVELS = re.compile(r"gemini-2\b")


def path(request: ChatRequest) -> str:
    """The path after the base URL, which ends with the API's version. Raises ``BadInput`` for an invalid model name."""
    return _method(request, "streamGenerateContent?alt=sse" if request.stream else "generateContent")


def count_path(request: ChatRequest) -> str:
    """The path of the token count."""
    return _method(request, "countTokens")


def _method(request: ChatRequest, method: str) -> str:
    return f"/{_resource(in_path(request.model))}:{method}"


def _resource(model: str) -> str:
    """The model's resource name."""
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def write_request(request: ChatRequest, vendor: str = VENDOR) -> Object:
    """The body. Raises ``BadInput`` for call arguments that are no JSON object, and for results without a call."""
    native = request.wire == NAME
    system, contents = contents_of(request, vendor)
    body: Object = {"contents": contents}
    if system:
        body["systemInstruction"] = system
    if tools := _tools(request.tools, native=native):
        body["tools"] = tools
    if request.tool_choice is not None:
        body["toolConfig"] = {"functionCallingConfig": _choice(request.tool_choice)}
    if config := _config(request):
        body["generationConfig"] = config
    _write_plain(request, body)
    return with_extra(body, request.extra, native=native)


def write_count_request(request: ChatRequest, vendor: str = VENDOR) -> Object:
    """The body that asks for the token count of the request."""
    return {"generateContentRequest": {"model": _resource(request.model), **write_request(request, vendor)}}


def _tools(tools: list[Tool | HostedTool], *, native: bool) -> list[Object]:
    """Adjacent functions are declared together."""
    written: list[Object] = []
    for tool in tools:
        if isinstance(tool, HostedTool):
            if native:
                written.append(tool.spec)
        elif written and "functionDeclarations" in written[-1]:
            written[-1]["functionDeclarations"].append(_declared(tool, native=native))
        else:
            written.append({"functionDeclarations": [_declared(tool, native=native)]})
    return written


def _declared(tool: Tool, *, native: bool) -> Object:
    declared: Object = {"name": tool.name}
    if tool.description is not None:
        declared["description"] = tool.description
    if tool.parameters is not None:
        declared["parametersJsonSchema"] = tool.parameters
    return with_extra(declared, tool.extra, native=native)


def _choice(choice: ToolChoice) -> Object:
    mode = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}[choice.mode]
    return {"mode": mode, "allowedFunctionNames": [choice.name]} if choice.mode == "named" else {"mode": mode}


def _config(request: ChatRequest) -> Object:
    config: Object = {}
    if request.logprobs is not None:
        config["responseLogprobs"] = True
        if request.logprobs:
            config["logprobs"] = request.logprobs
    if request.format is not None:
        config |= _format(request.format)
    if request.reasoning is not None and (thinking := _thinking(request.reasoning, request.model)):
        config["thinkingConfig"] = thinking
    return config


def _format(form: Format) -> Object:
    if form.kind == "text":
        return {"responseMimeType": "text/plain"}
    shape: Object = {"responseMimeType": "application/json"}
    return shape if form.kind == "json" else {**shape, "responseJsonSchema": form.schema}


def _thinking(thinking: Thinking, model: str) -> dict[str, Any]:
    config: Object = {}
    if thinking.budget is not None:
        config["thinkingBudget"] = thinking.budget
    elif thinking.effort is not None:
        if _NO_LEVELS.search(model):
            config["thinkingBudget"] = BUDGETS[thinking.effort].gemini
        else:
            config["thinkingLevel"] = _LEVELS[thinking.effort]
    if thinking.summary is not None:
        config["includeThoughts"] = thinking.summary != "none"
    return config
