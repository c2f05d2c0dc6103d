"""Adapts a request to a wire without some of its tools: free-text tools become functions, and long names are shortened.

``adapted`` changes the request before it is written. The ``Calls`` that it returns change the calls of the reply back, so that
the caller sees the tools by the names and in the form that it gave them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from itertools import count
from typing import Any

from ..events import Event, Finish, ToolCallPiece
from ..types import ChatMessage, ChatRequest, FilePart, HostedTool, Part, ReasoningPart, Tool, ToolCall, ToolResult
from .json_text import decoded, encoded

INPUT = "input"
"""The argument that holds the free text."""
AS_FUNCTION = "as a function whose only argument is the text, named input"
"""The function that replaces a free-text tool on wires that have functions only."""
LONGEST = 64
"""Maximum characters of a tool's name that every vendor accepts."""

_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST}}}")
_OTHER = re.compile(r"[^A-Za-z0-9_-]")


def adapted(request: ChatRequest, *, custom: bool, named: bool = True) -> tuple[ChatRequest, Calls | None]:
    """``request`` for a wire with or without free-text tools (``custom``), and the ``Calls`` that undo that in the reply.

    The second is ``None`` if nothing changes. ``named``: names of tools are shortened too.
    """
    free = set() if custom else _free_text_tools(request)
    names = _short_names(request) if named else {}
    if not free and not names:
        return request, None
    back = {short: name for name, short in names.items()}
    tools: list[Tool | HostedTool] = [
        tool if isinstance(tool, HostedTool) else _tool(tool, names, free) for tool in request.tools
    ]
    choice = request.tool_choice
    if choice is not None and choice.name is not None:
        choice = replace(choice, name=names.get(choice.name, choice.name))
    messages = [_message(message, names, custom=custom) for message in request.messages]
    return replace(request, tools=tools, tool_choice=choice, messages=messages), Calls(back, free)


def without_foreign(request: ChatRequest, wire: str) -> ChatRequest:
    """``request`` without the tools that another vendor's backend runs, and without a tool choice that names a removed tool."""
    if request.wire == wire or not any(isinstance(tool, HostedTool) for tool in request.tools):
        return request
    tools: list[Tool | HostedTool] = [tool for tool in request.tools if isinstance(tool, Tool)]
    choice = request.tool_choice
    if not tools or (
        choice is not None
        and choice.mode == "named"
        and choice.name not in {tool.name for tool in request.tools if isinstance(tool, Tool)}
    ):
        choice = None
    return replace(request, tools=tools, tool_choice=choice, parallel_tool_calls=request.parallel_tool_calls if tools else None)


def without_foreign_files(request: ChatRequest) -> ChatRequest:
    """``request`` without the files that it refers to only by an id: another vendor cannot read them."""
    return replace(request, messages=[replace(message, parts=_own_files(message.parts)) for message in request.messages])


def _own_files(parts: list[Any]) -> list[Any]:
    kept_parts = [part for part in parts if not (isinstance(part, FilePart) and part.id is not None)]
    return [replace(part, parts=_own_files(part.parts)) if isinstance(part, ToolResult) else part for part in kept_parts]


def without_unreadable(request: ChatRequest, vendor: str) -> ChatRequest:
    """``request`` without messages that hold only parts that another vendor reads: they would become empty messages."""
    if all(message.role != "assistant" or not _is_blank(message, vendor) for message in request.messages):
        return request
    return replace(
        request,
        messages=[message for message in request.messages if message.role != "assistant" or not _is_blank(message, vendor)],
    )


def _is_blank(message: ChatMessage, vendor: str) -> bool:
    return bool(message.parts) and all(
        type(part) is ReasoningPart and not part.text and (part.opaque is None or part.opaque.vendor != vendor)
        for part in message.parts
    )


def required_hosted_tool(request: ChatRequest, wire: str) -> str | None:
    """The name of the hosted tool that ``request`` requires, if ``wire`` is not the one that has it."""
    hosted = [tool for tool in request.tools if isinstance(tool, HostedTool)]
    if request.wire == wire or not hosted:
        return None
    other = request.extra.get("tool_choice")
    if isinstance(other, dict) and (kind := other.get("type")) in {tool.kind for tool in hosted}:
        return str(kind)
    choice = request.tool_choice
    if choice is None:
        return None
    if choice.mode == "named":
        return next((tool.kind for tool in hosted if choice.name in (tool.spec.get("name"), tool.kind)), None)
    return hosted[0].kind if choice.mode == "required" and len(hosted) == len(request.tools) else None


