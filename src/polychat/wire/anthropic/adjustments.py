"""Makes a request acceptable to the API: changes what it would reject with 400, and reports each change of meaning as a loss.

Rules that depend on the model are in ``generations.py``, those of conversations in ``history.py``, of schemas in ``schema.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from ...types import (
    ChatMessage,
    ChatRequest,
    HostedTool,
    ReasoningPart,
    TextPart,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
)
from ..efforts import BUDGETS, effort_of
from ..losses import Loss
from .constants import NAME, VENDOR
from .generations import GenerationRules, rules_of
from .history import History, is_plain
from .request_writer import MIN_BUDGET
from .schema import closed, input_schema

MAX_MARKS = 4
"""Maximum cache marks in a request."""
_LEAST_TOP_P = 0.95
"""The minimum of ``top_p`` with thinking enabled."""
_Marked = TypeVar("_Marked", bound=Any)


def adjusted(request: ChatRequest, vendor: str = VENDOR) -> tuple[ChatRequest, list[Loss]]:
    """The request without what the API rejects, and the losses that this causes. ``request`` itself is not changed.

    Raises ``BadInput`` if all messages are blank.
    """
    rules, plain = rules_of(request.model), is_plain(request.messages)
    if plain and _needs_no_change(request, rules):
        return request, []  # most requests are
    better, losses = replace(request), list[Loss]()
    if not plain:
        native = request.wire == NAME
        history = History(vendor, rules, losses, native=native)
        better.messages = history.messages(request.messages, foreign_files=request.wire is not None and not native)
    if request.tools:
        better.tools = [_tool(tool, losses) for tool in request.tools]
        _force(better, rules, losses)
    if better.reasoning is not None:
        _think(better, rules, vendor, losses)
    _sample(better, rules, losses)
    if better.stop:
        _stop(better, losses)
    _format(better, losses)
    _marks(better, losses)
    return better, losses


def _needs_no_change(request: ChatRequest, rules: GenerationRules | None) -> bool:
    """Whether a text-only request has no field that this module checks."""
    if request.tools or request.stop or request.reasoning is not None or request.format is not None:
        return False
    if request.temperature is not None or request.top_p is not None or request.top_k is not None:
        sampling = "both" if rules is None else rules.sampling
        if sampling == "none" or (sampling == "one" and request.temperature is not None and request.top_p is not None):
            return False
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, TextPart) and part.cache is not None:
                return False
    return True


def _tool(tool: Tool | HostedTool, losses: list[Loss]) -> Tool | HostedTool:
    if isinstance(tool, HostedTool):
        return tool
    if tool.parameters is None:
        return replace(tool, parameters=closed({"type": "object"})) if tool.strict else tool
    schema = input_schema(tool.parameters)
    if tool.strict:
        schema = closed(schema)
    if schema == tool.parameters:
        return tool
    if schema != {**tool.parameters, "type": "object"}:
        losses.append(Loss("tools", "emulated", "keywords that the API rejects are removed from the schema", tool.name))
    return replace(tool, parameters=schema)


def _force(request: ChatRequest, rules: GenerationRules | None, losses: list[Loss]) -> None:
    """Tools that must be called: some models cannot be forced, and none while thinking is enabled."""
    choice = request.tool_choice
    if choice is None or choice.mode not in ("required", "named"):
        return
    if rules is not None and not rules.forced:
        named = choice.mode == "named"
        text = f"Call the tool {choice.name} now." if named else "Call one of the tools now."
        losses.append(
            Loss(
                f"tool_choice.{choice.mode}",
                "emulated",
                "a call cannot be forced on this model: it is requested in the system message",
            )
        )
        request.tool_choice = ToolChoice("auto")
        request.extra = {name: value for name, value in request.extra.items() if name != "tool_choice"}
        request.messages = [*request.messages, ChatMessage("user", [TextPart(text)])]
    elif _thinks(request.reasoning) or (rules is not None and rules.thinks and not _is_off(request.reasoning)):
        losses.append(
            Loss("reasoning.effort", "dropped", "the API does not support a forced tool call together with reasoning")
        )
        request.reasoning = Thinking("none") if rules is not None and rules.thinks else None


def _thinks(thinking: Thinking | None) -> bool:
    return thinking is not None and not _is_off(thinking)


def _is_off(thinking: Thinking | None) -> bool:
    return thinking is not None and (thinking.budget == 0 or (thinking.budget is None and thinking.effort == "none"))


def _think(request: ChatRequest, rules: GenerationRules | None, vendor: str, losses: list[Loss]) -> None:
    thinking = request.reasoning
    assert thinking is not None
    if _is_off(thinking):
        if rules is not None and rules.off == "never":
            losses.append(Loss("reasoning.effort", "emulated", "the model always reasons: the lowest effort is requested"))
            request.reasoning = Thinking("low", None, thinking.summary)
        return
    adjusted = thinking
    if rules is not None:
        if not (rules.budget or rules.adaptive):
            losses.append(Loss("reasoning.effort", "dropped", "the model does not support reasoning"))
            request.reasoning = None
            return
        request.reasoning = thinking = _as_rules_require(rules, thinking, losses)
    if thinking.budget is not None and thinking.budget > 0:
        _budget(request, thinking, adjusted, losses)
        if request.reasoning is not None and _lacks_reasoning(request.messages, vendor):
            note = "tool calls without results have no reasoning before them, which the API requires"
            losses.append(Loss("reasoning.effort", "dropped", note))
            request.reasoning = None


def _as_rules_require(rules: GenerationRules, thinking: Thinking, losses: list[Loss]) -> Thinking:
    """Converts an effort to a budget, or a budget to an effort, if the model supports only the other."""
    effort, budget = thinking.effort, thinking.budget
    if not rules.adaptive and budget in (None, -1):
        return Thinking(None, BUDGETS[effort or "medium"].anthropic, thinking.summary)
    if not rules.budget and budget is not None and budget > 0:
        losses.append(Loss("reasoning.budget", "emulated", "the model does not support a budget: sent as an effort"))
        return Thinking(effort_of(thinking, ("low", "medium", "high")), None, thinking.summary)
    if rules.adaptive and effort == "xhigh" and not rules.xhigh:
        losses.append(Loss("reasoning.effort", "emulated", "the model does not support xhigh: sent as high"))
        return Thinking("high", budget, thinking.summary)
    return thinking


def _budget(request: ChatRequest, thinking: Thinking, adjusted: Thinking, losses: list[Loss]) -> None:
    """A budget below the tokens of the answer, half of which are reserved for its text."""
    most, budget = request.max_tokens, max(MIN_BUDGET, thinking.budget or 0)
    if most is None or budget < most:
        return
    field = "reasoning.effort" if adjusted.budget is None else "reasoning.budget"
    if most <= MIN_BUDGET:
        note = f"max_tokens is {most:,}, which leaves no room for the minimum of {MIN_BUDGET:,} reasoning tokens"
        losses.append(Loss(field, "dropped", note))
        request.reasoning = None
        return
    less = max(MIN_BUDGET, most // 2)
    losses.append(Loss(field, "emulated", f"{less:,} reasoning tokens, as they count towards max_tokens"))
    request.reasoning = Thinking(thinking.effort, less, thinking.summary)


def _lacks_reasoning(messages: list[ChatMessage], vendor: str) -> bool:
    """Whether the conversation ends with tool results whose assistant message does not begin with reasoning of this vendor."""
    end = len(messages)
    while end and messages[end - 1].role == "tool":
        end -= 1
    start = end
    while start and messages[start - 1].role == "assistant":
        start -= 1
    if end in (start, len(messages)):
        return False
    first = next((part for message in messages[start:end] for part in message.parts), None)
    opaque = first.opaque if isinstance(first, ReasoningPart) else None
    return opaque is None or opaque.vendor != vendor or opaque.data.startswith("{")


def _sample(request: ChatRequest, rules: GenerationRules | None, losses: list[Loss]) -> None:
    """The API's own defaults are removed without a report if the model does not accept the field."""
    sampling = "both" if rules is None else rules.sampling
    if sampling == "none":
        for name, default in (("temperature", 1.0), ("top_p", None), ("top_k", None)):
            _drop(request, name, "the model does not accept it", losses, default)
    elif _thinks(request.reasoning):
        _drop(request, "temperature", "the API does not accept it together with reasoning", losses, 1.0)
        _drop(request, "top_k", "the API does not accept it together with reasoning", losses)
        if request.top_p is not None and request.top_p < _LEAST_TOP_P:
            _drop(request, "top_p", f"the API requires at least {_LEAST_TOP_P} with reasoning", losses)
    if sampling == "one" and request.temperature is not None and request.top_p is not None:
        _drop(request, "top_p", "the model accepts it or temperature, not both", losses, 1.0)


