"""Whole names of tools that stay apart: a group and a name in it make one name on every other wire, and two can be the same.

``a`` with ``b__c`` is ``a__b__c``, and so are ``a__b`` with ``c`` and a plain function of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import TypeAlias

from ...types import ChatRequest, HostedTool, Tool, ToolCall, ToolResult
from ..adapting import LONGEST, apart, flat
from .actions import SEARCH
from .constants import Object
from .tools import ASKED, searches

_Key: TypeAlias = tuple[bool, str, str]
"""What a client tells tools apart by: whether it is the search for tools, the group, and the name in the group."""
_MARK = 8


def without_repeats(tools: list[Tool | HostedTool]) -> list[Tool | HostedTool]:
    """Each tool once, as it was described last: requests of a long conversation name them again and again."""
    last: dict[object, Tool | HostedTool] = {}
    for place, tool in enumerate(tools):
        last[_key(tool) if isinstance(tool, Tool) else place] = tool
    return list(last.values())


def distinguish(request: ChatRequest, choice: object) -> None:
    """Give each tool of ``request`` a whole name of its own, in its calls and results too.

    ``choice`` is the body's ``tool_choice``. Which tool gets another name, and what name, depends on the tools and not on
    their order; a plain function keeps its own. The tool's extra keeps what the client calls it, as ``ASKED``.
    """
    tools = [tool for tool in request.tools if isinstance(tool, Tool)]
    if all(tool.namespace is None and not searches(tool) for tool in tools):
        return
    whole = {_key(tool): tool.name for tool in tools}
    shared = set(whole.values())
    for call in _calls(request):
        if call.name in shared and (key := _called(call)) is not None:
            whole[key] = call.name
    if len(set(whole.values())) == len(whole):
        return
    names = _distinct(whole)
    if request.tool_choice is not None and isinstance(choice, dict):
        key = (False, choice.get("namespace") or "", choice.get("name") or "")
        request.tool_choice = replace(request.tool_choice, name=names.get(key, request.tool_choice.name))
    for tool in tools:
        _rename(tool, names[_key(tool)])
    _rename_calls(request, names)


def _distinct(whole: dict[_Key, str]) -> dict[_Key, str]:
    """A name for each: its own for the first of those that share one."""
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
    """A whole name that begins with the group, as the name in the group is read off by that."""
    _, group, name = key
    mark = sha256(f"{group}\0{name}\0{tries}".encode("utf-8", "surrogatepass")).hexdigest()[:_MARK]
    own = f"{name[: LONGEST - _MARK - 1]}_{mark}"
    return flat(group, own) if group else own


def _key(tool: Tool) -> _Key:
    return searches(tool), tool.namespace or "", apart(tool.namespace, tool.name)


def _called(call: ToolCall) -> _Key | None:
    """Which tool a call says that it is of; ``None`` where it names no group, so that any of its name can be meant."""
    group = (call.extra or {}).get("namespace")
    if call.kind == SEARCH:
        return True, "", call.name
    return (False, group, apart(group, call.name)) if isinstance(group, str) and group else None


def _rename(tool: Tool, name: str) -> None:
    if name != tool.name:
        extra: Object = {**(tool.extra or {}), ASKED: apart(tool.namespace, tool.name)}
        tool.name, tool.extra = name, extra


def _calls(request: ChatRequest) -> Iterator[ToolCall]:
    return (part for turn in request.messages if turn.role == "assistant" for part in turn.parts if isinstance(part, ToolCall))


def _rename_calls(request: ChatRequest, names: dict[_Key, str]) -> None:
    renamed: dict[str, str] = {}
    for call in _calls(request):
        if (key := _called(call)) in names:
            call.name = renamed[call.id] = names[key]
    for turn in request.messages:
        for part in turn.parts:
            if isinstance(part, ToolResult) and part.id in renamed:
                part.name = renamed[part.id]
