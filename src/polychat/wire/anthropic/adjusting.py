"""An ask as the API takes it: what it would answer with 400 is changed, and each change of meaning is told as a loss.

What depends on the model is in ``generations.py``; conversations are ``history.py``'s, schemas ``schema.py``'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from ...types import Ask, Effort, HostedTool, ReasoningPart, TextPart, Thinking, Tool, ToolChoice, ToolResult, Turn
from ..ledger import Loss
from .generations import Rules, rules_of
from .history import History, is_plain
from .schema import closed, input_schema
from .words import NAME, VENDOR
from .write import BUDGETS, MIN_BUDGET

MAX_MARKS = 4
"""Marks of what to cache that a request may hold."""
_LEAST_TOP_P = 0.95
"""Beside thoughts."""
_Marked = TypeVar("_Marked", bound=Any)


def adjusted(ask: Ask, vendor: str = VENDOR) -> tuple[Ask, list[Loss]]:
    """The ask with what the API refuses changed, and what of its meaning that cost. ``ask`` itself stays as it is.

    Raises ``BadInput`` for a conversation of blanks.
    """
    rules, plain = rules_of(ask.model), is_plain(ask.turns)
    if plain and _is_as_taken(ask, rules):
        return ask, []  # most asks are
    better, losses = replace(ask), list[Loss]()
    if not plain:
        own = ask.wire == NAME
        history = History(own, vendor, rules, losses)
        better.turns = history.turns(ask.turns, foreign_files=ask.wire is not None and not own)
    if ask.tools:
        better.tools = [_tool(tool, losses) for tool in ask.tools]
        _force(better, rules, losses)
    if better.reasoning is not None:
        _think(better, rules, vendor, losses)
    _sample(better, rules, losses)
    if better.stop:
        _stop(better, losses)
    _format(better, losses)
    _marks(better, losses)
    return better, losses


def _is_as_taken(ask: Ask, rules: Rules | None) -> bool:
    """Whether an ask of texts alone says nothing that is looked at here."""
    if ask.tools or ask.stop or ask.reasoning is not None or ask.format is not None:
        return False
    if ask.temperature is not None or ask.top_p is not None or ask.top_k is not None:
        takes = "both" if rules is None else rules.sampling
        if takes == "none" or (takes == "one" and ask.temperature is not None and ask.top_p is not None):
            return False
    for turn in ask.turns:
        for part in turn.parts:
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
        losses.append(Loss("tools", "emulated", "the schema is told without what the API refuses in it", tool.name))
    return replace(tool, parameters=schema)


def _force(ask: Ask, rules: Rules | None, losses: list[Loss]) -> None:
    """Tools that must be called: some models cannot be forced, and none while it thinks."""
    choice = ask.tool_choice
    if choice is None or choice.mode not in ("required", "named"):
        return
    if rules is not None and not rules.forced:
        named = choice.mode == "named"
        text = f"Call the tool {choice.name} now." if named else "Call one of the tools now."
        losses.append(Loss(f"tool_choice.{choice.mode}", "emulated", "the model cannot be forced: it is asked in words"))
        ask.tool_choice = ToolChoice("auto")
        ask.extra = {name: value for name, value in ask.extra.items() if name != "tool_choice"}
        ask.turns = [*ask.turns, Turn("user", [TextPart(text)])]
    elif _thinks(ask.reasoning) or (rules is not None and rules.thinks and not _is_off(ask.reasoning)):
        losses.append(Loss("reasoning.effort", "dropped", "the API forces no tool on a model that thinks first"))
        ask.reasoning = Thinking("none") if rules is not None and rules.thinks else None


def _thinks(wanted: Thinking | None) -> bool:
    return wanted is not None and not _is_off(wanted)


def _is_off(wanted: Thinking | None) -> bool:
    return wanted is not None and (wanted.budget == 0 or (wanted.budget is None and wanted.effort == "none"))


def _think(ask: Ask, rules: Rules | None, vendor: str, losses: list[Loss]) -> None:
    wanted = ask.reasoning
    assert wanted is not None
    if _is_off(wanted):
        if rules is not None and rules.off == "never":
            losses.append(Loss("reasoning.effort", "emulated", "the model always thinks: it is asked for the least effort"))
            ask.reasoning = Thinking("low", None, wanted.summary)
        return
    said = wanted
    if rules is not None:
        if not (rules.budget or rules.adaptive):
            losses.append(Loss("reasoning.effort", "dropped", "the model does not think first"))
            ask.reasoning = None
            return
        ask.reasoning = wanted = _in_words_of(rules, wanted, losses)
    if wanted.budget is not None and wanted.budget > 0:
        _budget(ask, wanted, said, losses)
        if ask.reasoning is not None and _lacks_thoughts(ask.turns, vendor):
            note = "calls that wait for their results came without the thoughts before them, which the API wants back"
            losses.append(Loss("reasoning.effort", "dropped", note))
            ask.reasoning = None


def _in_words_of(rules: Rules, wanted: Thinking, losses: list[Loss]) -> Thinking:
    """An effort as a budget, or a budget as an effort, where the model knows the other alone."""
    effort, budget = wanted.effort, wanted.budget
    if not rules.adaptive and budget in (None, -1):
        return Thinking(None, BUDGETS[effort or "medium"], wanted.summary)
    if not rules.budget and budget is not None and budget > 0:
        losses.append(Loss("reasoning.budget", "emulated", "the model takes no budget: it is told as an effort"))
        effort = effort or next((name for name, tokens in _EFFORTS if budget <= tokens), "high")
        return Thinking(effort, None, wanted.summary)
    if rules.adaptive and effort == "xhigh" and not rules.xhigh:
        losses.append(Loss("reasoning.effort", "emulated", "the model knows no xhigh: it is told high"))
        return Thinking("high", budget, wanted.summary)
    return wanted


_EFFORTS: tuple[tuple[Effort, int], ...] = (("low", 2_048), ("medium", 8_192))


def _budget(ask: Ask, wanted: Thinking, said: Thinking, losses: list[Loss]) -> None:
    """A budget is less than all tokens of the answer, of which half are left for its words."""
    most, budget = ask.max_tokens, max(MIN_BUDGET, wanted.budget or 0)
    if most is None or budget < most:
        return
    field = "reasoning.effort" if said.budget is None else "reasoning.budget"
    if most <= MIN_BUDGET:
        note = f"max_tokens is {most:,}, which leaves no room for {MIN_BUDGET:,} tokens of thought, the least there are"
        losses.append(Loss(field, "dropped", note))
        ask.reasoning = None
        return
    less = max(MIN_BUDGET, most // 2)
    losses.append(Loss(field, "emulated", f"{less:,} tokens of thought, as they count among max_tokens"))
    ask.reasoning = Thinking(wanted.effort, less, wanted.summary)


def _lacks_thoughts(turns: list[Turn], vendor: str) -> bool:
    """Whether the conversation ends with results of calls whose turn does not begin with thoughts of this vendor."""
    end = len(turns)
    while end and turns[end - 1].role == "tool":
        end -= 1
    start = end
    while start and turns[start - 1].role == "assistant":
        start -= 1
    if end in (start, len(turns)):
        return False
    first = next((part for turn in turns[start:end] for part in turn.parts), None)
    opaque = first.opaque if isinstance(first, ReasoningPart) else None
    return opaque is None or opaque.vendor != vendor or opaque.data.startswith("{")


def _sample(ask: Ask, rules: Rules | None, losses: list[Loss]) -> None:
    """The API's own defaults go without a word where they may not be said."""
    takes = "both" if rules is None else rules.sampling
    if takes == "none":
        for name, default in (("temperature", 1.0), ("top_p", None), ("top_k", None)):
            _drop(ask, name, "the model takes none", losses, default)
    elif _thinks(ask.reasoning):
        _drop(ask, "temperature", "the API takes none while the model thinks", losses, 1.0)
        _drop(ask, "top_k", "the API takes none while the model thinks", losses)
        if ask.top_p is not None and ask.top_p < _LEAST_TOP_P:
            _drop(ask, "top_p", f"the API takes {_LEAST_TOP_P} or more while the model thinks", losses)
    if takes == "one" and ask.temperature is not None and ask.top_p is not None:
        _drop(ask, "top_p", "the model takes it or temperature, not both", losses, 1.0)


