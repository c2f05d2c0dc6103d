"""The half that answers: a request's body as the ask it is, strictly. Both endpoints; each streams unless told otherwise."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any, get_args

from ...errors import BadInput, redact
from ...types import (
    ChatMessage,
    ChatRequest,
    Effort,
    Format,
    HostedTool,
    ImagePart,
    Part,
    ReasoningPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from ..checks import flag, item, json_object, several, text, whole
from ..extras import remaining
from ..json_text import encoded
from ..limits import LIMITS, Limits
from ..plain import reader
from ..tags import untagged
from .constants import CALL_SIGNATURE, NAME, NO_PARAMETERS, THOUGHT_SIGNATURE, VENDOR, image_type

_read_plain = reader(NAME)
_read_options = reader(NAME, "options")
_ROLES = ("system", "developer", "user", "assistant", "tool")
Object = dict[str, Any]


def read_request(body: bytes, model: str | None = None, stream: bool | None = None, limits: Limits = LIMITS) -> ChatRequest:
    """The ask that a body of ``/api/chat`` is. Raises ``BadInput`` naming the field.

    No messages are an ask without turns: such a one wants the model loaded, or, with ``keep_alive`` 0, unloaded.
    """
    rest = json_object(body, limits)
    messages = rest.pop("messages", None)
    turns = [] if messages is None else _turns(several(messages, "messages"))
    request = ChatRequest(text(rest.pop("model", model), "model"), turns, wire=NAME)
    if (tools := rest.pop("tools", None)) is not None:
        request.tools = [_tool(one, f"tools[{place}]") for place, one in enumerate(several(tools, "tools"))]
    return _settings(rest, request, stream)


def read_generate_request(
    body: bytes, model: str | None = None, stream: bool | None = None, limits: Limits = LIMITS
) -> ChatRequest:
    """The ask that a body of ``/api/generate`` is: its system text and its prompt as turns. Raises ``BadInput``.

    ``suffix``, ``template``, ``context`` and ``raw`` stand in ``extra``. No prompt is an ask without a user's turn.
    """
    rest = json_object(body, limits)
    request = ChatRequest(text(rest.pop("model", model), "model"), [], wire=NAME)
    if system := _said(rest, "system"):
        request.turns.append(ChatMessage("system", [TextPart(system)]))
    prompt = _said(rest, "prompt")
    parts: list[Part] = [*_images(rest.pop("images", None), "images")]
    parts += [TextPart(prompt)] if prompt else []
    if parts:
        request.turns.append(ChatMessage("user", parts))
    return _settings(rest, request, stream)


def _said(rest: Object, name: str, field: str | None = None) -> str:
    """A text that may be missing."""
    value = rest.pop(name, None)
    return "" if value is None else text(value, field or name)


def _settings(rest: Object, request: ChatRequest, stream: bool | None) -> ChatRequest:
    streamed = rest.pop("stream", None)
    request.stream = stream is not False if streamed is None else flag(streamed, "stream")
    top = rest.pop("top_logprobs", None)
    if (asked := rest.pop("logprobs", None)) is not None and flag(asked, "logprobs"):
        request.logprobs = 0 if top is None else whole(top, "top_logprobs")
    request.format = _format(rest.pop("format", None))
    request.reasoning = _thinking(rest)
    options = rest.pop("options", None)
    if options is not None and (left := _options(item(options, "options"), request)):
        rest["options"] = left
    request.extra = _read_plain(rest, request)
    return request


def _options(options: Mapping[str, Any], request: ChatRequest) -> Object:
    """Sets what the common words have; gives the rest."""
    left = _read_options(options, request, "options.")
    if (most := left.pop("num_predict", None)) is not None:
        most = whole(most, "options.num_predict")
        if most > 0:
            request.max_tokens = most
        else:
            left["num_predict"] = most  # -1 is without end, -2 to the context's: no number
    return left


def _format(value: object) -> Format | None:
    if value is None or value == "":
        return None
    if value == "json":
        return Format("json")
    if isinstance(value, dict):
        return Format("schema", value)
    raise BadInput('format must be "json" or a JSON schema', field="format")


def _thinking(rest: Object) -> Thinking | None:
    """``think``; a level that only some models know stays in ``rest``."""
    match rest.pop("think", None):
        case None | "":
            return None
        case bool(wanted):
            return Thinking(budget=-1) if wanted else Thinking("none")
        case str(level) if level in get_args(Effort):
            return Thinking(level)  # type: ignore[arg-type]  # one of them
        case str(level):
            rest["think"] = level
            return None
    raise BadInput("think must be true, false or a level such as low, medium or high", field="think")


def _tool(value: object, field: str) -> Tool | HostedTool:
    said = dict(item(value, field))
    kind = text(said.pop("type", "function"), f"{field}.type")
    if kind != "function":
        return HostedTool(kind, {"type": kind, **said})
    function = dict(item(said.pop("function", None), f"{field}.function"))
    name = text(function.pop("name", None), f"{field}.function.name")
    about = function.pop("description", None)
    schema = function.pop("parameters", None)
    if schema is not None:
        schema = dict(item(schema, f"{field}.function.parameters"))
    return Tool(
        name,
        None if about is None else text(about, f"{field}.function.description"),
        None if schema == NO_PARAMETERS else schema,
        extra=remaining(said, "function", function),
    )


class _Calls:
    """The calls of a conversation: gives ids to those that came without, and their results the same ones."""

    def __init__(self, messages: Any) -> None:
        self._taken = {known for message in messages for known in _ids(message)}
        self._open: list[ToolCall] = []
        self._made = 0

    def named(self, known: str) -> str:
        return known or self._fresh()

    def made(self, calls: list[ToolCall]) -> None:
        """The calls of one turn, which now wait for results."""
        self._open = calls.copy()

    def answered(self, known: str, name: str) -> tuple[str, str]:
        """The id and name of the call that a result answers: by its id, else the first that waits by that name."""
        for call in self._open:
            if call.id == known if known else name in ("", call.name):
                self._open.remove(call)
                return call.id, name or call.name
        return self.named(known), name

    def _fresh(self) -> str:
        while (fresh := f"call_{self._made}") in self._taken:
            self._made += 1
        self._taken.add(fresh)
        return fresh


def _ids(message: Any) -> list[str]:
    """The ids in a message, whatever its shape."""
    if not isinstance(message, dict):
        return []
    calls = message.get("tool_calls")
    found = [call.get("id") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return [known for known in (*found, message.get("tool_call_id")) if isinstance(known, str)]


def _turns(messages: Any) -> list[ChatMessage]:
    """A conversation. Results of tools that follow one another are one turn."""
    turns: list[ChatMessage] = []
    calls = _Calls(messages)
    for place, message in enumerate(messages):
        turn = _turn(dict(item(message, f"messages[{place}]")), f"messages[{place}]", calls)
        if turn.role == "tool" and turns and turns[-1].role == "tool":
            turns[-1].parts += turn.parts
        else:
            turns.append(turn)
    return turns


def _turn(rest: Object, field: str, calls: _Calls) -> ChatMessage:
    role = text(rest.pop("role", None), f"{field}.role").lower()
    content = _said(rest, "content", f"{field}.content")
    parts: list[Any] = [*_images(rest.pop("images", None), f"{field}.images")]
    parts += [TextPart(content)] if content else []
    match role:
        case "tool":
            known = _said(rest, "tool_call_id", f"{field}.tool_call_id")
            name = _said(rest, "tool_name", f"{field}.tool_name") or _said(rest, "name", f"{field}.name")
            call, name = calls.answered(known, name)
            return ChatMessage("tool", [ToolResult(call, parts, name or None, extra=remaining(rest))])
        case "assistant":
            parts = [*_thought(rest, field), *parts]
            called = rest.pop("tool_calls", None)
            where = f"{field}.tool_calls"
            if called is not None:
                made = [_call(one, f"{where}[{at}]", calls) for at, one in enumerate(several(called, where))]
                calls.made(made)
                parts += made
            return ChatMessage("assistant", parts, extra=remaining(rest))
        case "system" | "developer" | "user":
            return ChatMessage(role, parts, extra=remaining(rest))
    raise BadInput(f"{field}.role is {redact(role, 60)!r}; it must be one of {', '.join(_ROLES)}", field=f"{field}.role")


def _thought(rest: Object, field: str) -> list[ReasoningPart]:
    words = _said(rest, "thinking", f"{field}.thinking")
    signature = _said(rest, THOUGHT_SIGNATURE, f"{field}.{THOUGHT_SIGNATURE}")
    opaque = untagged(signature, VENDOR) if signature else None
    return [ReasoningPart(words, opaque)] if words or opaque is not None else []


def _call(value: object, field: str, calls: _Calls) -> ToolCall:
    said = dict(item(value, field))
    function = dict(item(said.pop("function", None), f"{field}.function"))
    name = text(function.pop("name", None), f"{field}.function.name")
    given = function.pop("arguments", None)
    arguments = "{}" if given is None else _json(item(given, f"{field}.function.arguments"), f"{field}.function.arguments")
    function.pop("index", None)
    known = _said(said, "id", f"{field}.id")
    signature = _said(said, CALL_SIGNATURE, f"{field}.{CALL_SIGNATURE}")
    said.pop("type", None)
    opaque = untagged(signature, VENDOR) if signature else None
    return ToolCall(calls.named(known), name, arguments, opaque, extra=remaining(said, "function", function))


def _json(value: Any, field: str) -> str:
    try:
        return encoded(value).decode()
    except (ValueError, OverflowError):
        raise BadInput(f"{field} holds what JSON cannot carry", field=field) from None


def _images(value: object, field: str) -> list[ImagePart]:
    if value is None:
        return []
    return [_image(one, f"{field}[{place}]") for place, one in enumerate(several(value, field))]


def _image(value: object, field: str) -> ImagePart:
    said = text(value, field)
    try:
        data = a2b_base64(said, strict_mode=True)
    except ValueError:
        raise BadInput(f"{field} is not base64: the API takes images by their bytes", field=field) from None
    return ImagePart(data=data, media_type=image_type(data))
