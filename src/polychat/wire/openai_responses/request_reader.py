"""Server side: a body as a ``ChatRequest``."""

from __future__ import annotations

from ...types import ChatMessage, ChatRequest, Format, TextPart, Thinking, ToolChoice
from ..checks import bad, json_object, optional_count, optional_flag, optional_text, record, several, strings, text
from ..efforts import effort_named
from ..extras import rest
from ..limits import LIMITS, ReaderLimits
from ..plain import reader
from .constants import ENCRYPTED, LOGPROBS, NAME, Object
from .message_reader import ConversationReader
from .tool_names import distinguish, without_repeats
from .tools import named, read_tools

_STRUCTURED = (
    *("model", "input", "instructions", "tools", "tool_choice", "text", "top_logprobs", "include", "reasoning", "stream"),
)
"""Fields that the code below reads; the table has the plain ones."""
_read_plain = reader(NAME)
_read_text = reader(NAME, "text")
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""Fields that may refer to the conversation, so that there is no input."""


def read_request(
    body: bytes, model: str | None = None, stream: bool | None = None, limits: ReaderLimits = LIMITS
) -> ChatRequest:
    """The request. Raises only ``BadInput``, which names the field."""
    return _request(json_object(body, limits), model, stream)


def _request(body: Object, model: str | None, stream: bool | None) -> ChatRequest:
    name = model if model is not None else text(body.get("model"), "model")
    conversation = _conversation(body)
    request = ChatRequest(name, conversation.messages, wire=NAME)
    request.extra = {name: value for name, value in _read_plain(body, request).items() if name not in _STRUCTURED}
    request.tools = without_repeats([*read_tools(body.get("tools") or [], "tools"), *conversation.tools])
    _choice(request, body.get("tool_choice"))
    distinguish(request, body.get("tool_choice"))
    request.stream = stream if stream is not None else bool(optional_flag(body.get("stream"), "stream"))
    _text(request, body.get("text"))
    _thinking(request, body.get("reasoning"))
    _include(request, body)
    return request


def _conversation(body: Object) -> ConversationReader:
    inputs, instructions = body.get("input"), optional_text(body.get("instructions"), "instructions")
    conversation = ConversationReader()
    if instructions is not None:
        conversation.messages.append(ChatMessage("system", [TextPart(instructions)]))
    if isinstance(inputs, str):
        conversation.messages.append(ChatMessage("user", [TextPart(inputs)]))
    elif inputs is not None or all(body.get(name) is None for name in _ELSEWHERE):
        for at, item in enumerate(several(inputs, "input")):
            conversation.read(item, f"input[{at}]")
    return conversation


def _choice(request: ChatRequest, value: object) -> None:
    """Which tools may be called. Choices without a common name (allowed and hosted tools) are kept as an extra."""
    match value:
        case None:
            return
        case "auto" | "none" | "required":
            request.tool_choice = ToolChoice(value)
        case {"type": "function" | "custom", **chosen}:
            request.tool_choice = ToolChoice("named", named(record(chosen, "tool_choice"), "tool_choice"))
        case {"type": str()}:
            request.extra["tool_choice"] = value
        case _:
            raise bad("tool_choice", "auto, none, required, or an object with a type", value)


def _text(request: ChatRequest, value: object) -> None:
    if value is None:
        return
    others = _read_text(record(value, "text"), request, "text.")
    form = others.pop("format", None)
    if others:
        request.extra["text"] = others
    if form is None:
        return
    match record(form, "text.format").get("type"):
        case "text":
            request.format = Format("text")
        case "json_object":
            request.format = Format("json")
        case "json_schema":
            request.format = Format(
                "schema",
                record(form.get("schema"), "text.format.schema"),
                optional_text(form.get("name"), "text.format.name"),
                optional_text(form.get("description"), "text.format.description"),
                optional_flag(form.get("strict"), "text.format.strict"),
            )
        case kind:
            raise bad("text.format.type", "text, json_object or json_schema", kind)


def _thinking(request: ChatRequest, value: object) -> None:
    if value is None:
        return
    config = record(value, "reasoning")
    others = rest(config, ("effort", "summary")) or {}
    effort = optional_text(config.get("effort"), "reasoning.effort")
    summary = optional_text(config.get("summary"), "reasoning.summary")
    common = effort_named(effort)
    if effort is not None and effort != common:
        others["effort"] = effort  # "max", which has no common name
    if common is not None or summary is not None:
        request.reasoning = Thinking(common, summary=summary)
    if others:
        request.extra["reasoning"] = others


def _include(request: ChatRequest, body: Object) -> None:
    """``include`` as fields of ``ChatRequest`` if there are such; encrypted reasoning is implied if nothing is stored."""
    include = strings(body.get("include") or [], "include")
    most = optional_count(body.get("top_logprobs"), "top_logprobs")
    if LOGPROBS in include:
        request.logprobs = most or 0
    elif most:
        request.extra["top_logprobs"] = most
    implied = (LOGPROBS, ENCRYPTED) if request.store is False else (LOGPROBS,)
    if others := [name for name in include if name not in implied]:
        request.extra["include"] = others