def _drop(ask: Ask, name: str, why: str, losses: list[Loss], default: float | None = None) -> None:
    value = getattr(ask, name)
    if value is None:
        return
    setattr(ask, name, None)
    if value != default:
        losses.append(Loss(name, "dropped", why))


def _stop(ask: Ask, losses: list[Loss]) -> None:
    if any(not text.strip() for text in ask.stop):
        ask.stop = [text for text in ask.stop if text.strip()]
        losses.append(Loss("stop", "dropped", "the API takes no stop that is only white space"))


def _format(ask: Ask, losses: list[Loss]) -> None:
    form = ask.format
    if form is None or form.schema is None:
        return
    schema = closed(form.schema)
    if schema != form.schema:
        ask.format = replace(form, schema=schema)
        note = "its objects are closed, and limits that the API refuses are left out"
        losses.append(Loss("format.schema", "emulated", note))


def _marks(ask: Ask, losses: list[Loss]) -> None:
    """The first mark, which is of what stays the same longest, and the last, which are of the conversation so far."""
    places = [id(one) for one in _marked(ask)]
    if len(places) <= MAX_MARKS:
        return
    gone = frozenset(places[1 : len(places) - MAX_MARKS + 1])
    losses.append(
        Loss("cache", "dropped", f"the API takes {MAX_MARKS} marks of what to cache", f"{len(gone)} of {len(places)}")
    )
    ask.tools = [_unmarked(tool, gone) for tool in ask.tools]
    ask.turns = [replace(turn, parts=[_unmarked(part, gone) for part in turn.parts]) for turn in ask.turns]


def _marked(ask: Ask) -> list[Any]:
    """What is marked, in the order that it has on the wire."""
    early = [turn for turn in ask.turns if turn.role in ("system", "developer")]
    late = [turn for turn in ask.turns if turn.role not in ("system", "developer")]
    found: list[Any] = list(ask.tools)
    for turn in [*early, *late]:
        for part in turn.parts:
            found += [*part.parts, part] if isinstance(part, ToolResult) else [part]
    return [one for one in found if getattr(one, "cache", None) is not None]


def _unmarked(one: _Marked, gone: frozenset[int]) -> _Marked:
    better = replace(one, cache=None) if id(one) in gone else one
    if isinstance(better, ToolResult) and any(id(part) in gone for part in better.parts):
        better = replace(better, parts=[_unmarked(part, gone) for part in better.parts])
    return better
