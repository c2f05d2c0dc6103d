"""What a person asks for by keyword, as the ``Ask`` that all wires know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import BadInput
from ..types import Ask, Conversation, Format, Part, Role, TextPart, Thinking, Tool, Turn
from ..wire._json import json_fault
from ..wire.openai_chat import read_format, read_tool_choice, read_tools, read_turns
from . import _attached
from ._functions import tool_of
from ._schema import Shape, shape_of

_NUMBERS = ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty")
_WHOLE = {"max_tokens": 1, "top_k": 0, "seed": None, "n": 1}
_FLAGS = ("parallel_tool_calls", "store")
_TEXTS = ("user", "service_tier", "verbosity", "previous")
_OTHER = (
    *("tools", "tool_choice", "schema", "response_format", "images", "files", "reasoning", "stop", "logprobs", "logit_bias"),
    *("metadata", "extra"),
)
KEYWORDS = (*_NUMBERS, *_WHOLE, *_FLAGS, *_TEXTS, *_OTHER)
"""Every keyword of an ask that is not about how it is sent."""
_JSON = ("metadata", "logit_bias", "extra")
"""Keywords whose values go into the request as they are."""
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")


def ask_of(prompt: str | Conversation, model: str, given: Mapping[str, Any]) -> tuple[Ask, Shape | None]:
    """The ask, and the shape its answer is to have. Raises ``BadInput`` naming the keyword at fault. Reads files."""
    turns = [Turn("user", [TextPart(prompt)])] if isinstance(prompt, str) else read_turns(prompt)
    ask = Ask(model, turns)
    shape = None
    for name, value in given.items():
        if value is None:
            continue
        if name in _JSON and (fault := json_fault(value, name)) is not None:
            raise BadInput(f"{fault[0]} is {fault[1]}, which cannot be sent as JSON", field=fault[0])
        if name == "schema":
            shape = shape_of(value)
            ask.format = shape.format
        else:
            _set(ask, name, value)
    return ask, shape


def _set(ask: Ask, name: str, value: Any) -> None:
    if name in _NUMBERS:
        setattr(ask, name, _number(name, value))
    elif name in _WHOLE:
        setattr(ask, name, _whole(name, value, _WHOLE[name]))
    elif name in _FLAGS:
        setattr(ask, name, _of_type(name, value, bool, "true or false"))
    elif name in _TEXTS:
        setattr(ask, name, _of_type(name, value, str, "text"))
    else:
        _READERS[name](ask, value)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadInput(f"{name} is {value!r}; it must be a number", field=name)
    return value


def _whole(name: str, value: object, least: int | None) -> int:
    if isinstance(value, float) and value.is_integer():  # JSON from elsewhere
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        raise BadInput(f"{name} is {value!r}; it must be a whole number{'' if least is None else f' from {least}'}", field=name)
    return value


def _of_type(name: str, value: object, kind: type, said: str) -> object:
    if not isinstance(value, kind):
        raise BadInput(f"{name} is {value!r}; it must be {said}", field=name)
    return value


def _tools(ask: Ask, value: Any) -> None:
    ask.tools = read_tools([tool_of(one) if callable(one) else one for one in _several(value)], "tools")
    for place, tool in enumerate(ask.tools):
        if isinstance(tool, Tool) and (fault := json_fault(tool.parameters, f"tools[{place}].parameters")) is not None:
            raise BadInput(f"{fault[0]} is {fault[1]}, which cannot be sent as JSON", field=fault[0])


def _choice(ask: Ask, value: Any) -> None:
    ask.tool_choice = read_tool_choice(value, "tool_choice")


def _format(ask: Ask, value: Any) -> None:
    ask.format = value if isinstance(value, Format) else read_format(value, "response_format")


def _images(ask: Ask, value: Any) -> None:
    _attach(ask, [_attached.image(one, f"images[{place}]") for place, one in enumerate(_several(value))])


def _files(ask: Ask, value: Any) -> None:
    _attach(ask, [_attached.file(one, f"files[{place}]") for place, one in enumerate(_several(value))])


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _attach(ask: Ask, parts: list[Any]) -> None:
    """Before the words of the last user turn: models are told to look first and read the question then."""
    for turn in reversed(ask.turns):
        if turn.role == "user":
            turn.parts[:0] = parts
            return
    raise BadInput("images and files go with a user's message, and there is none", field="messages")


def _reasoning(ask: Ask, value: Any) -> None:
    match value:
        case Thinking():
            ask.reasoning = value
        case bool():
            ask.reasoning = Thinking(effort="medium" if value else "none")
        case int() if value >= -1:
            ask.reasoning = Thinking(budget=value)
        case str() if value in _EFFORTS:
            ask.reasoning = Thinking(effort=value)  # type: ignore[arg-type]  # it is one of them
        case _:
            raise BadInput(
                f"reasoning is {value!r}; it must be one of {', '.join(_EFFORTS)}, or tokens of thought at most",
                field="reasoning",
            )


def _stop(ask: Ask, value: Any) -> None:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, (list, tuple)) or not all(isinstance(text, str) and text for text in stops):
        raise BadInput(f"stop is {value!r}; it must be text that is not empty, or a list of such", field="stop")
    ask.stop = list(stops)


def _logprobs(ask: Ask, value: Any) -> None:
    ask.logprobs = int(value) - 1 if value is True else None if value is False else _whole("logprobs", value, 0)


def _mapping(ask: Ask, name: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise BadInput(f"{name} is {value!r}; it must map names to values", field=name)
    setattr(ask, name, dict(value))


_READERS: dict[str, Any] = {
    "tools": _tools,
    "tool_choice": _choice,
    "response_format": _format,
    "images": _images,
    "files": _files,
    "reasoning": _reasoning,
    "stop": _stop,
    "logprobs": _logprobs,
    "logit_bias": lambda ask, value: _mapping(ask, "logit_bias", value),
    "metadata": lambda ask, value: _mapping(ask, "metadata", value),
    "extra": lambda ask, value: _mapping(ask, "extra", value),
}


def system_first(ask: Ask, system: str | None) -> None:
    """Put a system message before the conversation."""
    if system is not None:
        if not isinstance(system, str):
            raise BadInput(f"system is {type(system).__name__}; it must be text", field="system")
        role: Role = "system"
        parts: list[Part] = [TextPart(system)]
        ask.turns.insert(0, Turn(role, parts))