def _drop(request: ChatRequest, name: str, why: str, losses: list[Loss], default: float | None = None) -> None:
    value = getattr(request, name)
    if value is None:
        return
    setattr(request, name, None)
    if value != default:
        losses.append(Loss(name, "dropped", why))


def _stop(request: ChatRequest, losses: list[Loss]) -> None:
    if any(not text.strip() for text in request.stop):
        request.stop = [text for text in request.stop if text.strip()]
        losses.append(Loss("stop", "dropped", "the API rejects stop sequences of only white space"))


def _format(request: ChatRequest, losses: list[Loss]) -> None:
    form = request.format
    if form is None or form.schema is None:
        return
    schema = closed(form.schema)
    if schema != form.schema:
        request.format = replace(form, schema=schema)
        note = "its objects are closed, and limits that the API rejects are omitted"
        losses.append(Loss("format.schema", "emulated", note))


def _marks(request: ChatRequest, losses: list[Loss]) -> None:
    """The first cache mark stays, as what it covers changes least, and the last ones, which cover the conversation so far."""
    places = [id(marked) for marked in _marked(request)]
    if len(places) <= MAX_MARKS:
        return
    removed = frozenset(places[1 : len(places) - MAX_MARKS + 1])
    losses.append(
        Loss("cache", "dropped", f"the API accepts {MAX_MARKS} cache breakpoints", f"{len(removed)} of {len(places)}")
    )
    request.tools = [_unmarked(tool, removed) for tool in request.tools]
    request.messages = [
        replace(message, parts=[_unmarked(part, removed) for part in message.parts]) for message in request.messages
    ]


def _marked(request: ChatRequest) -> list[Any]:
    """The marked objects, in the order in which the wire has them."""
    early = [message for message in request.messages if message.role in ("system", "developer")]
    late = [message for message in request.messages if message.role not in ("system", "developer")]
    carriers: list[Any] = list(request.tools)
    for message in [*early, *late]:
        for part in message.parts:
            carriers += [*part.parts, part] if isinstance(part, ToolResult) else [part]
    return [carrier for carrier in carriers if getattr(carrier, "cache", None) is not None]


def _unmarked(carrier: _Marked, removed: frozenset[int]) -> _Marked:
    better = replace(carrier, cache=None) if id(carrier) in removed else carrier
    if isinstance(better, ToolResult) and any(id(part) in removed for part in better.parts):
        better = replace(better, parts=[_unmarked(part, removed) for part in better.parts])
    return better
