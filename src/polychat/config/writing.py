"""TOML from values: the configuration in effect, and those that come from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from ..errors import redact
from ..redact import bare_url
from .configured import Config
from .mcp_server import McpServerSettings
from .settings import GatewaySettings
from .value_types import LITERAL_KEY, Table

HIDDEN = "(hidden)"


def config_text(configured: Config) -> str:
    """All settings in effect, defaults too, without what may be a secret. Reading it again gives the same configuration."""
    lines = [f"default_model = {value_text(configured.default_model)}", ""] if configured.default_model else []
    lines += table(["gateway"], _of_gateway(configured.gateway))
    for name, route in configured.routes.items():
        lines += table(["routes", name], _columns(route))
    if configured.aliases:
        lines += table(["aliases"], configured.aliases)
    for name, row in configured.providers.items():
        lines += table(["providers", name], _without_secrets(row))
    for name, price in configured.prices.items():
        lines += table(["prices", name], _columns(price))
    for name, model in configured.local_models.items():
        lines += table(["local", "models", name], _columns(model))
    for name, server in configured.mcp.items():
        lines += table(["mcp", name], _of_server(server))
    return "\n".join(lines[:-1]) + "\n"


def table(path: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """The lines of a table and of the tables in it; the last is empty."""
    lines = [f"[{'.'.join(map(name_text, path))}]"]
    within = {name: _within(value) for name, value in values.items()}
    lines += [f"{name_text(name)} = {value_text(value)}" for name, value in values.items() if within[name] is None]
    lines.append("")
    for name, columns in within.items():
        if columns is not None:
            lines += table([*path, name], columns)
    return lines


def _within(value: Any) -> Mapping[str, Any] | None:
    """The columns of what is a table of its own; ``None`` for what is written on a line."""
    if isinstance(value, Table):
        return _columns(value)
    if isinstance(value, Mapping) and value and all(isinstance(entry, Table) for entry in value.values()):
        return value
    return None


def _columns(table: Table) -> dict[str, Any]:
    return {name: value for name, value in structs.asdict(table).items() if value is not None}


def _without_secrets(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(row)
    if "base_url" in shown:
        shown["base_url"] = bare_url(shown["base_url"])
    if "headers" in shown:
        shown["headers"] = dict.fromkeys(shown["headers"], HIDDEN)  # any of them may be a token
    return shown


def _of_gateway(gateway: GatewaySettings) -> dict[str, Any]:
    """A database's URL may have a password among its parameters, and a webhook's path is often the secret."""
    shown = _columns(gateway)
    if gateway.state is not None:
        url, shared = (_without_parameters(url) for url in (gateway.state.url, gateway.state.shared))
        shown["state"] = gateway.state.replace(url=url, shared=shared)
    if gateway.webhook is not None and not _REFERENCE.match(gateway.webhook.url):
        scheme, _, rest = bare_url(gateway.webhook.url).partition("://")
        host, slash, path = rest.partition("/")
        shown["webhook"] = gateway.webhook.replace(url=f"{scheme}://{host}{slash}{HIDDEN if path else ''}")
    return shown


_REFERENCE = re.compile("(env|file|keyring|exec):")


def _without_parameters(url: str) -> str:
    address, mark, _ = url.partition("?")
    return url if not mark or _REFERENCE.match(url) else f"{address}?{HIDDEN}"


def _of_server(server: McpServerSettings) -> dict[str, Any]:
    shown = {name: value for name, value in _columns(server).items() if value}
    if "url" in shown:
        shown["url"] = bare_url(server.url)
    if "command" in shown:
        before = ("", *server.command)
        shown["command"] = tuple(_of_command(word, last) for last, word in zip(before, server.command, strict=False))
    if "env" in shown:
        shown["env"] = dict.fromkeys(server.env, HIDDEN)
    return shown


def _of_command(word: str, last: str) -> str:
    """A word of a command without what may be a secret in it, or where ``last``, the option before it, says that it is one."""
    if (last.startswith("-") and redact(f"{last}={word}") == f"{last}=…") or re.match(LITERAL_KEY, word):
        return HIDDEN
    return redact(word, len(word))


def name_text(name: str) -> str:
    """A key, quoted if TOML requires it."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else value_text(name)


def value_text(value: object) -> str:
    """A value on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case tuple() | list():
            return f"[{', '.join(map(value_text, value))}]"
        case Mapping():
            inside = ", ".join(f"{name_text(name)} = {value_text(inner)}" for name, inner in value.items())
            return f"{{ {inside} }}" if inside else "{}"
    # TOML's escapes are JSON's, except that it has no half surrogates, and DEL must be escaped too.
    text = str(value).encode(errors="replace").decode()
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
