"""Server side: items of ``input`` as messages of a conversation."""

from __future__ import annotations

from typing import Any

from ...errors import BadInput
from ...types import (
    AudioPart,
    ChatMessage,
    FilePart,
    HostedTool,
    ImagePart,
    Opaque,
    Part,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    Tool,
    ToolCall,
    ToolResult,
)
from ..adapting import full_name
from ..checks import bad, from_base64, from_data_url, optional_text, record, several, text
from ..extras import rest
from .actions import ACTIONS, RESULTS, arguments_of, call_id_of, is_action, result_text
from .constants import Object
from .sealed import call_of, item_id, unsealed, whole_item
from .tools import read_tools

_AUDIO = {"mp3": "audio/mpeg"}
_ITEM = ("type", "id", "status")
"""The backend's own id of an item and its status: not needed in a complete item."""


class ConversationReader:
    """Reads items in order. Consecutive text, reasoning and calls of the assistant become one message."""

    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        self.tools: list[Tool | HostedTool] = []
        """Tools that are defined within the conversation."""
        self._has_text = False
        """The assistant's message has text already, and its ``extra`` is that of the item with the text."""
        self._calls: dict[str, ToolCall] = {}
        self._hosted: set[str] = set()
        """The ids of calls that the backend itself carried out."""
        self._signatures: dict[str, Opaque] = {}

    def read(self, item: object, path: str) -> None:
        """Read one item. Raises ``BadInput`` naming the field."""
        value = record(item, path)
        kind = optional_text(value.get("type"), f"{path}.type") or ("message" if "role" in value else "item_reference")
        match kind:
            case "message":
                self._message(value, path)
            case "function_call":
                self._call(value, path, "arguments", "function")
            case "custom_tool_call":
                self._call(value, path, "input", "custom")
            case "function_call_output" | "custom_tool_call_output":
                self._result(value, path)
            case "additional_tools":
                self.tools += read_tools(value.get("tools"), f"{path}.tools")
            case kind if kind in ACTIONS and is_action(value):
                self._action(value, path)
            case kind if kind in RESULTS and self._answers(value):
                self._outcome(value, path)
            case "reasoning":
                self._reasoning(value, path)
            case _:
                if kind == "item_reference":
                    text(value.get("id"), f"{path}.id")
                if isinstance(call := value.get("call_id"), str):
                    self._hosted.add(call)
                # Only the backend that made the item understands it, in either case.
                self._assistant().parts.append(ReasoningPart(opaque=whole_item({**value, "type": kind}, path)))

    def _message(self, item: Object, path: str) -> None:
        role, extra = item.get("role"), rest(item, (*_ITEM, "role", "content"))
        parts = parts_of(item.get("content"), f"{path}.content")
        if role == "assistant":
            message = self._assistant()
            if self._has_text and message.extra != extra:
                message = self._new("assistant")
            message.parts += parts
            message.extra, self._has_text = extra, True
        elif role in ("user", "system", "developer"):
            message = self._new(role)
            message.parts, message.extra = parts, extra
        else:
            raise bad(f"{path}.role", "user, assistant, system or developer", role)

    def _call(self, item: Object, path: str, of: str, kind: str) -> None:
        """A call whose arguments are in the field ``of``."""
        group = optional_text(item.get("namespace"), f"{path}.namespace")
        name = text(item.get("name"), f"{path}.name")
        call = ToolCall(
            text(item.get("call_id"), f"{path}.call_id"),
            name if not group else full_name(group, name),
            text(item.get(of), f"{path}.{of}"),
            extra=rest(item, (*_ITEM, "call_id", "name", of)),
            kind=kind,
        )
        self._take_call(call)

    def _action(self, item: Object, path: str) -> None:
        kind = item["type"]
        try:
            self._take_call(ToolCall(call_id_of(item) or "", ACTIONS[kind], arguments_of(item), kind=kind))
        except (ValueError, TypeError) as error:
            raise BadInput(f"{path} contains a value that cannot be sent as JSON: {error}", field=path) from error

    def _take_call(self, call: ToolCall) -> None:
        call.opaque = self._signatures.pop(call.id, None)
        self._calls[call.id] = call
        self._assistant().parts.append(call)

    def _answers(self, item: Object) -> bool:
        """Whether it is the result of an action that the client carried out, not of one that the backend did."""
        call = _answered(item)
        return call is not None and call not in self._hosted

    def _outcome(self, item: Object, path: str) -> None:
        call = _answered(item) or ""
        if item["type"] == "tool_search_output":
            self.tools += read_tools(item.get("tools") or [], f"{path}.tools")
        match item.get("output"):
            case {"type": "computer_screenshot", "image_url": str()} as shot:
                parts: list[Any] = [_image(record(shot, f"{path}.output"), f"{path}.output")]
            case _:
                parts = [TextPart(result_text(item))]
        self._answer(ToolResult(call, parts, ACTIONS[RESULTS[item["type"]]], extra=dict(item)))

    def _answer(self, result: ToolResult) -> None:
        message = self.messages[-1] if self.messages and self.messages[-1].role == "tool" else self._new("tool")
        message.parts.append(result)

    def _result(self, item: Object, path: str) -> None:
        call = text(item.get("call_id"), f"{path}.call_id")
        parts: list[Any] = parts_of(item.get("output"), f"{path}.output")
        for at, part in enumerate(parts):
            if not isinstance(part, TextPart | ImagePart | FilePart):
                raise bad(f"{path}.output[{at}].type", "input_text, input_image or input_file", None)
        name = optional_text(item.get("name"), f"{path}.name")
        extra = rest(item, (*_ITEM, "call_id", "output"))
        if call in self._calls:
            name = self._calls[call].name  # the full name, including the group
        elif item["type"] != "function_call_output":
            extra = {**(extra or {}), "type": item["type"]}
        self._answer(ToolResult(call, parts, name, extra=extra))

    def _reasoning(self, item: Object, path: str) -> None:
        summary = _texts(item.get("summary"), f"{path}.summary")
        full = _texts(item.get("content"), f"{path}.content")
        content = optional_text(item.get("encrypted_content"), f"{path}.encrypted_content")
        if content is not None and (signed := call_of(content)) is not None:
            self._signature(signed[0], unsealed(signed[1]))
            return
        opaque: Opaque | None = None
        if content is not None:
            opaque = unsealed(content, item.get("id"))
        elif item_id(item.get("id")) is not None:
            opaque = whole_item(item, path, redacted=False)  # the backend has stored it under its id
        extra = rest(item, (*_ITEM, "summary", "content", "encrypted_content"))
        if full and summary:
            extra = {**(extra or {}), "summary": item["summary"]}
        self._assistant().parts.append(ReasoningPart("\n\n".join(full or summary), opaque, extra))

    def _signature(self, call: str, opaque: Opaque) -> None:
        if call in self._calls:
            self._calls[call].opaque = opaque
        else:
            self._signatures[call] = opaque

    def _assistant(self) -> ChatMessage:
        return self.messages[-1] if self.messages and self.messages[-1].role == "assistant" else self._new("assistant")

    def _new(self, role: Role) -> ChatMessage:
        self._has_text = False
        self.messages.append(ChatMessage(role, []))
        return self.messages[-1]


