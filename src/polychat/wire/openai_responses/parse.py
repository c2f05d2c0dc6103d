"""The half that answers: the body of a request as the ask it is."""

from __future__ import annotations

from typing import get_args

from ...errors import BadInput, shown
from ...types import Ask, Effort, Format, TextPart, Thinking, ToolChoice, Turn
from .._json import TooDeep, decoded
from ..checks import bad, optional_count, optional_flag, optional_number, optional_text, record, rest, several, strings, text
from ..limits import LIMITS, Limits
from .conversation import Conversation
from .names import ENCRYPTED, LOGPROBS, NAME, Object
from .tools import named, read_tools, without_repeats

_TOP = (
    *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "max_output_tokens"),
    *("temperature", "top_p", "top_logprobs", "include", "reasoning", "metadata", "user", "service_tier", "store"),
    *("previous_response_id", "stream"),
)
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""Where the conversation may be, so that there is no input."""


def read_request(body: bytes, model: str | None = None, stream: bool | None = None, limits: Limits = LIMITS) -> Ask:
    """The ask. Raises ``BadInput`` naming the field, and nothing else."""
    try:
        value = decoded(body, limits.depth)
    except TooDeep as error:
        raise BadInput(f"the body is {error}", field="body") from error
    except ValueError as error:
        raise BadInput(f"the body is not JSON: {shown(str(error))}", field="body") from error
    return _ask(record(value, "body"), model, stream)


def _ask(body: Object, model: str | None, stream: bool | None) -> Ask:
    name = model if model is not None else text(body.get("model"), "model")
    conversation = _conversation(body)
    ask = Ask(name, conversation.turns, wire=NAME, extra=rest(body, _TOP) or {})
    ask.tools = without_repeats([*read_tools(body.get("tools") or [], "tools"), *conversation.tools])
    _choice(ask, body.get("tool_choice"))
    ask.parallel_tool_calls = optional_flag(body.get("parallel_tool_calls"), "parallel_tool_calls")
    ask.max_tokens = optional_count(body.get("max_output_tokens"), "max_output_tokens")
    ask.temperature = optional_number(body.get("temperature"), "temperature")
    ask.top_p = optional_number(body.get("top_p"), "top_p")
    ask.user = optional_text(body.get("user"), "user")
    ask.service_tier = optional_text(body.get("service_tier"), "service_tier")
    ask.store = optional_flag(body.get("store"), "store")
    ask.previous = optional_text(body.get("previous_response_id"), "previous_response_id")
    ask.stream = stream if stream is not None else bool(optional_flag(body.get("stream"), "stream"))
    if (metadata := body.get("metadata")) is not None:
        ask.metadata = {name: text(said, f"metadata.{name}") for name, said in record(metadata, "metadata").items()}
    _text(ask, body.get("text"))
    _thinking(ask, body.get("reasoning"))
    _include(ask, body)
    return ask


def _conversation(body: Object) -> Conversation:
    said, instructions = body.get("input"), optional_text(body.get("instructions"), "instructions")
    conversation = Conversation()
    if instructions is not None:
        conversation.turns.append(Turn("system", [TextPart(instructions)]))
    if isinstance(said, str):
        conversation.turns.append(Turn("user", [TextPart(said)]))
    elif said is not None or all(body.get(name) is None for name in _ELSEWHERE):
        for at, item in enumerate(several(said, "input")):
            conversation.read(item, f"input[{at}]")
    return conversation


def _choice(ask: Ask, value: object) -> None:
    """Which tools may be called. What the common words do not say (allowed and hosted tools) is an extra."""
    match value:
        case None:
            return
        case "auto" | "none" | "required":
            ask.tool_choice = ToolChoice(value)
        case {"type": "function" | "custom", **chosen}:
            ask.tool_choice = ToolChoice("named", named(record(chosen, "tool_choice"), "tool_choice"))
        case {"type": str()}:
            ask.extra["tool_choice"] = value
        case _:
            raise bad("tool_choice", "auto, none, required, or an object with a type", value)


def _text(ask: Ask, value: object) -> None:
    if value is None:
        return
    config = record(value, "text")
    ask.verbosity = optional_text(config.get("verbosity"), "text.verbosity")
    if (others := rest(config, ("format", "verbosity"))) is not None:
        ask.extra["text"] = others
    if (form := config.get("format")) is None:
        return
    match record(form, "text.format").get("type"):
        case "text":
            ask.format = Format("text")
        case "json_object":
            ask.format = Format("json")
        case "json_schema":
            ask.format = Format(
                "schema",
                record(form.get("schema"), "text.format.schema"),
                optional_text(form.get("name"), "text.format.name"),
                optional_text(form.get("description"), "text.format.description"),
                optional_flag(form.get("strict"), "text.format.strict"),
            )
        case kind:
            raise bad("text.format.type", "text, json_object or json_schema", kind)


def _thinking(ask: Ask, value: object) -> None:
    if value is None:
        return
    config = record(value, "reasoning")
    others = rest(config, ("effort", "summary")) or {}
    effort = optional_text(config.get("effort"), "reasoning.effort")
    summary = optional_text(config.get("summary"), "reasoning.summary")
    known = _effort(effort)
    if effort is not None and effort != known:
        others["effort"] = effort  # "max", which has no common word
    if known is not None or summary is not None:
        ask.reasoning = Thinking(known, summary=summary)
    if others:
        ask.extra["reasoning"] = others


def _effort(word: str | None) -> Effort | None:
    if word == "max":
        return "xhigh"
    return next((known for known in get_args(Effort) if known == word), None)


def _include(ask: Ask, body: Object) -> None:
    """``include`` in common words where there is one; encrypted thoughts go without saying where nothing is stored."""
    include = strings(body.get("include") or [], "include")
    most = optional_count(body.get("top_logprobs"), "top_logprobs")
    if LOGPROBS in include:
        ask.logprobs = most or 0
    elif most:
        ask.extra["top_logprobs"] = most
    said = (LOGPROBS, ENCRYPTED) if ask.store is False else (LOGPROBS,)
    if others := [name for name in include if name not in said]:
        ask.extra["include"] = others
