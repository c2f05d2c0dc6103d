"""Unique full names of tools: a group and a name in it become one name on every other wire, and two of these can be equal.

``a`` with ``b__c`` is ``a__b__c``, and so are ``a__b`` with ``c`` and a plain function of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from hashlib import sha256
from typing import TypeAlias, TypeGuard

from ...types import ChatMessage, ChatRequest, HostedTool, Part, Tool, ToolCall, ToolResult
from ..adapting import LONGEST, full_name, name_in_group
from .actions import ACTIONS, SEARCH
from .constants import Object
from .tools import CLIENT_NAME, client_name, searches

_Key: TypeAlias = tuple[bool, str, str]
"""Identifies a tool for a client: whether it is the tool search, the group, and the name in the group."""
_MARK = 8


def without_repeats(tools: list[Tool | HostedTool]) -> list[Tool | HostedTool]:
    """Each tool once, by its last definition: requests of a long conversation repeat definitions."""
    last: dict[object, Tool | HostedTool] = {}
    for place, tool in enumerate(tools):
        last[_key(tool) if isinstance(tool, Tool) else place] = tool
    return list(last.values())


def distinguish(request: ChatRequest, choice: object) -> None:
    """Give each tool of ``request`` a unique full name, in its calls and results too.

    ``choice`` is the body's ``tool_choice``. Which tool gets another name, and what name, depends on the tools and not on
    their order; a plain function keeps its own. The tool's extra keeps the client's name, as ``CLIENT_NAME``.
    """
    tools = [tool for tool in request.tools if isinstance(tool, Tool)]
    if all(tool.namespace is None and not searches(tool) for tool in tools):
        return
    whole = {_key(tool): tool.name for tool in tools}
    shared = set(whole.values())
    for call in _calls(request.messages):
        if call.name in shared and (key := _called(call)) is not None:
            whole[key] = call.name
    if len(set(whole.values())) == len(whole):
        return
    names = _unique_names(whole)
    if request.tool_choice is not None and isinstance(choice, dict):
        key = (False, choice.get("namespace") or "", choice.get("name") or "")
        request.tool_choice = replace(request.tool_choice, name=names.get(key, request.tool_choice.name))
    for tool in tools:
        _rename(tool, names[_key(tool)])
    _rename_calls(request.messages, names)


def with_client_names(messages: list[ChatMessage], tools: list[Tool | HostedTool]) -> list[ChatMessage]:
    """A conversation with its calls as a client returns them: with a group, and by the name in that group.

    ``tools`` are those of the request that the calls were made for.
    """
    asked = {tool.name: tool for tool in tools if isinstance(tool, Tool) and (tool.namespace is not None or searches(tool))}
    if not asked:
        return messages
    return [replace(message, parts=[_with_client_names(part, asked) for part in message.parts]) for message in messages]


def _with_client_names(part: Part, asked: dict[str, Tool]) -> Part:
    if not isinstance(part, ToolCall) or (tool := asked.get(part.name)) is None:
        return part
    if tool.namespace is None:
        return replace(part, name=ACTIONS[SEARCH], kind=SEARCH)
    group, name = tool.namespace, client_name(tool)
    return replace(part, name=full_name(group, name), extra={**(part.extra or {}), "namespace": group})


def name_earlier(messages: list[ChatMessage], request: ChatRequest) -> list[ChatMessage]:
    """``messages``, which ``with_client_names`` returned, with their calls by the names of the tools of ``request``.

    A tool that the request does not have any more gets a name that no other has.
    """
    names = {_key(tool): tool.name for tool in request.tools if isinstance(tool, Tool)}
    taken = {*names.values(), *(call.name for call in _calls(request.messages))}
    before = [replace(message, parts=[copy(part) for part in message.parts]) for message in messages]
    for call in _calls(before):
        if (key := _called(call)) is None or key in names:
            continue
        name, tries = call.name, 0
        while name in taken:
            name, tries = _marked(key, tries), tries + 1
        names[key] = name
        taken.add(name)
    _rename_calls(before, names)
    return before


def allowed(choice: Object, tools: list[Tool | HostedTool]) -> Object:
    """A choice among ``allowed_tools``, by the names under which ``tools`` are sent."""
    names = {
        (tool.namespace or "", client_name(tool)): name_in_group(tool.namespace, tool.name)
        for tool in tools
        if _is_renamed(tool)
    }
    if not names or not isinstance(entries := choice.get("tools"), list):
        return choice
    return {**choice, "tools": [_allowed(entry, names) if isinstance(entry, dict) else entry for entry in entries]}


def _allowed(entry: Object, names: dict[tuple[str, str], str]) -> Object:
    name = names.get((str(entry.get("namespace") or ""), str(entry.get("name"))))
    if name is not None:
        entry = {**entry, "name": name}
    if isinstance(inner := entry.get("tools"), list):  # of a group
        group = str(entry.get("name"))
        entry = {
            **entry,
            "tools": [{**one, "name": names.get((group, str(one.get("name"))), one.get("name"))} for one in inner],
        }
    return entry


def _is_renamed(tool: Tool | HostedTool) -> TypeGuard[Tool]:
    return isinstance(tool, Tool) and CLIENT_NAME in (tool.extra or {})


def _unique_names(whole: dict[_Key, str]) -> dict[_Key, str]:
    """A unique name for each: the first of those with the same name keeps it."""
    names: dict[_Key, str] = {}
    asked, taken = set(whole.values()), set[str]()
    for key in sorted(whole):
        name, tries = whole[key], 0
        while name in taken or (tries and name in asked):
            name, tries = _marked(key, tries), tries + 1
        names[key] = name
        taken.add(name)
    return names


def _marked(key: _Key, tries: int) -> str:
    """A full name that begins with the group, because the name in the group is derived from that."""
    _, group, name = key
    mark = sha256(f"{group}\0{name}\0{tries}".encode("utf-8", "surrogatepass")).hexdigest()[:_MARK]
    own = f"{name[: LONGEST - _MARK - 1]}_{mark}"
    return full_name(group, own) if group else own


def _key(tool: Tool) -> _Key:
    return searches(tool), tool.namespace or "", client_name(tool)


def _called(call: ToolCall) -> _Key | None:
    """The tool that a call belongs to; ``None`` if it names no group, so that it can be any tool of its name."""
    group = (call.extra or {}).get("namespace")
    if call.kind == SEARCH:
        return True, "", call.name
    return (False, group, name_in_group(group, call.name)) if isinstance(group, str) and group else None


def _rename(tool: Tool, name: str) -> None:
    if name != tool.name:
        extra: Object = {**(tool.extra or {}), CLIENT_NAME: name_in_group(tool.namespace, tool.name)}
        tool.name, tool.extra = name, extra


def _calls(messages: list[ChatMessage]) -> Iterator[ToolCall]:
    return (part for message in messages if message.role == "assistant" for part in message.parts if isinstance(part, ToolCall))


def _rename_calls(messages: list[ChatMessage], names: dict[_Key, str]) -> None:
    renamed: dict[str, str] = {}
    for call in _calls(messages):
        if (key := _called(call)) in names:
            call.name = renamed[call.id] = names[key]
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolResult) and part.id in renamed:
                part.name = renamed[part.id]
