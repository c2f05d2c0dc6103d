"""Server side: a body as a ``ChatRequest``, read strictly."""

from __future__ import annotations

from typing import Any

from ...errors import BadInput
from ...types import ChatRequest, Effort, Format, HostedTool, Thinking, Tool, ToolChoice
from ..checks import flag, item, json_object, several, text, whole
from ..efforts import ORDER, effort_named
from ..extras import remaining, rest
from ..limits import LIMITS, ReaderLimits
from ..plain import reader
from ..usual_bodies import UsualRequest
from ..usual_requests import usual_reader
from .constants import NAME
from .message_reader import cache_of, read_messages

Object = dict[str, Any]

read_plain = reader(NAME)


class UsualChat(UsualRequest):
    """A usual request."""

    max_completion_tokens: Any = None


read_usual = usual_reader(UsualChat, NAME, read_plain)


def read_request(
    body: bytes, model: str | None = None, stream: bool | None = None, limits: ReaderLimits = LIMITS
) -> ChatRequest:
    """The request. Raises only ``BadInput``, which names the field."""
    if model is None and stream is None and (usual := read_usual(body, limits.depth)) is not None:
        return usual
    request = ChatRequest("", [], wire=NAME)
    fields = read_plain(json_object(body, limits), request)
    request.messages = read_messages(fields.pop("messages", None))
    return read_fields(fields, request, model, stream)


def read_fields(fields: Object, request: ChatRequest, model: str | None = None, stream: bool | None = None) -> ChatRequest:
    """``request`` with the values of the known ``fields``, which are removed; the remaining ones are those that only this wire
    has.
    """
    name = fields.pop("model", None)
    request.model = text(name if model is None else model, "model")
    if len(fields) > ("stream" in fields):
        _probabilities(fields, request)
        _tools(fields, request)
        _format(fields, request)
        _reasoning(fields, request)
    _streaming(fields, request, stream)
    request.extra = fields
    return request


def _probabilities(fields: Object, request: ChatRequest) -> None:
    top = whole(fields.pop("top_logprobs", 0), "top_logprobs")
    if flag(fields.pop("logprobs", False), "logprobs"):
        request.logprobs = top
    elif top:
        raise BadInput("top_logprobs requires logprobs: set it to true", field="top_logprobs")


def _tools(fields: Object, request: ChatRequest) -> None:
    if "tools" in fields:
        request.tools = read_tools(fields.pop("tools"), "tools")
    if "functions" in fields:  # the older name of tools
        request.tools += read_tools(fields.pop("functions"), "functions")
    match fields.get("tool_choice"):
        case {"type": "allowed_tools"}:
            return  # values that no other wire has are not changed
        case None:
            pass
        case choice:
            request.tool_choice = read_tool_choice(choice, "tool_choice")
            del fields["tool_choice"]
    match fields.pop("function_call", None):
        case None:
            pass
        case {"name": str(name)}:
            request.tool_choice = ToolChoice("named", name)
        case choice:
            request.tool_choice = read_tool_choice(choice, "function_call")


def read_tools(value: object, field: str) -> list[Tool | HostedTool]:
    """Tools in OpenAI's format, or bare functions ``{"name": …}``. Raises ``BadInput``."""
    return [_tool(entry, f"{field}[{place}]") for place, entry in enumerate(several(value, field))]


def _tool(value: object, field: str) -> Tool | HostedTool:
    if isinstance(value, (Tool, HostedTool)):
        return value
    fields = dict(item(value, field))
    kind = text(fields.pop("type", "function"), f"{field}.type")
    if "input_schema" in fields and "name" in fields and kind in ("function", "custom"):  # Anthropic's format
        kind = "function"
        fields.setdefault("parameters", fields.pop("input_schema"))
    if kind == "custom":
        return _custom(fields, field)
    if kind != "function":
        return HostedTool(kind, {"type": kind, **fields})
    path = field
    if "function" in fields or "name" not in fields:
        function, path = dict(item(fields.pop("function", None), f"{field}.function")), f"{field}.function"
    else:
        function, fields = fields, {}
    name, about, schema, strict = (function.pop(key, None) for key in ("name", "description", "parameters", "strict"))
    return Tool(
        text(name, f"{path}.name"),
        None if about is None else text(about, f"{path}.description"),
        None if schema is None else dict(item(schema, f"{path}.parameters")),
        None if strict is None else flag(strict, f"{path}.strict"),
        cache_of(fields),
        remaining(fields, "function", function),
    )


