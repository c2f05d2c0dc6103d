"""The half that answers: a request's body as the ask it is, strictly."""

from __future__ import annotations

from typing import Any

from ...errors import BadInput
from ...types import ChatRequest, Effort, Format, HostedTool, Thinking, Tool, ToolChoice
from ..checks import flag, item, json_object, several, text, whole
from ..efforts import ORDER, effort_named
from ..extras import remaining, rest
from ..limits import LIMITS, Limits
from ..plain import reader
from .constants import NAME
from .message_reader import cache_of, read_messages

Said = dict[str, Any]

read_plain = reader(NAME)


def read_request(body: bytes, model: str | None = None, stream: bool | None = None, limits: Limits = LIMITS) -> ChatRequest:
    """The ask. Raises ``BadInput`` naming the field, and nothing else."""
    request = ChatRequest("", [], wire=NAME)
    said = read_plain(json_object(body, limits), request)
    request.turns = read_messages(said.pop("messages", None))
    return read_fields(said, request, model, stream)


def read_fields(said: Said, request: ChatRequest, model: str | None = None, stream: bool | None = None) -> ChatRequest:
    """``request`` with what is read here of ``said``, which loses it; what nothing reads is what this wire alone knows."""
    name = said.pop("model", None)
    request.model = text(name if model is None else model, "model")
    _probabilities(said, request)
    _tools(said, request)
    _format(said, request)
    _reasoning(said, request)
    _streaming(said, request, stream)
    request.extra = said
    return request


def _probabilities(said: Said, request: ChatRequest) -> None:
    top = whole(said.pop("top_logprobs", 0), "top_logprobs")
    if flag(said.pop("logprobs", False), "logprobs"):
        request.logprobs = top
    elif top:
        raise BadInput("top_logprobs needs logprobs to be true", field="top_logprobs")


def _tools(said: Said, request: ChatRequest) -> None:
    if "tools" in said:
        request.tools = read_tools(said.pop("tools"), "tools")
    if "functions" in said:  # as tools were called before
        request.tools += read_tools(said.pop("functions"), "functions")
    match said.get("tool_choice"):
        case {"type": "allowed_tools"}:
            return  # what no other wire knows stays as it is
        case None:
            pass
        case choice:
            request.tool_choice = read_tool_choice(choice, "tool_choice")
            del said["tool_choice"]
    match said.pop("function_call", None):
        case None:
            pass
        case {"name": str(name)}:
            request.tool_choice = ToolChoice("named", name)
        case choice:
            request.tool_choice = read_tool_choice(choice, "function_call")


def read_tools(value: object, field: str) -> list[Tool | HostedTool]:
    """Tools of OpenAI's shape, or bare functions ``{"name": …}``. Raises ``BadInput``."""
    return [_tool(one, f"{field}[{place}]") for place, one in enumerate(several(value, field))]


def _tool(value: object, field: str) -> Tool | HostedTool:
    if isinstance(value, (Tool, HostedTool)):
        return value
    said = dict(item(value, field))
    kind = text(said.pop("type", "function"), f"{field}.type")
    if "input_schema" in said and "name" in said and kind in ("function", "custom"):  # Anthropic's shape, which some send here
        kind = "function"
        said.setdefault("parameters", said.pop("input_schema"))
    if kind == "custom":
        return _custom(said, field)
    if kind != "function":
        return HostedTool(kind, {"type": kind, **said})
    where = field
    if "function" in said or "name" not in said:
        function, where = dict(item(said.pop("function", None), f"{field}.function")), f"{field}.function"
    else:
        function, said = said, {}
    name, about, schema, strict = (function.pop(key, None) for key in ("name", "description", "parameters", "strict"))
    return Tool(
        text(name, f"{where}.name"),
        None if about is None else text(about, f"{where}.description"),
        None if schema is None else dict(item(schema, f"{where}.parameters")),
        None if strict is None else flag(strict, f"{where}.strict"),
        cache_of(said),
        remaining(said, "function", function),
    )


def _custom(said: Said, field: str) -> Tool:
    """A tool of free text, also in the flat shape of the Responses API."""
    where = f"{field}.custom" if "custom" in said else field
    custom, said = (dict(item(said.pop("custom"), where)), said) if "custom" in said else (said, {})
    name, about, form = (custom.pop(key, None) for key in ("name", "description", "format"))
    match form:
        case {"type": "grammar", "grammar": dict(grammar)}:
            form = {"type": "grammar", **grammar}
    return Tool(
        text(name, f"{where}.name"),
        None if about is None else text(about, f"{where}.description"),
        extra=remaining(said, "custom", custom),
        kind="custom",
        format=None if form is None else dict(item(form, f"{where}.format")),
    )


