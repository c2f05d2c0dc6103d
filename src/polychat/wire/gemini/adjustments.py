"""Makes a request of another wire acceptable to Gemini's API: changes what it would reject with 400, and reports each change.

Limits and names are those of the API's discovery document (``generativelanguage`` v1beta): ``GenerationConfig.stopSequences``,
``GenerateContentRequest.serviceTier``. The rules of thinking are in ``generations.py``.
"""

from __future__ import annotations

from dataclasses import replace

from ...types import ChatMessage, ChatRequest, HostedTool, ImagePart, Part, TextPart, Thinking, Tool, ToolResult
from ..efforts import BUDGETS, nearest
from ..losses import Loss
from ..media import type_named, type_of_bytes
from .constants import NAME, VENDOR
from .generations import GenerationRules, rules_of
from .schema import MOST_ITEMS, taken

MOST_STOPS = 5
_EMPTY = TextPart("")
_TIERS = {"default": "standard", "auto": None, "standard_only": "standard", "scale": "priority"}
"""Other vendors' names of a service tier; ``None`` lets the API choose."""
_KNOWN = frozenset({"unspecified", "standard", "flex", "priority"})


def adjusted(request: ChatRequest, vendor: str = VENDOR) -> tuple[ChatRequest, list[Loss]]:
    """The request without what the API rejects, and the losses that this causes. ``request`` itself is not changed."""
    if request.wire == NAME:
        return request, []  # the client wrote this API's own fields
    messages = [_message(message) for message in request.messages]
    better, losses = replace(request, messages=[message for message in messages if message.parts]), list[Loss]()
    if len(request.stop) > MOST_STOPS:
        better.stop = request.stop[:MOST_STOPS]
        losses.append(Loss("stop", "emulated", f"the API accepts {MOST_STOPS} stop sequences: only the first are sent"))
    if request.service_tier is not None and request.service_tier not in _KNOWN:
        better.service_tier = _TIERS.get(request.service_tier)
        if request.service_tier not in _TIERS:
            losses.append(
                Loss("service_tier", "dropped", f"the API supports {', '.join(sorted(_KNOWN))}", request.service_tier)
            )
    if request.tools:
        better.tools = [_tool(tool, losses) for tool in request.tools]
    if request.format is not None and request.format.schema is not None:
        schema, shortened = taken(request.format.schema)
        better.format = replace(request.format, schema=schema)
        if shortened:
            losses.append(Loss("format.schema", "emulated", _LENGTHS))
    if request.reasoning is not None and (rules := rules_of(request.model)) is not None:
        better.reasoning = _thinking(request.reasoning, rules, losses)
    return better, losses


_LENGTHS = f"the API accepts array lengths of up to {MOST_ITEMS:,} in total in a schema: they are omitted"


def _tool(tool: Tool | HostedTool, losses: list[Loss]) -> Tool | HostedTool:
    if isinstance(tool, HostedTool) or tool.parameters is None:
        return tool
    schema, shortened = taken(tool.parameters)
    if shortened:
        losses.append(Loss("tools", "emulated", _LENGTHS, tool.name))
    return tool if schema == tool.parameters else replace(tool, parameters=schema)


def _thinking(thinking: Thinking, rules: GenerationRules, losses: list[Loss]) -> Thinking | None:
    """The requested thinking as the model accepts it: a level, or a budget within its range."""
    field = "reasoning.effort" if thinking.budget is None else "reasoning.budget"
    is_off = thinking.budget == 0 or (thinking.budget is None and thinking.effort == "none")
    if not rules.efforts and rules.budgets is None:
        if not is_off and (thinking.effort, thinking.budget) != (None, None):
            losses.append(Loss(field, "dropped", "the model does not support reasoning"))
        return None
    if is_off and not rules.off:
        losses.append(Loss(field, "emulated", "the model always reasons: the lowest level is requested"))
    if rules.budgets is not None:
        return _budget(thinking, rules.budgets, losses, is_off=is_off, may_be_off=rules.off)
    if thinking.budget is not None and not is_off:
        return thinking  # accepted besides levels, for code that was written for earlier models
    if is_off or thinking.effort is None:
        return thinking if not is_off else replace(thinking, effort=rules.efforts[0], budget=None)
    effort = nearest(thinking.effort, rules.efforts)
    if effort != thinking.effort:
        note = f"the model supports {', '.join(rules.efforts)}: {thinking.effort} is sent as {effort}"
        losses.append(Loss(field, "emulated", note))
    return replace(thinking, effort=effort)


def _budget(thinking: Thinking, limits: tuple[int, int], losses: list[Loss], *, is_off: bool, may_be_off: bool) -> Thinking:
    least, most = limits
    if is_off:
        return replace(thinking, budget=0 if may_be_off else least)
    if thinking.budget is None:
        return thinking if thinking.effort is None else replace(thinking, budget=min(most, BUDGETS[thinking.effort].gemini))
    if thinking.budget < 0:
        return thinking
    budget = max(least, min(most, thinking.budget))
    if budget != thinking.budget:
        losses.append(
            Loss("reasoning.budget", "emulated", f"the model supports {least:,} to {most:,} tokens: {budget:,} are sent")
        )
    return replace(thinking, budget=budget)


def _message(message: ChatMessage) -> ChatMessage:
    """The message without empty texts, and with the true media types of images. The API rejects others."""
    if not any(isinstance(part, ImagePart | ToolResult) or part == _EMPTY for part in message.parts):
        return message
    return replace(message, parts=[_part(part) for part in message.parts if part != _EMPTY])


def _part(part: Part) -> Part:
    if isinstance(part, ImagePart):
        return _image(part)
    if isinstance(part, ToolResult) and any(isinstance(inner, ImagePart) for inner in part.parts):
        return replace(part, parts=[_image(inner) if isinstance(inner, ImagePart) else inner for inner in part.parts])
    return part


def _image(part: ImagePart) -> ImagePart:
    if part.data is None:
        return part
    kind = type_of_bytes(part.data) or type_named(part.media_type or "")
    return part if kind == part.media_type else replace(part, media_type=kind)
