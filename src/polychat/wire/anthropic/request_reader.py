"""Server side: a request body as a ``ChatRequest``."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

from ...types import ChatMessage, ChatRequest, Format, HostedTool, TextPart, Thinking, Tool, ToolChoice
from ..checks import bad, json_object, optional_count, optional_flag, optional_text, record, several, text
from ..efforts import effort_named
from ..extras import rest
from ..limits import LIMITS, ReaderLimits
from ..losses import BILLING
from ..plain import reader
from ..usual_bodies import UsualRequest
from ..usual_requests import usual_reader
from .caching import cache_of
from .constants import NAME
from .message_reader import ConversationReader, texts

_MODES = {"auto": "auto", "any": "required", "none": "none", "tool": "named"}
_STRUCTURED = ("model", "messages", "system", "tools", "tool_choice", "stream", "metadata", "thinking", "output_config")
"""Fields that the code below reads; the table has the plain ones."""
_SELDOM = frozenset(_STRUCTURED) - {"model", "messages", "stream"}
_USUAL_ROLES = ("user", "assistant", "system")
_read_plain = reader(NAME)


class UsualMessages(UsualRequest):
    """A usual request."""

    top_k: Any = None


read_usual = usual_reader(UsualMessages, NAME, _read_plain)
_LONGEST_USER = 64
"""Maximum characters of a user id at other vendors; a longer one is replaced by its hash."""
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def read_request(
    body: bytes, model: str | None = None, stream: bool | None = None, limits: ReaderLimits = LIMITS
) -> ChatRequest:
    """The request. Raises only ``BadInput``, which names the field. ``max_tokens`` may be missing, as when counting tokens."""
    if model is None and stream is None and (usual := read_usual(body, limits.depth)) is not None:
        return usual
    return _request(json_object(body, limits), model, stream)


def read_count_request(body: bytes, model: str | None = None, limits: ReaderLimits = LIMITS) -> ChatRequest:
    """The request whose tokens to count. Raises as ``read_request`` does."""
    return read_request(body, model, False, limits)


def _request(body: dict[str, Any], model: str | None, stream: bool | None) -> ChatRequest:
    name = model if model is not None else text(body.get("model"), "model")
    request = ChatRequest(name, _messages(body), wire=NAME)
    request.extra = {name: value for name, value in _read_plain(body, request).items() if name not in _STRUCTURED}
    request.stream = stream if stream is not None else bool(optional_flag(body.get("stream"), "stream"))
    if not _SELDOM.isdisjoint(body):
        _bill(request, body.get("system"))
        request.tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(several(body.get("tools") or [], "tools"))]
        _choice(request, body.get("tool_choice"))
        _metadata(request, body.get("metadata"))
        _output(request, body.get("output_config"))
        _thinking(request, body.get("thinking"))
    return request


def _messages(body: dict[str, Any]) -> list[ChatMessage]:
    system = body.get("system")
    blocks = [] if system is None else texts(system, "system")
    messages = [ChatMessage("system", list[Any](blocks))] if blocks else []
    conversation = ConversationReader()
    for at, message in enumerate(several(body.get("messages"), "messages")):
        if type(message) is dict and len(message) == 2:
            role, content = message.get("role"), message.get("content")
            if content and type(content) is str and role in _USUAL_ROLES:
                messages.append(ChatMessage(role, [TextPart(content)]))
                continue
        messages += conversation.messages(record(message, f"messages[{at}]"), f"messages[{at}]")
    return messages


def _bill(request: ChatRequest, system: object) -> None:
    """Claude Code's first system text is for its vendor's billing: other vendors must not read it as an instruction."""
    if not request.messages or request.messages[0].role != "system":
        return
    parts = request.messages[0].parts
    others = [_unbilled(part) for part in parts]
    if others != parts:
        others = [part for part in others if not (isinstance(part, TextPart) and not part.text)]
        request.extra["system"] = system  # kept unchanged on this wire
        request.messages[0].parts = others
        if not others:
            del request.messages[0]


def _unbilled(part: Any) -> Any:
    """The text without the billing line; some programs join the following texts to it."""
    if not isinstance(part, TextPart) or not part.text.startswith(BILLING):
        return part
    return replace(part, text=part.text.partition("\n")[2].lstrip("\n"))


def _tool(value: object, path: str) -> Tool | HostedTool:
    tool = record(value, path)
    kind = optional_text(tool.get("type"), f"{path}.type")
    if kind not in (None, "custom"):
        return HostedTool(str(kind), tool)
    schema = tool.get("input_schema")
    return Tool(
        text(tool.get("name"), f"{path}.name"),
        optional_text(tool.get("description"), f"{path}.description"),
        None if schema is None or schema == {"type": "object"} else record(schema, f"{path}.input_schema"),
        optional_flag(tool.get("strict"), f"{path}.strict"),
        *cache_of(tool, ("name", "type", "description", "input_schema", "strict"), path),
    )


def _choice(request: ChatRequest, value: object) -> None:
    if value is None:
        return
    choice = record(value, "tool_choice")
    kind = choice.get("type")
    disabled = optional_flag(choice.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use")
    request.parallel_tool_calls = None if disabled is None else not disabled
    match kind:
        case "auto" | "none":
            request.tool_choice = ToolChoice(kind)
        case "any":
            request.tool_choice = ToolChoice("required")
        case "tool":
            request.tool_choice = ToolChoice("named", text(choice.get("name"), "tool_choice.name"))
        case _:
            raise bad("tool_choice.type", f"one of {', '.join(_MODES)}", kind)


def _metadata(request: ChatRequest, value: object) -> None:
    if value is None:
        return
    metadata = record(value, "metadata")
    request.user = optional_text(metadata.get("user_id"), "metadata.user_id")
    others = rest(metadata, ("user_id",)) or {}
    if request.user is not None and len(request.user) > _LONGEST_USER:
        others["user_id"] = request.user  # kept unchanged on this wire
        request.user = sha256(request.user.encode("utf-8", "replace")).hexdigest()
    if others:
        request.extra["metadata"] = others


def _output(request: ChatRequest, value: object) -> None:
    if value is None:
        return
    config = record(value, "output_config")
    others = rest(config, ("effort", "format")) or {}
    effort = optional_text(config.get("effort"), "output_config.effort")
    common = effort_named(effort) if effort in _EFFORTS else None
    if common is not None:
        request.reasoning = Thinking(common)
    if effort != common:
        others["effort"] = effort  # "max", which has no common name
    if (form := config.get("format")) is not None:
        match record(form, "output_config.format"):
            case {"type": "json_schema", "schema": dict(schema)}:
                request.format = Format("schema", schema)
            case {"type": "json_schema"}:
                raise bad("output_config.format.schema", "a JSON schema", None)
            case {**unknown}:
                raise bad("output_config.format.type", "json_schema", unknown.get("type"))
    if others:
        request.extra["output_config"] = others


def _thinking(request: ChatRequest, value: object) -> None:
    """Adaptive thinking with an effort is that effort; an effort without thinking is marked by an extra."""
    if value is None:
        if request.reasoning is not None:
            request.extra["thinking"] = None
        return
    thinking = record(value, "thinking")
    display = optional_text(thinking.get("display"), "thinking.display")
    reasoning = request.reasoning or Thinking()
    match thinking.get("type"):
        case "enabled":
            reasoning.budget = optional_count(thinking.get("budget_tokens"), "thinking.budget_tokens")
            if reasoning.budget is None:
                reasoning.budget = None if reasoning.effort else -1  # some clients omit it: the model decides
            elif not reasoning.budget:
                raise bad("thinking.budget_tokens", "a number of tokens, 1,024 or more", thinking.get("budget_tokens"))
        case "adaptive":
            reasoning.budget = None if reasoning.effort else -1
        case "disabled":
            reasoning.budget = 0
        case str():
            request.extra["thinking"] = thinking
            return
        case kind:
            raise bad("thinking.type", "enabled, adaptive or disabled", kind)
    reasoning.summary = None if display is None else "none" if display == "omitted" else "auto"
    if (others := rest(thinking, ("type", "budget_tokens", "display"))) is not None:
        request.extra["thinking"] = others
    request.reasoning = reasoning
