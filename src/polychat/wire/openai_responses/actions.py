"""Actions of the Responses API that the client carries out: calls of special kinds, and their results.

In common terms each is a ``ToolCall`` whose ``kind`` is the item's type and whose arguments are the item's own fields as JSON.
"""

from __future__ import annotations

from typing import Any

from ...types import ImagePart, TextPart, ToolCall, ToolResult
from ..checks import data_url
from ..json_text import encoded, is_raw, json_of, level, object_in
from .constants import Object

CUSTOM = "custom_tool_call"
SEARCH = "tool_search_call"
APPROVAL = "mcp_approval_request"
ACTIONS = {
    "local_shell_call": "local_shell",
    "shell_call": "shell",
    "apply_patch_call": "apply_patch",
    "computer_call": "computer",
    SEARCH: "tool_search",
    APPROVAL: APPROVAL,
}
"""Each kind of action, and the name of the tool that it calls."""
RESULTS = {
    "local_shell_call_output": "local_shell_call",
    "shell_call_output": "shell_call",
    "apply_patch_call_output": "apply_patch_call",
    "computer_call_output": "computer_call",
    "tool_search_output": SEARCH,
    "mcp_approval_response": APPROVAL,
}
"""Each kind of result, and the action it belongs to."""
_ABOUT = ("type", "id", "status", "call_id")


def is_action(item: Object) -> bool:
    """Whether the client carries it out: the backend has shells and a tool search of its own as well."""
    kind = item.get("type")
    if kind not in ACTIONS or call_id_of(item) is None:
        return False
    if kind == SEARCH:
        return item.get("execution") == "client"
    place = item.get("environment")
    return kind != "shell_call" or not isinstance(place, dict) or place.get("type") == "local"


def call_id_of(item: Object) -> str | None:
    """The id by which its result refers to it."""
    name = item.get("id" if item.get("type") == APPROVAL else "call_id")
    return name if isinstance(name, str) and name else None


def arguments_of(item: Object) -> str:
    """The action's fields as JSON. Raises ``ValueError`` for values that JSON cannot contain."""
    if item.get("type") == SEARCH:
        arguments = item.get("arguments")
        return arguments if isinstance(arguments, str) else json_of({} if arguments is None else arguments)
    return json_of({name: value for name, value in item.items() if name not in _ABOUT})


def item_of(call: ToolCall) -> Object:
    """The action as an item."""
    arguments = read(call.arguments)
    if call.kind == APPROVAL:
        return {"type": APPROVAL, "id": call.id, **arguments}
    if call.kind == SEARCH:
        arguments = {"execution": "client", "arguments": arguments}
    named = {"id": call.id} if call.kind == "local_shell_call" else {}  # the API requires it for this kind only
    return {"type": call.kind, **named, "call_id": call.id, "status": "completed", **arguments}


def read(arguments: str) -> Object:
    """Arguments as an object; an empty one if they are not an object."""
    value = object_in(arguments)
    if is_raw(value):
        value = level(value)
    return value if isinstance(value, dict) else {}


def result_of(result: ToolResult, kind: str) -> Object:
    """The result of an action of this kind, as an item; for results whose original item is not available any more."""
    text = "\n".join(part.text for part in result.parts if isinstance(part, TextPart))
    match kind:
        case "shell_call":
            outcome = {"type": "exit", "exit_code": int(result.is_error)}
            output: Object = {"output": [{"stdout": text, "stderr": "", "outcome": outcome}]}
        case "apply_patch_call":
            output = {"status": "failed" if result.is_error else "completed", "output": text}
        case "computer_call":
            output = {"output": {"type": "computer_screenshot", **_picture(result)}}
        case "tool_search_call":
            output = {"execution": "client", "status": "completed", "tools": _tools(text)}
        case "mcp_approval_request":
            return {"type": "mcp_approval_response", "approval_request_id": result.id, "approve": _is_yes(text)}
        case _:
            output = {"id": result.id, "output": text}
    type_ = next(name for name, of in RESULTS.items() if of == kind)
    return {"type": type_, "call_id": result.id, **output}


def result_text(item: Object) -> str:
    """The text of a result item, for backends that do not support such items."""
    match item:
        case {"output": str(text)}:
            return text
        case {"type": "tool_search_output", "tools": list(tools)}:
            return encoded({"tools": [_outline(tool) for tool in tools if isinstance(tool, dict)]}).decode()
        case {"output": value}:
            return encoded(value).decode()
    members = {name: value for name, value in item.items() if name not in ("type", "id", "call_id", "approval_request_id")}
    return encoded(members).decode()


def _outline(tool: Object) -> Object:
    return {name: tool[name] for name in ("type", "name", "description") if name in tool}


def _picture(result: ToolResult) -> Object:
    for part in result.parts:
        if isinstance(part, ImagePart):
            return {"image_url": part.url if part.data is None else data_url(part.media_type, part.data)}
    return {}


def _tools(text: str) -> list[Any]:
    tools = read(text).get("tools")
    return tools if isinstance(tools, list) else []


def _is_yes(text: str) -> bool:
    approve = read(text).get("approve")
    return approve if isinstance(approve, bool) else text.strip().lower() in ("true", "yes", "approve", "approved")
