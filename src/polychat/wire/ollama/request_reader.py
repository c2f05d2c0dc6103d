"""Server side: a body as a ``ChatRequest``, read strictly. Both endpoints; each streams by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import BadInput
from ...types import ChatMessage, ChatRequest, Format, HostedTool, Part, TextPart, Thinking, Tool
from ..checks import flag, item, json_object, several, text, whole
from ..efforts import ORDER, effort_named
from ..extras import remaining
from ..limits import LIMITS, ReaderLimits
from ..plain import reader
from .constants import NAME, NO_PARAMETERS
from .message_reader import images_of, messages_of, text_of

_read_plain = reader(NAME)
_read_options = reader(NAME, "options")
Object = dict[str, Any]


def read_request(
    body: bytes, model: str | None = None, stream: bool | None = None, limits: ReaderLimits = LIMITS
) -> ChatRequest:
    """The request in a body of ``/api/chat``. Raises ``BadInput`` naming the field.

    A request without messages loads the model, or unloads it with ``keep_alive`` 0.
    """
    fields = json_object(body, limits)
    values = fields.pop("messages", None)
    messages = [] if values is None else messages_of(several(values, "messages"))
    request = ChatRequest(text(fields.pop("model", model), "model"), messages, wire=NAME)
    if (tools := fields.pop("tools", None)) is not None:
        request.tools = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(several(tools, "tools"))]
    return _settings(fields, request, stream)


def read_generate_request(
    body: bytes, model: str | None = None, stream: bool | None = None, limits: ReaderLimits = LIMITS
) -> ChatRequest:
    """The request in a body of ``/api/generate``, with its system text and its prompt as messages. Raises ``BadInput``.

    ``suffix``, ``template``, ``context`` and ``raw`` are in ``extra``. Without a prompt the request has no user message.
    """
    fields = json_object(body, limits)
    request = ChatRequest(text(fields.pop("model", model), "model"), [], wire=NAME)
    if system := text_of(fields, "system"):
        request.messages.append(ChatMessage("system", [TextPart(system)]))
    prompt = text_of(fields, "prompt")
    parts: list[Part] = [*images_of(fields.pop("images", None), "images")]
    parts += [TextPart(prompt)] if prompt else []
    if parts:
        request.messages.append(ChatMessage("user", parts))
    return _settings(fields, request, stream)


def _settings(fields: Object, request: ChatRequest, stream: bool | None) -> ChatRequest:
    streamed = fields.pop("stream", None)
    request.stream = stream is not False if streamed is None else flag(streamed, "stream")
    top = fields.pop("top_logprobs", None)
    if (logprobs := fields.pop("logprobs", None)) is not None and flag(logprobs, "logprobs"):
        request.logprobs = 0 if top is None else whole(top, "top_logprobs")
    request.format = _format(fields.pop("format", None))
    request.reasoning = _thinking(fields)
    options = fields.pop("options", None)
    if options is not None and (others := _options(item(options, "options"), request)):
        fields["options"] = others
    request.extra = _read_plain(fields, request)
    return request


def _options(options: Mapping[str, Any], request: ChatRequest) -> Object:
    """Sets the options that have a common name; returns the others."""
    others = _read_options(options, request, "options.")
    if (most := others.pop("num_predict", None)) is not None:
        most = whole(most, "options.num_predict")
        if most > 0:
            request.max_tokens = most
        else:
            others["num_predict"] = most  # -1 is unlimited, -2 up to the context: not a number of tokens
    return others


def _format(value: object) -> Format | None:
    if value is None or value == "":
        return None
    if value == "json":
        return Format("json")
    if isinstance(value, dict):
        return Format("schema", value)
    raise BadInput('format must be "json" or a JSON schema', field="format")


def _thinking(fields: Object) -> Thinking | None:
    """``think``; a level that only some models have stays in ``fields``."""
    match fields.pop("think", None):
        case None | "":
            return None
        case bool(is_on):
            return Thinking(budget=-1) if is_on else Thinking("none")
        case str(level):
            if level in ORDER:
                return Thinking(effort_named(level))
            fields["think"] = level
            return None
    raise BadInput("think must be true, false or a level such as low, medium or high", field="think")


def _tool(value: object, field: str) -> Tool | HostedTool:
    tool = dict(item(value, field))
    kind = text(tool.pop("type", "function"), f"{field}.type")
    if kind != "function":
        return HostedTool(kind, {"type": kind, **tool})
    function = dict(item(tool.pop("function", None), f"{field}.function"))
    name = text(function.pop("name", None), f"{field}.function.name")
    about = function.pop("description", None)
    schema = function.pop("parameters", None)
    if schema is not None:
        schema = dict(item(schema, f"{field}.function.parameters"))
    return Tool(
        name,
        None if about is None else text(about, f"{field}.function.description"),
        None if schema == NO_PARAMETERS else schema,
        extra=remaining(tool, "function", function),
    )