def _custom(fields: Object, field: str) -> Tool:
    """A free-text tool, also in the flat format of the Responses API."""
    path = f"{field}.custom" if "custom" in fields else field
    custom, fields = (dict(item(fields.pop("custom"), path)), fields) if "custom" in fields else (fields, {})
    name, about, form = (custom.pop(key, None) for key in ("name", "description", "format"))
    match form:
        case {"type": "grammar", "grammar": dict(grammar)}:
            form = {"type": "grammar", **grammar}
    return Tool(
        text(name, f"{path}.name"),
        None if about is None else text(about, f"{path}.description"),
        extra=remaining(fields, "custom", custom),
        kind="custom",
        format=None if form is None else dict(item(form, f"{path}.format")),
    )


def read_tool_choice(value: object, field: str) -> ToolChoice:
    """A mode, or one tool by name. Raises ``BadInput``."""
    match value:
        case ToolChoice():
            return value
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case "any":  # Mistral's value
            return ToolChoice("required")
        case {"type": "function", "function": {"name": str(name)}} | {"type": "custom", "custom": {"name": str(name)}}:
            return ToolChoice("named", name)
    raise BadInput(
        f'{field} must be "auto", "none", "required" or {{"type": "function", "function": {{"name": …}}}}', field=field
    )


def _format(fields: Object, request: ChatRequest) -> None:
    if "response_format" not in fields:
        return
    value = fields.pop("response_format")
    request.format = read_format(value, "response_format")
    schema = value.get("json_schema")
    further = rest(schema, ("name", "description", "schema", "strict")) if isinstance(schema, dict) else None
    if (extra := remaining(rest(value, ("type", "json_schema")) or {}, "json_schema", further)) is not None:
        fields["response_format"] = extra


def read_format(value: object, field: str) -> Format:
    """``text``, ``json_object`` or ``json_schema``. Raises ``BadInput``."""
    match value:
        case {"type": "text"}:
            return Format("text")
        case {"type": "json_object"}:
            return Format("json")
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)} as fields}:
            path = f"{field}.json_schema"
            name, about, strict = fields.get("name"), fields.get("description"), fields.get("strict")
            return Format(
                "schema",
                schema,
                None if name is None else text(name, f"{path}.name"),
                None if about is None else text(about, f"{path}.description"),
                None if strict is None else flag(strict, f"{path}.strict"),
            )
    raise BadInput(f"{field} must be of type text, json_object, or json_schema with a json_schema.schema", field=field)


def _reasoning(fields: Object, request: ChatRequest) -> None:
    effort = fields.pop("reasoning_effort", None)
    if effort is not None:
        request.reasoning = Thinking(effort=_effort(effort, "reasoning_effort", fields))
    _thinking(fields, request)
    if "reasoning" not in fields:
        return
    # OpenRouter's object, which is forwarded unchanged on this wire.
    settings = item(fields["reasoning"], "reasoning")
    effort, budget, hidden = settings.get("effort"), settings.get("max_tokens"), settings.get("exclude")
    thinking = Thinking(
        None if effort is None else _effort(effort, "reasoning.effort", {}),
        None if budget is None else whole(budget, "reasoning.max_tokens"),
        "none" if hidden is not None and flag(hidden, "reasoning.exclude") else None,
    )
    if effort is budget is None and "enabled" in settings:
        thinking.effort = "medium" if flag(settings["enabled"], "reasoning.enabled") else "none"
    request.reasoning = None if thinking == Thinking() else thinking


def _thinking(fields: Object, request: ChatRequest) -> None:
    """Anthropic's object, which DeepSeek, Z.ai and others accept too, and which is forwarded unchanged on this wire."""
    match fields.get("thinking"):
        case {"type": "enabled" | "adaptive" as kind, **more}:
            budget = more.get("budget_tokens") if kind == "enabled" else None
            if request.reasoning is None:
                request.reasoning = Thinking(budget=-1 if budget is None else whole(budget, "thinking.budget_tokens"))
        case {"type": "disabled"} if request.reasoning is None:
            request.reasoning = Thinking("none")


def _effort(value: object, field: str, fields: Object) -> Effort:
    """One of the common efforts; ``max``, which OpenAI has above them, is read as the highest and left in ``fields``."""
    if (effort := effort_named(value)) is None:
        raise BadInput(f"{field} must be one of {', '.join(ORDER)} or max", field=field)
    if effort != value:
        fields["reasoning_effort"] = value
    return effort


def _streaming(fields: Object, request: ChatRequest, stream: bool | None) -> None:
    is_stream = flag(fields.pop("stream", False), "stream")
    request.stream = is_stream if stream is None else stream
    if "stream_options" not in fields:
        return
    options = dict(item(fields.pop("stream_options"), "stream_options"))
    usage = options.pop("include_usage", None)
    request.stream_usage = None if usage is None else flag(usage, "stream_options.include_usage")
    if options:
        fields["stream_options"] = options