def _answered(item: Object) -> str | None:
    """The call that a result belongs to."""
    name = item.get("approval_request_id") or item.get("call_id") or item.get("id")
    return name if isinstance(name, str) else None


def parts_of(content: object, path: str) -> list[Part]:
    """The parts of a message or of a tool's output. Raises ``BadInput``."""
    if isinstance(content, str):
        return [TextPart(content)] if content else []
    return [_part(record(item, f"{path}[{at}]"), f"{path}[{at}]") for at, item in enumerate(several(content, path))]


def _part(part: Object, path: str) -> Part:
    match part.get("type"):
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            empty = [name for name in ("annotations", "logprobs") if part.get(name) == []]
            return TextPart(text(part.get("text"), f"{path}.text"), extra=rest(part, ("type", "text", *empty)))
        case "refusal":
            return RefusalPart(text(part.get("refusal"), f"{path}.refusal"))
        case "input_image":
            return _image(part, path)
        case "input_audio":
            audio = record(part.get("input_audio"), f"{path}.input_audio")
            form = text(audio.get("format"), f"{path}.input_audio.format")
            data = from_base64(text(audio.get("data"), f"{path}.input_audio.data"), f"{path}.input_audio.data")
            return AudioPart(data, _AUDIO.get(form, f"audio/{form}"), rest(part, ("type", "input_audio")))
        case "input_file":
            return _file(part, path)
        case kind:
            raise bad(f"{path}.type", "input_text, output_text, refusal, input_image, input_audio or input_file", kind)


def _image(part: Object, path: str) -> ImagePart | FilePart:
    detail = optional_text(part.get("detail"), f"{path}.detail")
    if part.get("image_url") is None and part.get("file_id") is not None:
        held = text(part["file_id"], f"{path}.file_id")
        return FilePart(id=held, extra={"type": "input_image", **(rest(part, ("type", "file_id")) or {})})
    url = text(part.get("image_url"), f"{path}.image_url")
    image = ImagePart(detail=None if detail == "auto" else detail, extra=rest(part, ("type", "image_url", "detail")))
    if url.startswith("data:"):
        image.media_type, image.data = from_data_url(url, f"{path}.image_url")
    else:
        image.url = url
    return image


def _file(part: Object, path: str) -> FilePart:
    extra = rest(part, ("type", "filename", "file_url", "file_data", "file_id"))
    file = FilePart(name=optional_text(part.get("filename"), f"{path}.filename"), extra=extra)
    file.id = optional_text(part.get("file_id"), f"{path}.file_id")
    file.url = optional_text(part.get("file_url"), f"{path}.file_url")
    data = optional_text(part.get("file_data"), f"{path}.file_data")
    if sum(value is not None for value in (file.id, file.url, data)) != 1:
        raise bad(path, "a file with one of file_data, file_url and file_id", part)
    if data is not None:
        if data.startswith("data:"):
            file.media_type, file.data = from_data_url(data, f"{path}.file_data")
        else:
            file.data, file.media_type = from_base64(data, f"{path}.file_data"), "application/pdf"
    return file


def _texts(value: object, path: str) -> list[str]:
    if value is None:
        return []
    return [
        text(record(item, f"{path}[{at}]").get("text"), f"{path}[{at}].text") for at, item in enumerate(several(value, path))
    ]
