"""Tools of a request: functions, free-text tools, groups of both, and tools that the backend runs."""

from __future__ import annotations

from ...types import HostedTool, Tool
from ..adapting import full_name, name_in_group
from ..checks import bad, optional_flag, optional_text, record, several, text
from ..extras import rest, with_extra
from .constants import Object

NO_ARGUMENTS = {"type": "object", "properties": {}}
ABOUT = "namespace.description"
"""The key in a tool's ``extra`` for the fields of its group."""
CLIENT_NAME = "namespace.name"
"""The key in a tool's extra for its name in its group, if another tool has the resulting full name."""
_OURS = (ABOUT, CLIENT_NAME)
_SEARCH = "tool_search"


def read_tools(value: object, path: str) -> list[Tool | HostedTool]:
    """The tools, those of a group by their full names. Raises ``BadInput``."""
    tools: list[Tool | HostedTool] = []
    for at, entry in enumerate(several(value, path)):
        tool, place = record(entry, f"{path}[{at}]"), f"{path}[{at}]"
        if tool.get("type") == "namespace":
            tools += _grouped(tool, place)
        else:
            tools.append(_tool(tool, place))
    return tools


def named(tool: Object, path: str) -> str:
    """The full name of a tool that may be in a group. Raises ``BadInput``."""
    name = text(tool.get("name"), f"{path}.name")
    group = optional_text(tool.get("namespace"), f"{path}.namespace")
    return full_name(group, name) if group else name


def _grouped(group: Object, path: str) -> list[Tool | HostedTool]:
    name = text(group.get("name"), f"{path}.name")
    about = optional_text(group.get("description"), f"{path}.description")
    tools = read_tools(group.get("tools") or [], f"{path}.tools")
    for at, tool in enumerate(tools):
        if isinstance(tool, HostedTool) or tool.namespace is not None:
            kind = tool.kind if isinstance(tool, HostedTool) else "namespace"
            raise bad(f"{path}.tools[{at}].type", "function or custom: a group holds no others", kind)
        tool.name, tool.namespace = full_name(name, tool.name), name
        if about:
            tool.extra = {**(tool.extra or {}), ABOUT: about}
    return tools


def _tool(tool: Object, path: str) -> Tool | HostedTool:
    kind = text(tool.get("type"), f"{path}.type")
    if kind == "custom":
        return Tool(
            text(tool.get("name"), f"{path}.name"),
            optional_text(tool.get("description"), f"{path}.description"),
            extra=rest(tool, ("type", "name", "description", "format")),
            kind="custom",
            format=None if tool.get("format") is None else record(tool["format"], f"{path}.format"),
        )
    searches = kind == _SEARCH and tool.get("execution") == "client"
    if kind != "function" and not searches:
        return HostedTool(kind, tool)
    schema = tool.get("parameters")
    return Tool(
        _SEARCH if searches else text(tool.get("name"), f"{path}.name"),
        optional_text(tool.get("description"), f"{path}.description"),
        None if schema is None or schema == NO_ARGUMENTS else record(schema, f"{path}.parameters"),
        optional_flag(tool.get("strict"), f"{path}.strict"),
        extra=dict(tool) if searches else rest(tool, ("type", "name", "description", "parameters", "strict")),
    )


def searches(tool: Tool | HostedTool | None) -> bool:
    """Whether it is the tool search that the client carries out."""
    return isinstance(tool, Tool) and tool.extra is not None and tool.extra.get("type") == _SEARCH


def client_name(tool: Tool) -> str:
    """The client's name for it, within its group if it has one."""
    name = (tool.extra or {}).get(CLIENT_NAME)
    return name if isinstance(name, str) else name_in_group(tool.namespace, tool.name)


def write_tools(tools: list[Tool | HostedTool], *, native: bool, repeated: bool = False) -> list[Object]:
    """Tools in a request's format, adjacent ones of one group in that group. ``repeated``: by the client's own names."""
    written: list[Object] = []
    for tool in tools:
        if isinstance(tool, HostedTool):
            written += [tool.spec] if native else []
            continue
        if tool.namespace is None:
            written.append(_written(tool, native=native, repeated=repeated))
            continue
        last = written[-1] if written else {}
        if last.get("type") != "namespace" or last["name"] != tool.namespace:
            about = (tool.extra or {}).get(ABOUT)
            last = {"type": "namespace", "name": tool.namespace, "description": about or tool.namespace, "tools": []}
            written.append(last)
        last["tools"].append(_written(tool, native=native, repeated=repeated))
    return written


def _written(tool: Tool, *, native: bool, repeated: bool) -> Object:
    if searches(tool) and native:
        return {name: value for name, value in (tool.extra or {}).items() if name not in _OURS}
    name = client_name(tool) if repeated else name_in_group(tool.namespace, tool.name)
    written: Object = {"type": tool.kind, "name": name}
    if tool.description is not None:
        written["description"] = tool.description
    if tool.kind == "custom":
        if tool.format is not None:
            written["format"] = tool.format
    else:
        written["parameters"] = dict(NO_ARGUMENTS) if tool.parameters is None else tool.parameters
        # The default is true here, and would make optional arguments required.
        strict = tool.strict if native else bool(tool.strict)
        if strict is not None:
            written["strict"] = strict
    extra = {name: value for name, value in (tool.extra or {}).items() if name not in _OURS}
    return with_extra(written, extra, native=native)
