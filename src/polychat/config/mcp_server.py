"""A table ``[mcp.NAME]`` of polychat.toml: an MCP server whose tools a model may call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

from msgspec import Meta

from .addresses import address_fault
from .value_types import OneOrMore, Reference, Table, about

Variable: TypeAlias = Annotated[str, Meta(extra={"hidden": True})]
"""Of an environment: it may be a secret."""


class McpServerSettings(Table, frozen=True):
    """An MCP server: a program that is started, or a URL."""

    command: Annotated[
        OneOrMore[str],
        about("The command that starts the server: a text, which is split as a shell splits it, or a list of words."),
    ] = ()
    env: Annotated[
        Mapping[str, Variable],
        about(
            "Environment variables for the command, as values or as references to secrets: `env:NAME`, `file:PATH`, "
            "`keyring:NAME`, `exec:COMMAND`. Besides them it gets `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL` and `TERM`, and "
            "none of your keys."
        ),
    ] = {}
    url: Annotated[
        str, about("The address of a server over HTTP. One whose path ends with `/sse` is used in the older way, with SSE.")
    ] = ""
    headers: Annotated[
        Mapping[str, Reference], about("Headers for the URL, each a reference to its value: `env:NAME`, `file:PATH`, …")
    ] = {}
    token: Annotated[Reference, about("A reference to the token for the URL, which is sent as `Authorization: Bearer …`.")] = ""


def server_fault(name: str, server: McpServerSettings) -> tuple[str, str] | None:
    """The key at fault and the rest of a sentence about it: a name that cannot begin a tool's, keys that do not go together."""
    key = f"mcp.{name}"
    if not (name.isascii() and name.replace("-", "").replace("_", "").isalnum() and len(name) <= 32):
        return key, "is not a valid name: it may have up to 32 letters, digits, - and _"
    if bool(server.command) == bool(server.url):
        return key, "must have either a command or a url"
    if server.url and (fault := address_fault(server.url.partition("?")[0])):
        return f"{key}.url", fault
    for wrong in ("headers", "token") if server.command else ("env",):
        if getattr(server, wrong):
            return f"{key}.{wrong}", f"goes with a {'url' if server.command else 'command'} only"
    return None