def read_tool_choice(value: object, field: str) -> ToolChoice:
    """A mode, or one tool by name. Raises ``BadInput``."""
    match value:
        case ToolChoice():
            return value
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case "any":  # Mistral's word
            return ToolChoice("required")
        case {"type": "function", "function": {"name": str(name)}} | {"type": "custom", "custom": {"name": str(name)}}:
            return ToolChoice("named", name)
    raise BadInput(
        f'{field} must be "auto", "none", "required" or {{"type": "function", "function": {{"name": …}}}}', field=field
    )


def _format(said: Said, request: ChatRequest) -> None:
    if "response_format" not in said:
        return
    value = said.pop("response_format")
    request.format = read_format(value, "response_format")
    schema = value.get("json_schema")
    known = rest(schema, ("name", "description", "schema", "strict")) if isinstance(schema, dict) else None
    if (extra := remaining(rest(value, ("type", "json_schema")) or {}, "json_schema", known)) is not None:
        said["response_format"] = extra


def read_format(value: object, field: str) -> Format:
    """``text``, ``json_object`` or ``json_schema``. Raises ``BadInput``."""
    match value:
        case {"type": "text"}:
            return Format("text")
        case {"type": "json_object"}:
            return Format("json")
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)} as said}:
            where = f"{field}.json_schema"
            name, about, strict = said.get("name"), said.get("description"), said.get("strict")
            return Format(
                "schema",
                schema,
                None if name is None else text(name, f"{where}.name"),
                None if about is None else text(about, f"{where}.description"),
                None if strict is None else flag(strict, f"{where}.strict"),
            )
    raise BadInput(f"{field} must be of type text, json_object, or json_schema with a json_schema.schema", field=field)


def _reasoning(said: Said, request: ChatRequest) -> None:
    effort = said.pop("reasoning_effort", None)
    if effort is not None:
        request.reasoning = Thinking(effort=_effort(effort, "reasoning_effort", said))
    _thinking(said, request)
    if "reasoning" not in said:
        return
    # OpenRouter's object. It goes on as it came, where that is on this wire.
    wanted = item(said["reasoning"], "reasoning")
    effort, budget, hidden = wanted.get("effort"), wanted.get("max_tokens"), wanted.get("exclude")
    thinking = Thinking(
        None if effort is None else _effort(effort, "reasoning.effort", {}),
        None if budget is None else whole(budget, "reasoning.max_tokens"),
        "none" if hidden is not None and flag(hidden, "reasoning.exclude") else None,
    )
    if effort is budget is None and "enabled" in wanted:
        thinking.effort = "medium" if flag(wanted["enabled"], "reasoning.enabled") else "none"
    request.reasoning = None if thinking == Thinking() else thinking


def _thinking(said: Said, request: ChatRequest) -> None:
    """Anthropic's object, which DeepSeek, Z.ai and others take too. It goes on as it came, where that is on this wire."""
    match said.get("thinking"):
        case {"type": "enabled" | "adaptive" as kind, **more}:
            budget = more.get("budget_tokens") if kind == "enabled" else None
            if request.reasoning is None:
                request.reasoning = Thinking(budget=-1 if budget is None else whole(budget, "thinking.budget_tokens"))
        case {"type": "disabled"} if request.reasoning is None:
            request.reasoning = Thinking("none")


def _effort(value: object, field: str, said: Said) -> Effort:
    """One of the common words; ``max``, which OpenAI has above them, is told as the highest and left in ``said``."""
    if (effort := effort_named(value)) is None:
        raise BadInput(f"{field} must be one of {', '.join(ORDER)} or max", field=field)
    if effort != value:
        said["reasoning_effort"] = value
    return effort


def _streaming(said: Said, request: ChatRequest, stream: bool | None) -> None:
    asked = flag(said.pop("stream", False), "stream")
    request.stream = asked if stream is None else stream
    if "stream_options" not in said:
        return
    options = dict(item(said.pop("stream_options"), "stream_options"))
    usage = options.pop("include_usage", None)
    request.stream_usage = None if usage is None else flag(usage, "stream_options.include_usage")
    if options:
        said["stream_options"] = options