def _free_text_tools(request: ChatRequest) -> set[str]:
    """The names of free-text tools, including those of earlier calls."""
    free = {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.kind == "custom"}
    for message in request.messages:
        if message.role == "assistant":
            free |= {part.name for part in message.parts if isinstance(part, ToolCall) and part.kind == "custom"}
    return free


def _short_names(request: ChatRequest) -> dict[str, str]:
    """Names that some vendors reject, each with its replacement, which is the same in every request so that caches match."""
    names = {tool.name for tool in request.tools if isinstance(tool, Tool)}
    for message in request.messages:
        if message.role == "assistant":
            names |= {part.name for part in message.parts if isinstance(part, ToolCall)}
    unfit = sorted(name for name in names if name and not _PLAIN.fullmatch(name))
    if not unfit:
        return {}
    taken = names.difference(unfit)
    short: dict[str, str] = {}
    for name in unfit:
        short[name] = _valid_name(name, taken)
        taken.add(short[name])
    return short


def _valid_name(name: str, taken: set[str]) -> str:
    """A valid name that is not one of ``taken``."""
    for tries in count():
        source = name if tries == 0 else f"{name}\0{tries}"
        mark = sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        candidate = f"{_OTHER.sub('_', name)[: LONGEST - 9]}_{mark}"
        if candidate not in taken:
            break
    return candidate


def _tool(tool: Tool, names: dict[str, str], free: set[str]) -> Tool:
    name = names.get(tool.name, tool.name)
    if tool.kind != "custom" or tool.name not in free:
        return tool if name == tool.name else replace(tool, name=name)
    about = [tool.description] if tool.description else []
    match tool.format:
        case {"syntax": str(syntax), "definition": str(definition)}:
            about.append(f"The input follows this grammar ({syntax}):\n{definition}")
    text = {"type": "string", "description": "The whole input of the tool, as plain text."}
    schema = {"type": "object", "properties": {INPUT: text}, "required": [INPUT], "additionalProperties": False}
    return Tool(name, "\n\n".join(about) or None, schema, cache=tool.cache, namespace=tool.namespace)


def _message(message: ChatMessage, names: dict[str, str], *, custom: bool) -> ChatMessage:
    if message.role not in ("assistant", "tool"):
        return message
    return replace(message, parts=[_part(part, names, custom=custom) for part in message.parts])


def _part(part: Part, names: dict[str, str], *, custom: bool) -> Part:
    if isinstance(part, ToolCall):
        if part.kind == "custom" and not custom:
            part = replace(part, kind="function", arguments=as_arguments(part.arguments), extra=None)
        return replace(part, name=names[part.name]) if part.name in names else part
    if isinstance(part, ToolResult) and part.name in names:
        return replace(part, name=names[part.name])
    return part


def as_arguments(text: str) -> str:
    """Free text as the arguments of the function that replaces its tool."""
    try:
        return encoded({INPUT: text}).decode()
    except ValueError:  # half a surrogate pair
        return encoded({INPUT: text.encode("utf-8", "replace").decode()}).decode()


class Calls:
    """Changes the calls of one reply back. ``names``: original names by the name that was sent; ``free``: free-text tools."""

    def __init__(self, names: dict[str, str], free: set[str]) -> None:
        self._names, self._free = names, free
        self._open: dict[tuple[int, int], FreeText] = {}

    def take(self, events: list[Event]) -> list[Event]:
        if all(type(event) not in (ToolCallPiece, Finish) for event in events):
            return events
        adapted_events: list[Event] = []
        for event in events:
            if type(event) is ToolCallPiece:
                adapted_events.append(self._piece(event))
            else:
                adapted_events += self._rest() if type(event) is Finish else ()
                adapted_events.append(event)
        return adapted_events

    def _piece(self, piece: ToolCallPiece) -> ToolCallPiece:
        place = (piece.choice, piece.index)
        name = None if piece.name is None else self._names.get(piece.name, piece.name)
        if name in self._free and place not in self._open and piece.kind == "function":
            self._open[place] = FreeText()
        text = self._open.get(place)
        if text is None:
            return piece if name == piece.name else replace(piece, name=name)
        return replace(piece, name=name, arguments=text.feed(piece.arguments), kind="custom")

    def _rest(self) -> list[Event]:
        rest: list[Event] = []
        for (choice, index), text in self._open.items():
            if arguments := text.end():
                rest.append(ToolCallPiece(index, None, None, arguments, None, choice, "custom"))
        self._open.clear()
        return rest


