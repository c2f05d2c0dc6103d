"""Answers that a grammar constrains (JSON, a JSON schema, tool calls), and prompts for a model without tool support.

llama.cpp makes a grammar of a JSON schema, token by token, so that the answer is valid with any model. A tool call is
such an answer: an object with the tool's name and arguments that match the tool's schema, or, if the model may choose, one
with its text. A system message describes the tools, and earlier calls and results are part of the conversation as text.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from ..errors import BadInput
from ..events import Event, Finish, Text, ToolCallPiece
from ..types import ChatRequest, Part, TextPart, Tool, ToolCall, ToolResult
from ..wire.adapting import AS_FUNCTION
from ..wire.field import KEPT, emulated
from ..wire.json_text import decoded

_AS_TEXT = emulated("it is sent in the prompt as text")
SUPPORT = {
    **dict.fromkeys(("format.json", "format.schema", "tools", "tool_choice.required", "tool_choice.named"), KEPT),
    **dict.fromkeys(("messages.tool", "parts.call", "parts.result.text"), _AS_TEXT),
    "parallel_tool_calls": emulated("one tool is called at a time"),
    "tools.custom": emulated(AS_FUNCTION),
}
"""How the fields that a text-only service drops are supported with a grammar."""


class Bound:
    """The format of one request's answer. ``format`` is llama.cpp's ``response_format``, ``None`` if the answer is free."""

    def __init__(self, request: ChatRequest) -> None:
        self.tools = _offered(request)
        self._text: list[str] = []
        self.format: dict[str, Any] | None = None
        if self.tools:
            self.format = _schema_format(
                _calls(self.tools, may_answer=request.tool_choice is None or request.tool_choice.mode == "auto")
            )
        elif request.format is not None and request.format.kind == "json":
            self.format = {"type": "json_object"}
        elif request.format is not None and request.format.schema is not None:
            self.format = _schema_format(request.format.schema)

    def messages(self, request: ChatRequest) -> list[dict[str, str]]:
        """The conversation as text messages, preceded by the tools."""
        messages = [{"role": "system", "content": _instructions(self.tools)}] if self.tools else []
        for message in request.messages:
            text = "\n".join(filter(None, map(_line, message.parts)))
            if text or not message.parts:
                role = {"developer": "system", "tool": "user"}.get(message.role, message.role)
                messages.append({"role": role, "content": text})
        return messages

    def read(self, batch: list[Event]) -> list[Event]:
        """Unconstrained answers unchanged; an answer with tools is held until it is complete, and then is a call or text."""
        if not self.tools:
            return batch
        held: list[Event] = []
        for event in batch:
            if isinstance(event, Text):
                self._text.append(event.text)
            elif isinstance(event, Finish):
                held += self._ended(event)
            else:
                held.append(event)
        return held

    def _ended(self, finish: Finish) -> list[Event]:
        try:
            answer = decoded("".join(self._text).encode())
        except ValueError:  # cut by a limit or a timeout: the finish reports it
            return [finish]
        match answer:
            case {"tool": str(name), "arguments": dict(arguments)}:
                text = json.dumps(arguments, ensure_ascii=False)
                call = ToolCallPiece(0, f"call_{secrets.token_hex(8)}", name, text)
                return [call, Finish(finish.verdict, "tool_calls", finish.error)]
            case {"answer": str(answer)} if answer:
                return [Text(answer), finish]
        return [finish]


def _offered(request: ChatRequest) -> list[Tool]:
    """The tools that may be called now. Raises ``BadInput`` for the choice of a tool that does not exist."""
    choice = request.tool_choice
    tools = [tool for tool in request.tools if isinstance(tool, Tool)]
    if choice is None or choice.mode == "auto" or not tools:
        return tools
    if choice.mode == "none":
        return []
    chosen = [tool for tool in tools if choice.mode == "required" or tool.name == choice.name]
    if not chosen:
        raise BadInput(
            f"tool_choice names {choice.name}, which is not one of the tools: add it, or choose another", field="tool_choice"
        )
    return chosen


def _schema_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _calls(tools: list[Tool], *, may_answer: bool) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    forms = [_object(tool={"const": tool.name}, arguments=_parameters(tool, definitions)) for tool in tools]
    if may_answer:
        forms.append(_object(answer={"type": "string"}))
    return {"anyOf": forms, **({"$defs": definitions} if definitions else {})}


def _parameters(tool: Tool, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a tool's arguments; referenced definitions are moved to the top level, where references point."""
    schema = dict(tool.parameters or {})
    definitions.update(schema.pop("$defs", {}))
    return {"type": "object", "properties": {}, **schema}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _instructions(tools: list[Tool]) -> str:
    lines = [
        f"- {tool.name}: {tool.description or ''} Arguments: {json.dumps(tool.parameters or {}, ensure_ascii=False)}"
        for tool in tools
    ]
    return (
        'You can call these tools. To call one, answer with {"tool": its name, "arguments": {...}}; to answer in words, with '
        '{"answer": "your words"}.\n' + "\n".join(lines)
    )


def _line(part: Part) -> str:
    match part:
        case TextPart(text):
            return text
        case ToolCall(name=name, arguments=arguments):
            return f'{{"tool": {json.dumps(name)}, "arguments": {arguments or "{}"}}}'
        case ToolResult(parts=parts, name=name):
            content = "".join(inner.text for inner in parts if isinstance(inner, TextPart))
            return f"The tool {name or ''} gave: {content}".replace("  ", " ")
    return ""
