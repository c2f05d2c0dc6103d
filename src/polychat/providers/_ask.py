"""What a person asks for by keyword, as the ``Ask`` that all wires know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput
from ..types import Ask, Conversation, Format, Part, Role, TextPart, Thinking, Tool, Turn
from ..wire._json import json_fault
from ..wire.checks import bad, item
from ..wire.field import NUMBER, PAIRS, WEIGHTS, Field
from ..wire.fields import plain_fields
from ..wire.openai_chat import read_format, read_tool_choice, read_tools, read_turns
from . import _attached
from ._functions import tool_of
from ._schema import Shape, shape_of


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword of ``polychat.ask``."""

    name: str
    hint: str
    """Its type, as Python writes it; ``None`` is the same as not saying it."""
    about: str


STRUCTURED = (
    Keyword(
        "tools", "OneTool | Sequence[OneTool]", "functions the model may call: Python functions, or OpenAI tool definitions"
    ),
    Keyword(
        "tool_choice",
        "str | Mapping[str, Any] | ToolChoice",
        'which tools may be called: "auto", "none", "required", or one by name',
    ),
    Keyword("response_format", "Mapping[str, Any] | Format", "the response format, as in OpenAI's API; see schema"),
    Keyword(
        "images", "Attachment | Sequence[Attachment]", "paths, URLs or bytes, placed before the text of the last user message"
    ),
    Keyword("files", "Attachment | Sequence[Attachment]", "documents: paths, URLs or bytes"),
    Keyword(
        "reasoning", "Effort | int | bool | Thinking", "how much to reason: an effort, or a maximum number of reasoning tokens"
    ),
    Keyword("extra", "Mapping[str, Any]", "request fields under the API's own names"),
)
"""Those that have rules of their own. ``schema``, which decides about the type of the reply, is a parameter beside them."""
ASKING = (
    Keyword("on_loss", 'Literal["refuse", "warn", "report", "allow"]', "what to do if the backend does not support a field"),
    Keyword("proxy", "str", "the URL of a proxy"),
    Keyword("timeout", "float", "timeout in seconds for the whole request; None means no limit"),
    Keyword("base_url", "str", "the address of another instance of the same service"),
    Keyword("api_key", "str", "of an API vendor"),
    Keyword("cookies", "Mapping[str, str]", "cookies of a chat site, by name"),
    Keyword("headers", "Mapping[str, str]", "headers that override the provider's own"),
)
"""How an ask is sent. Providers may take more."""
_PLAIN = {row.name: row for row in plain_fields() if row.keyword}
KEYWORDS = ("schema", *(keyword.name for keyword in STRUCTURED), *_PLAIN)
"""Every keyword of an ask that is not about how it is sent: a plain field of the table is one by its name."""
_JSON = ("extra", *(name for name, row in _PLAIN.items() if row.type in (PAIRS, WEIGHTS)))
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
        if name in _JSON:
            _check_json(value, name)
        if name == "schema":
            shape = shape_of(value)
            ask.format = shape.format
        else:
            _set(ask, name, value)
    if ask.format is not None:
        _check_json(ask.format.schema, "response_format" if shape is None else "schema")
    return ask, shape


def _check_json(value: Any, field: str) -> None:
    """Raises ``BadInput`` for what JSON cannot carry: what writes it would make null of a number that is none."""
    if (fault := json_fault(value, field)) is not None:
        raise BadInput(f"{fault[0]} is {fault[1]}, which cannot be sent as JSON", field=fault[0])


def _set(ask: Ask, name: str, value: Any) -> None:
    if name in _READERS:
        _READERS[name](ask, value)
    else:
        setattr(ask, name, _plain(_PLAIN[name], value))


def _plain(row: Field, value: Any) -> Any:
    """The value of a plain field. Raises ``BadInput``."""
    assert row.type is not None  # it is plain
    read = row.type.read(value, row.name)
    if row.least is not None and read < row.least:
        kind = "a number" if row.type is NUMBER else "a whole number"
        raise bad(row.name, f"{kind} from {row.least}", value)
    return read


def _tools(ask: Ask, value: Any) -> None:
    ask.tools = read_tools([tool_of(one) if callable(one) else one for one in _several(value)], "tools")
    for place, tool in enumerate(ask.tools):
        if isinstance(tool, Tool):
            _check_json(tool.parameters, f"tools[{place}].parameters")


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
    raise BadInput("images and files need a user message to go with: add one", field="messages")


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
                (f"reasoning is {value!r}; it must be one of {', '.join(_EFFORTS)}, or a maximum number of reasoning tokens"),
                field="reasoning",
            )


def _stop(ask: Ask, value: Any) -> None:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, (list, tuple)) or not all(isinstance(text, str) and text for text in stops):
        raise BadInput(f"stop is {value!r}; it must be a string that is not empty, or a list of them", field="stop")
    ask.stop = list(stops)


def _logprobs(ask: Ask, value: Any) -> None:
    ask.logprobs = 0 if value is True else None if value is False else _plain(_PLAIN["logprobs"], value)


def _extra(ask: Ask, value: Any) -> None:
    ask.extra = dict(item(value, "extra"))


_READERS: dict[str, Any] = {
    "tools": _tools,
    "tool_choice": _choice,
    "response_format": _format,
    "images": _images,
    "files": _files,
    "reasoning": _reasoning,
    "stop": _stop,
    "logprobs": _logprobs,
    "extra": _extra,
}


def system_first(ask: Ask, system: str | None) -> None:
    """Put a system message before the conversation."""
    if system is not None:
        if not isinstance(system, str):
            raise BadInput(f"system is {type(system).__name__}; it must be text", field="system")
        role: Role = "system"
        parts: list[Part] = [TextPart(system)]
        ask.turns.insert(0, Turn(role, parts))
