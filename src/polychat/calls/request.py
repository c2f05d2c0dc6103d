"""The keywords of a call as the ``ChatRequest`` that all wires read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput
from ..types import ChatMessage, ChatRequest, Conversation, Format, Part, Role, TextPart, Thinking, Tool
from ..wire.checks import bad, item
from ..wire.efforts import ORDER, effort_named
from ..wire.field import NUMBER, PAIRS, WEIGHTS, Field
from ..wire.fields import plain_fields
from ..wire.json_text import json_fault
from ..wire.openai_chat import read_format, read_messages, read_tool_choice, read_tools
from . import attachments
from .functions import tool_of
from .schemas import Shape, shape_of


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword of ``polychat.ask``."""

    name: str
    hint: str
    """Its type, as Python writes it; ``None`` means that it is absent."""
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
    Keyword("models", "Sequence[str]", "models that are called, in this order, if ``model`` fails"),
    Keyword("provider", "Mapping[str, Any]", "which providers may answer, and in which order: OpenRouter's object"),
)
"""Keywords with rules of their own. ``schema``, which determines the type of the reply, is a separate parameter."""
ASKING = (
    Keyword("on_loss", 'Literal["refuse", "warn", "report", "allow"]', "what to do if the backend does not support a field"),
    Keyword("proxy", "str", "the URL of a proxy"),
    Keyword("timeout", "float | Timeouts", "seconds for the whole request, or Timeouts; None means no limit"),
    Keyword("base_url", "str", "the address of another instance of the same service"),
    Keyword("api_key", "str", "of an API vendor"),
    Keyword("cookies", "Mapping[str, str]", "cookies of a chat site, by name"),
    Keyword("headers", "Mapping[str, str]", "headers that override the provider's own"),
)
"""How a request is sent. Providers may take more."""
_PLAIN = {row.name: row for row in plain_fields() if row.keyword}
KEYWORDS = ("schema", *(keyword.name for keyword in STRUCTURED), *_PLAIN)
"""Every keyword of a request's fields: those with rules, and the plain fields of the table by their names."""
_JSON = ("extra", *(name for name, row in _PLAIN.items() if row.type in (PAIRS, WEIGHTS)))
"""Keywords whose values go into the request unchanged."""


def request_of(prompt: str | Conversation, model: str, keywords: Mapping[str, Any]) -> tuple[ChatRequest, Shape | None]:
    """The request, and the shape of its answer if ``schema`` sets one. Reads the files that the keywords name.

    Raises ``BadInput`` that names the keyword at fault.
    """
    messages = [ChatMessage("user", [TextPart(prompt)])] if isinstance(prompt, str) else read_messages(prompt)
    request = ChatRequest(model, messages)
    shape = None
    for name, value in keywords.items():
        if value is None:
            continue
        if name in _JSON:
            _check_json(value, name)
        if name == "schema":
            shape = shape_of(value)
            request.format = shape.format
        else:
            _set(request, name, value)
    if request.format is not None:
        _check_json(request.format.schema, "response_format" if shape is None else "schema")
    return request, shape


def _check_json(value: Any, field: str) -> None:
    """Raises ``BadInput`` for a value that JSON cannot carry. The encoder would write null for NaN and infinity."""
    if (fault := json_fault(value, field)) is not None:
        raise BadInput(f"{fault[0]} is {fault[1]}, which cannot be sent as JSON", field=fault[0])


def _set(request: ChatRequest, name: str, value: Any) -> None:
    if name in _READERS:
        _READERS[name](request, value)
    else:
        setattr(request, name, _plain(_PLAIN[name], value))


def _plain(row: Field, value: Any) -> Any:
    """The value of a plain field. Raises ``BadInput``."""
    assert row.type is not None  # it is plain
    read = row.type.read(value, row.name)
    if row.least is not None and read < row.least:
        kind = "a number" if row.type is NUMBER else "a whole number"
        raise bad(row.name, f"{kind} from {row.least}", value)
    return read


def _tools(request: ChatRequest, value: Any) -> None:
    request.tools = read_tools([tool_of(tool) if callable(tool) else tool for tool in _several(value)], "tools")
    for place, tool in enumerate(request.tools):
        if isinstance(tool, Tool):
            _check_json(tool.parameters, f"tools[{place}].parameters")


def _choice(request: ChatRequest, value: Any) -> None:
    request.tool_choice = read_tool_choice(value, "tool_choice")


def _format(request: ChatRequest, value: Any) -> None:
    request.format = value if isinstance(value, Format) else read_format(value, "response_format")


def _images(request: ChatRequest, value: Any) -> None:
    _attach(request, [attachments.image(source, f"images[{place}]") for place, source in enumerate(_several(value))])


def _files(request: ChatRequest, value: Any) -> None:
    _attach(request, [attachments.file(source, f"files[{place}]") for place, source in enumerate(_several(value))])


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _attach(request: ChatRequest, parts: list[Any]) -> None:
    """Insert ``parts`` before the text of the last user message, as vendors recommend. Raises ``BadInput`` if there is none."""
    for message in reversed(request.messages):
        if message.role == "user":
            message.parts[:0] = parts
            return
    raise BadInput("images and files need a user message to go with: add one", field="messages")


def _reasoning(request: ChatRequest, value: Any) -> None:
    match value:
        case Thinking():
            request.reasoning = value
        case bool():
            request.reasoning = Thinking(effort="medium" if value else "none")
        case int() if value >= -1:
            request.reasoning = Thinking(budget=value)
        case str() if value in ORDER:
            request.reasoning = Thinking(effort_named(value))
        case _:
            raise bad("reasoning", f"one of {', '.join(ORDER)}, or a maximum number of reasoning tokens", value)


def _stop(request: ChatRequest, value: Any) -> None:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, (list, tuple)) or not all(isinstance(text, str) and text for text in stops):
        raise bad("stop", "a string that is not empty, or a list of them", value)
    request.stop = list(stops)


def _logprobs(request: ChatRequest, value: Any) -> None:
    request.logprobs = 0 if value is True else None if value is False else _plain(_PLAIN["logprobs"], value)


def _extra(request: ChatRequest, value: Any) -> None:
    request.extra = dict(item(value, "extra"))


def _models(request: ChatRequest, value: Any) -> None:
    raise BadInput("models are called if model fails, and this one is asked by itself: omit it", field="models")


def _provider(request: ChatRequest, value: Any) -> None:
    raise BadInput("provider chooses among targets, and this one is asked by itself: omit it", field="provider")


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
    "models": _models,
    "provider": _provider,
}


def system_first(request: ChatRequest, system: str | None) -> None:
    """Insert a system message before the conversation. Raises ``BadInput`` if ``system`` is not text."""
    if system is not None:
        if not isinstance(system, str):
            raise BadInput(f"system is {type(system).__name__}; it must be text", field="system")
        role: Role = "system"
        parts: list[Part] = [TextPart(system)]
        request.messages.insert(0, ChatMessage(role, parts))


ask_of = request_of
"""Its earlier name."""
