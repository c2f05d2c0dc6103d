"""Where an MCP server is: a command line, a URL, or a name of the configuration."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ...config import FILE
from ...config.addresses import address_fault
from ...config.file_errors import near
from ...config.mcp_server import McpServerSettings, server_fault
from ...errors import BadInput, redact
from ...redact import bare_url
from ...user.secrets import secret

_LONGEST = 32
"""Characters of a name, which may begin the names of tools."""
_SECRET = re.compile(r"(env|file|keyring|exec):.")


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """A server that is started with a command, or one at a URL."""

    name: str
    command: Sequence[str] = ()
    url: str = field(default="", repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_configured: bool = False
    """Whether the name is the person's own; else the server may say another one."""

    @property
    def shown(self) -> str:
        """Without what may be secret."""
        return bare_url(self.url) if self.url else redact(self.command[0], 60)

    @property
    def is_older(self) -> bool:
        """Whether it speaks HTTP with server-sent events, as before streamable HTTP."""
        return urlsplit(self.url).path.endswith("/sse")


def place_of(text: str, configured: Mapping[str, McpServerSettings]) -> ServerPlace:
    """What ``--mcp`` names. Raises ``BadInput``, and ``NotReady`` for a secret that is not there."""
    if text in configured:
        return _configured(text, configured[text])
    if re.match(r"https?://", text, re.IGNORECASE):
        if fault := address_fault(text.partition("?")[0]):
            raise BadInput(f"--mcp: the URL {fault}", field="mcp")
        return ServerPlace(name_in(urlsplit(text).hostname or "") or "mcp", url=text)
    words = words_of(text, "--mcp")
    _check_program(words[0], configured)
    return ServerPlace(name_in(Path(words[0]).stem) or "mcp", words)


def words_of(text: str, field: str) -> list[str]:
    """The words of a command line, as a shell splits it. Raises ``BadInput``."""
    try:
        words = shlex.split(text)
    except ValueError:
        raise BadInput(f"{field}: a quotation mark of the command is not closed", field="mcp") from None
    if not words or not words[0]:
        raise BadInput(f"{field} is empty: give it a command, a URL, or a name from [mcp] of polychat.toml", field="mcp")
    return words


def _check_program(program: str, configured: Mapping[str, McpServerSettings]) -> None:
    if shutil.which(program) is None:
        guess = near(program, configured, "; ") or ", and polychat.toml has no [mcp] entry of that name"
        raise BadInput(f"--mcp {redact(program, 60)}: there is no such command{guess}", field="mcp")


def _configured(name: str, server: McpServerSettings) -> ServerPlace:
    if (fault := server_fault(name, server)) is not None:
        raise BadInput(f"{FILE}: {fault[0]} {fault[1]}", field=fault[0])
    key = f"mcp.{name}"
    if server.url:
        headers = {header: secret(value, f"{key}.headers.{header}") for header, value in server.headers.items()}
        if server.token:
            headers["authorization"] = f"Bearer {secret(server.token, f'{key}.token')}"
        return ServerPlace(name, url=server.url, headers=headers, is_configured=True)
    words = words_of(server.command[0], f"{key}.command") if len(server.command) == 1 else list(server.command)
    _check_program(words[0], {})
    env = {
        variable: secret(value, f"{key}.env.{variable}") if _SECRET.match(value) else value
        for variable, value in server.env.items()
    }
    return ServerPlace(name, words, env=env, is_configured=True)


def name_in(text: str) -> str:
    """Letters of ``text`` that a tool's name may begin with."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:_LONGEST].strip("-")