class AsFunctions:
    """Calls of free-text tools, for backends that have functions only: each becomes a function whose argument is the text."""

    def __init__(self) -> None:
        self._open: tuple[int, int] | None = None
        """The free-text calls whose text is not closed yet."""

    def take(self, events: list[Event]) -> list[Event]:
        adapted_events: list[Event] = []
        for event in events:
            if type(event) is ToolCallPiece:
                if (event.choice, event.index) != self._open:
                    adapted_events += self._closed()
                adapted_events.append(event if event.kind == "function" else self._piece(event))
            else:
                adapted_events += self._closed() if type(event) is Finish else ()
                adapted_events.append(event)
        return adapted_events

    def _closed(self) -> list[Event]:
        place, self._open = self._open, None
        return [] if place is None else [ToolCallPiece(place[1], arguments='"}', choice=place[0])]

    def _piece(self, piece: ToolCallPiece) -> ToolCallPiece:
        if piece.kind != "custom":
            return replace(piece, kind="function")
        begin = "" if self._open is not None else f'{{"{INPUT}":"'
        self._open = (piece.choice, piece.index)
        return replace(piece, kind="function", arguments=begin + as_arguments(piece.arguments)[len(INPUT) + 5 : -2])


_HEAD = re.compile(rf'\s*\{{\s*"{INPUT}"\s*:\s*"')
_LONGEST_HEAD = 256
_SPECIAL = re.compile(r'["\\]')
_ESCAPE = re.compile(r'\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\["\\/bfnrt]')
_HIGH = re.compile(r"\\u[dD][89abAB]..")


class FreeText:
    """Extracts the text from ``{"input": "…"}`` as it arrives. Arguments of another shape are returned at their end."""

    def __init__(self) -> None:
        self._state = "head"
        self._held: list[str] = []

    def feed(self, piece: str) -> str:
        """The text that is known now and was not returned before."""
        if not piece or self._state == "over":
            return ""
        self._held.append(piece)
        if self._state == "other":
            return ""
        held = "".join(self._held)
        self._held = [held]
        if self._state == "head":
            head = _HEAD.match(held)
            if head is None:
                self._state = "other" if len(held) > _LONGEST_HEAD else "head"
                return ""
            self._state, held = "text", held[head.end() :]
        return self._text(held)

    def end(self) -> str:
        """The rest, after the last piece."""
        remainder, state = "".join(self._held), self._state
        self._state, self._held = "over", []
        if state == "over" or (state == "text" and remainder.startswith("\\")):  # cut within a character
            return ""
        return remainder if state == "text" else _whole(remainder)

    def _text(self, held: str) -> str:
        pieces: list[str] = []
        at = 0
        while (special := _SPECIAL.search(held, at)) is not None:
            pieces.append(held[at : special.start()])
            at = special.start()
            if special[0] == '"':
                self._state, self._held = "over", []
                return "".join(pieces)
            escape = _ESCAPE.match(held, at)
            if (escape is None or _HIGH.fullmatch(escape[0])) and len(held) - at < 12:
                self._held = [held[at:]]
                return "".join(pieces)
            sign = held[at : at + 2] if escape is None else escape[0]
            pieces.append(_unescaped(sign))
            at += len(sign)
        pieces.append(held[at:])
        self._held = []
        return "".join(pieces)


def _unescaped(sign: str) -> str:
    try:
        return str(decoded(f'"{sign}"'.encode()))
    except ValueError:
        return "\ufffd" if sign.startswith("\\u") else sign


def _whole(arguments: str) -> str:
    """The text of complete arguments of any shape: the only text in them, otherwise the arguments themselves."""
    try:
        value = decoded(arguments.encode("utf-8", "replace"))
    except ValueError:
        return arguments
    match value:
        case str():
            return value
        case {"input": str(text)}:
            return text
        case dict() if len(value) == 1 and isinstance(text := next(iter(value.values())), str):
            return text
    return "" if value == {} else arguments


def full_name(namespace: str, name: str) -> str:
    """The full name of a tool in a group."""
    return f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"


def name_in_group(namespace: str | None, name: str) -> str:
    """The name of a tool within its group, from its full name."""
    return name if namespace is None else name.removeprefix(full_name(namespace, ""))
