"""Server side: a request's body and path as a ``ChatRequest``."""

from __future__ import annotations

from typing import Any, cast

from ...errors import BadInput, redact
from ...types import ChatRequest, Format, HostedTool, Thinking, Tool, ToolChoice
from ..checks import flag, item, json_object, several, text, whole
from ..efforts import ORDER, effort_named
from ..extras import remaining
from ..limits import LIMITS, ReaderLimits
from ..plain import reader
from .constants import NAME, Object, camel, fields, repeated
from .message_reader import turns_of
from .schema import json_schema

_read_plain = reader(NAME, spelled=camel)
_read_config = reader(NAME, "generationConfig", spelled=camel)
_LEVELS = ORDER[1:]
_MODES = {"auto": "auto", "validated": "auto", "any": "required", "none": "none"}


def read_request(
    body: bytes, model: str | None = None, stream: bool | None = None, limits: ReaderLimits = LIMITS
) -> ChatRequest:
    """The request. ``model`` and ``stream`` are from the path. Raises ``BadInput`` naming the field."""
    return _request(json_object(body, limits), model, "", stream=bool(stream))


def read_count_request(body: bytes, model: str | None = None, limits: ReaderLimits = LIMITS) -> ChatRequest:
    """The request whose tokens to count: contents only, or a whole request. Raises ``BadInput``."""
    value = fields(json_object(body, limits), "body")
    if "generateContentRequest" in value:
        return _request(value["generateContentRequest"], model, "generateContentRequest", stream=False)
    return _request(value, model, "", stream=False)


def _request(value: object, model: str | None, path: str, *, stream: bool) -> ChatRequest:
    request = ChatRequest("", [], wire=NAME, stream=stream, stream_usage=True if stream else None)
    before = path and f"{path}."
    body = _read_plain(item(value, path or "body"), request, before)
    named = body.pop("model", None)
    request.model = _model(named if model is None else model, f"{before}model")
    request.messages = turns_of(body.pop("systemInstruction", None), body.pop("contents", None), before)
    if "tools" in body:
        request.tools = _tools(body.pop("tools"), f"{before}tools")
    if "toolConfig" in body:
        _choose(request, body, f"{before}toolConfig")
    if "generationConfig" in body:
        _configure(request, body, f"{before}generationConfig")
    request.extra = body
    return request


def _model(named: object, path: str) -> str:
    name = text(named, path).removeprefix("models/")
    if not name:
        raise BadInput(f"{path} is empty; name the model in the path: /models/NAME:generateContent", field=path)
    return name


def _tools(value: object, path: str) -> list[Tool | HostedTool]:
    tools: list[Tool | HostedTool] = []
    for place, tool in enumerate(several(repeated(value), path)):
        for name, spec in fields(tool, f"{path}[{place}]").items():
            if name == "functionDeclarations":
                here = f"{path}[{place}].functionDeclarations"
                tools += [_tool(declared, f"{here}[{number}]") for number, declared in enumerate(several(repeated(spec), here))]
            else:
                tools.append(HostedTool(name, {name: spec}))
    return tools


def _tool(value: object, path: str) -> Tool:
    declared = fields(value, path)
    tool = Tool(text(declared.pop("name", None), f"{path}.name"))
    if "description" in declared:
        tool.description = text(declared.pop("description"), f"{path}.description")
    if "parametersJsonSchema" in declared:
        tool.parameters = dict(item(declared.pop("parametersJsonSchema"), f"{path}.parametersJsonSchema"))
    elif "parameters" in declared:
        tool.parameters = json_schema(dict(item(declared.pop("parameters"), f"{path}.parameters")))
    tool.extra = remaining(declared)
    return tool


def _choose(request: ChatRequest, body: Object, path: str) -> None:
    config, calling = fields(body.pop("toolConfig"), path), None
    if "functionCallingConfig" in config:
        path = f"{path}.functionCallingConfig"
        calling = fields(config.pop("functionCallingConfig"), path)
        request.tool_choice = _choice(calling, path)
    if (extra := remaining(config, "functionCallingConfig", calling)) is not None:
        body["toolConfig"] = extra


def _choice(config: Object, path: str) -> ToolChoice | None:
    """The tool choice; fields without a common name stay in ``config``."""
    mode_name = text(config.pop("mode", "MODE_UNSPECIFIED"), f"{path}.mode")
    if mode_name == "MODE_UNSPECIFIED":
        return None
    mode = _MODES.get(mode_name.lower())
    if mode is None:
        raise BadInput(f"{path}.mode is {redact(mode_name)!r}; it must be AUTO, ANY, NONE or VALIDATED", field=f"{path}.mode")
    if mode_name.lower() == "validated":
        config["mode"] = "VALIDATED"
    names = several(config.get("allowedFunctionNames", []), f"{path}.allowedFunctionNames")
    if mode == "required" and len(names) == 1:
        del config["allowedFunctionNames"]
        return ToolChoice("named", text(names[0], f"{path}.allowedFunctionNames[0]"))
    return ToolChoice(cast(Any, mode))


def _configure(request: ChatRequest, body: Object, path: str) -> None:
    config, thinking = _read_config(item(body.pop("generationConfig"), path), request, f"{path}."), None
    request.logprobs = _logprobs(config, path)
    request.format = _format(config, path)
    if "thinkingConfig" in config:
        thinking = fields(config.pop("thinkingConfig"), f"{path}.thinkingConfig")
        request.reasoning = _thinking(thinking, f"{path}.thinkingConfig")
    if (extra := remaining(config, "thinkingConfig", thinking)) is not None:
        body["generationConfig"] = extra


def _logprobs(config: Object, path: str) -> int | None:
    if not flag(config.get("responseLogprobs", False), f"{path}.responseLogprobs"):
        return None
    del config["responseLogprobs"]
    return whole(config.pop("logprobs", 0), f"{path}.logprobs")


def _format(config: Object, path: str) -> Format | None:
    kind = text(config.get("responseMimeType", ""), f"{path}.responseMimeType")
    if kind not in ("", "text/plain", "application/json"):
        return None  # such as text/x.enum, which only this wire has
    config.pop("responseMimeType", None)
    if "responseJsonSchema" in config:
        return Format("schema", dict(item(config.pop("responseJsonSchema"), f"{path}.responseJsonSchema")))
    if "responseSchema" in config:
        return Format("schema", json_schema(dict(item(config.pop("responseSchema"), f"{path}.responseSchema"))))
    return Format("json" if kind == "application/json" else "text") if kind else None


def _thinking(config: Object, path: str) -> Thinking | None:
    """The thinking settings; fields without a common name stay in ``config``."""
    thinking = Thinking()
    if "includeThoughts" in config:
        thinking.summary = "auto" if flag(config.pop("includeThoughts"), f"{path}.includeThoughts") else "none"
    if "thinkingBudget" in config:
        thinking.budget = whole(config.pop("thinkingBudget"), f"{path}.thinkingBudget")
    if "thinkingLevel" in config:
        level = text(config.pop("thinkingLevel"), f"{path}.thinkingLevel").lower()
        if level in _LEVELS:
            thinking.effort = effort_named(level)
        elif level != "thinking_level_unspecified":
            raise BadInput(
                f"{path}.thinkingLevel is {redact(level)!r}; it must be one of {', '.join(_LEVELS)}",
                field=f"{path}.thinkingLevel",
            )
    return None if thinking == Thinking() else thinking
