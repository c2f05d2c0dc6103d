"""The half that answers: the body of a request as the ask it is."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ...errors import BadInput, shown
from ...types import Ask, Effort, Format, HostedTool, TextPart, Thinking, Tool, ToolChoice, Turn
from .._json import TooDeep, decoded
from ..checks import bad, optional_count, optional_flag, optional_text, record, rest, several, text
from ..limits import LIMITS, Limits
from ..plain import reader
from .caching import cache_of
from .content import Conversation, texts
from .words import NAME

_MODES = {"auto": "auto", "any": "required", "none": "none", "tool": "named"}
_STRUCTURED = ("model", "messages", "system", "tools", "tool_choice", "stream", "metadata", "thinking", "output_config")
"""Fields that are read by the code below; the table has the plain ones."""
_read_plain = reader(NAME)
_LONGEST_USER = 64
"""Letters of a user's name that other vendors take; a longer one is told as its hash."""
_BILLING = "x-anthropic-billing-header"
_EFFORTS: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}


def read_request(body: bytes, model: str | None = None, stream: bool | None = None, limits: Limits = LIMITS) -> Ask:
    """The ask. Raises ``BadInput`` naming the field, and nothing else. ``max_tokens`` may be missing, as when counting."""
    try:
        value = decoded(body, limits.depth)
    except TooDeep as error:
        raise BadInput(f"the body is {error}", field="body") from error
    except ValueError as error:
        raise BadInput(f"the body is not JSON: {shown(str(error))}", field="body") from error
    return _ask(record(value, "body"), model, stream)


def read_count_request(body: bytes, model: str | None = None, limits: Limits = LIMITS) -> Ask:
    """The ask whose tokens are to be counted. Raises as ``read_request`` does."""
    return read_request(body, model, False, limits)


def _ask(body: dict[str, Any], model: str | None, stream: bool | None) -> Ask:
    name = model if model is not None else text(body.get("model"), "model")
    ask = Ask(name, _turns(body), wire=NAME)
    ask.extra = {name: value for name, value in _read_plain(body, ask).items() if name not in _STRUCTURED}
    _bill(ask, body.get("system"))
    ask.tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(several(body.get("tools") or [], "tools"))]
    _choice(ask, body.get("tool_choice"))
    ask.stream = stream if stream is not None else bool(optional_flag(body.get("stream"), "stream"))
    _metadata(ask, body.get("metadata"))
    _output(ask, body.get("output_config"))
    _thinking(ask, body.get("thinking"))
    return ask


def _turns(body: dict[str, Any]) -> list[Turn]:
    system = body.get("system")
    blocks = [] if system is None else texts(system, "system")
    turns = [Turn("system", list[Any](blocks))] if blocks else []
    conversation = Conversation()
    for at, message in enumerate(several(body.get("messages"), "messages")):
        turns += conversation.turns(record(message, f"messages[{at}]"), f"messages[{at}]")
    return turns


def _bill(ask: Ask, system: object) -> None:
    """Claude Code begins the system's texts with one for its vendor's billing: others are not to read it as instructions."""
    if not ask.turns or ask.turns[0].role != "system":
        return
    parts = ask.turns[0].parts
    others = [part for part in parts if not (isinstance(part, TextPart) and part.text.startswith(_BILLING))]
    if len(others) < len(parts):
        ask.extra["system"] = system  # on this wire it goes on as it is
        ask.turns[0].parts = others
        if not others:
            del ask.turns[0]


def _tool(value: object, where: str) -> Tool | HostedTool:
    tool = record(value, where)
    kind = optional_text(tool.get("type"), f"{where}.type")
    if kind not in (None, "custom"):
        return HostedTool(str(kind), tool)
    schema = tool.get("input_schema")
    return Tool(
        text(tool.get("name"), f"{where}.name"),
        optional_text(tool.get("description"), f"{where}.description"),
        None if schema is None or schema == {"type": "object"} else record(schema, f"{where}.input_schema"),
        optional_flag(tool.get("strict"), f"{where}.strict"),
        *cache_of(tool, ("name", "type", "description", "input_schema", "strict"), where),
    )


def _choice(ask: Ask, value: object) -> None:
    if value is None:
        return
    choice = record(value, "tool_choice")
    kind = choice.get("type")
    disabled = optional_flag(choice.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use")
    ask.parallel_tool_calls = None if disabled is None else not disabled
    match kind:
        case "auto" | "none":
            ask.tool_choice = ToolChoice(kind)
        case "any":
            ask.tool_choice = ToolChoice("required")
        case "tool":
            ask.tool_choice = ToolChoice("named", text(choice.get("name"), "tool_choice.name"))
        case _:
            raise bad("tool_choice.type", f"one of {', '.join(_MODES)}", kind)


def _metadata(ask: Ask, value: object) -> None:
    if value is None:
        return
    metadata = record(value, "metadata")
    ask.user = optional_text(metadata.get("user_id"), "metadata.user_id")
    others = rest(metadata, ("user_id",)) or {}
    if ask.user is not None and len(ask.user) > _LONGEST_USER:
        others["user_id"] = ask.user  # on this wire it goes on as it is
        ask.user = sha256(ask.user.encode("utf-8", "replace")).hexdigest()
    if others:
        ask.extra["metadata"] = others


def _output(ask: Ask, value: object) -> None:
    if value is None:
        return
    config = record(value, "output_config")
    others = rest(config, ("effort", "format")) or {}
    effort = optional_text(config.get("effort"), "output_config.effort")
    if effort in _EFFORTS:
        ask.reasoning = Thinking(_EFFORTS[effort])
    if effort is not None and effort != _EFFORTS.get(effort):
        others["effort"] = effort  # "max", which has no common word
    if (form := config.get("format")) is not None:
        match record(form, "output_config.format"):
            case {"type": "json_schema", "schema": dict(schema)}:
                ask.format = Format("schema", schema)
            case {"type": "json_schema"}:
                raise bad("output_config.format.schema", "a JSON schema", None)
            case {**unknown}:
                raise bad("output_config.format.type", "json_schema", unknown.get("type"))
    if others:
        ask.extra["output_config"] = others


def _thinking(ask: Ask, value: object) -> None:
    """Adaptive thinking with an effort is that effort; an effort without thinking is kept apart by an extra that says so."""
    if value is None:
        if ask.reasoning is not None:
            ask.extra["thinking"] = None
        return
    thinking = record(value, "thinking")
    display = optional_text(thinking.get("display"), "thinking.display")
    wanted = ask.reasoning or Thinking()
    match thinking.get("type"):
        case "enabled":
            wanted.budget = optional_count(thinking.get("budget_tokens"), "thinking.budget_tokens")
            if wanted.budget is None:
                wanted.budget = None if wanted.effort else -1  # some clients leave it out: as the model likes
            elif not wanted.budget:
                raise bad("thinking.budget_tokens", "a number of tokens, 1,024 or more", thinking.get("budget_tokens"))
        case "adaptive":
            wanted.budget = None if wanted.effort else -1
        case "disabled":
            wanted.budget = 0
        case str():
            ask.extra["thinking"] = thinking
            return
        case kind:
            raise bad("thinking.type", "enabled, adaptive or disabled", kind)
    wanted.summary = None if display is None else "none" if display == "omitted" else "auto"
    if (others := rest(thinking, ("type", "budget_tokens", "display"))) is not None:
        ask.extra["thinking"] = others
    ask.reasoning = wanted
