"""What other programs need to use a gateway: their variables, or their files, with an address, a model and a key.

Sources: each program's own documentation, which ``about`` names; docs/dialects/agents.md says which were tried.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

NO_KEY = "none"
"""In place of a key, for programs that require one and a gateway that does not."""
_CONTEXT, _OUTPUT = 128_000, 16_384
"""Tokens that are assumed of a model of which nothing is known."""


class Access(NamedTuple):
    """How a gateway is reached."""

    url: str
    """Without a path, such as ``http://127.0.0.1:8000``."""
    model: str
    variable: str
    """The environment variable that holds a key; empty if the gateway requires none."""
    context: int | None = None
    """Tokens of the model's context, and of its longest reply; ``None`` where the gateway does not list them."""
    output: int | None = None

    @property
    def key(self) -> str:
        """The key for a shell."""
        return f'"${self.variable}"' if self.variable else NO_KEY


class ToolFile(NamedTuple):
    """A file of a program, and what it is to have."""

    path: Path
    content: Mapping[str, Any] | list[Any]
    """What is added to a JSON or YAML file; of a TOML file its settings and tables."""


class ClientTool(NamedTuple):
    """A program that can use a gateway."""

    title: str
    wire: str
    """The API by which it asks."""
    about: str
    """Its documentation of this."""
    variables: Callable[[Access], Mapping[str, str]] = lambda access: {}
    """For the shell that starts it; the values as a shell reads them."""
    file: Callable[[Access], ToolFile | None] = lambda access: None
    run: Callable[[Access], str] = lambda access: ""
    """The command that starts it."""
    note: str = ""


def _home(*parts: str) -> Path:
    return Path.home().joinpath(*parts)


def _config_home(*parts: str) -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or _home(".config")).joinpath(*parts)


def _codex(access: Access) -> ToolFile:
    provider: dict[str, Any] = {"name": "polychat", "base_url": f"{access.url}/v1", "wire_api": "responses"}
    if access.variable:
        provider["env_key"] = access.variable
    settings: dict[str, Any] = {"model": access.model, "model_provider": "polychat"}
    if access.context:
        settings["model_context_window"] = access.context
    return ToolFile(_home(".codex", "config.toml"), {**settings, "model_providers": {"polychat": provider}})


def _claude(access: Access) -> Mapping[str, str]:
    kinds = {f"ANTHROPIC_DEFAULT_{kind}_MODEL": quote(access.model) for kind in ("OPUS", "SONNET", "HAIKU")}
    return {"ANTHROPIC_BASE_URL": quote(access.url), "ANTHROPIC_AUTH_TOKEN": access.key, "ANTHROPIC_API_KEY": "", **kinds}


def _opencode(access: Access) -> ToolFile:
    key = f"{{env:{access.variable}}}" if access.variable else NO_KEY
    limit = {"context": access.context or _CONTEXT, "output": access.output or _OUTPUT}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "polychat",
        "options": {"baseURL": f"{access.url}/v1", "apiKey": key},
        "models": {access.model: {"name": access.model, "limit": limit}},
    }
    content = {"$schema": "https://opencode.ai/config.json", "provider": {"polychat": provider}}
    return ToolFile(_config_home("opencode", "opencode.json"), {**content, "model": f"polychat/{access.model}"})


def _continue(access: Access) -> ToolFile:
    key = {"apiKey": f"${{{{ secrets.{access.variable} }}}}"} if access.variable else {"apiKey": NO_KEY}
    model = {"name": f"polychat {access.model}", "provider": "openai", "model": access.model, "apiBase": f"{access.url}/v1"}
    content = {"name": "polychat", "version": "1.0.0", "schema": "v1", "models": [{**model, **key}]}
    return ToolFile(_home(".continue", "config.yaml"), content)


def _zed(access: Access) -> ToolFile:
    model = {"name": access.model, "display_name": access.model, "max_tokens": access.context or _CONTEXT}
    provider = {"api_url": f"{access.url}/v1", "available_models": [model]}
    content = {"language_models": {"openai_compatible": {"polychat": provider}}}
    return ToolFile(_config_home("zed", "settings.json"), content)


def _llm(access: Access) -> ToolFile:
    folder = os.environ.get("LLM_USER_PATH") or _config_home("io.datasette.llm")
    entry = {"model_id": f"polychat/{access.model}", "model_name": access.model, "api_base": f"{access.url}/v1"}
    key = {"api_key_name": "polychat"} if access.variable else {}
    return ToolFile(
        Path(folder, "extra-openai-models.yaml"), [{**entry, **key, "supports_tools": True, "supports_schema": True}]
    )


def _gemini(access: Access) -> ToolFile:
    return ToolFile(_home(".gemini", "settings.json"), {"security": {"auth": {"selectedType": "gemini-api-key"}}})


def _openai(access: Access) -> Mapping[str, str]:
    return {"OPENAI_API_BASE": quote(f"{access.url}/v1"), "OPENAI_API_KEY": access.key}


TOOLS: Mapping[str, ClientTool] = {
    "codex": ClientTool(
        "Codex",
        "openai-responses",
        "https://developers.openai.com/codex/config-reference",
        file=_codex,
        run=lambda access: "codex",
    ),
    "claude-code": ClientTool(
        "Claude Code",
        "anthropic",
        "https://code.claude.com/docs/en/llm-gateway",
        variables=_claude,
        run=lambda access: f"claude --model {quote(access.model)}",
        note="The empty ANTHROPIC_API_KEY is intended: a key in it would take precedence.",
    ),
    "gemini-cli": ClientTool(
        "Gemini CLI",
        "gemini",
        "https://google-gemini.github.io/gemini-cli/docs/get-started/configuration.html",
        variables=lambda access: {"GOOGLE_GEMINI_BASE_URL": quote(access.url), "GEMINI_API_KEY": access.key},
        file=_gemini,
        run=lambda access: f"gemini -m {quote(access.model)}",
        note='It also requests Gemini models by fixed names: map them in polychat.toml, [aliases] "gemini-*" = "…".',
    ),
    "opencode": ClientTool(
        "opencode",
        "openai-chat",
        "https://opencode.ai/docs/providers/",
        file=_opencode,
        run=lambda access: "opencode",
    ),
    "aider": ClientTool(
        "aider",
        "openai-chat",
        "https://aider.chat/docs/llms/openai-compat.html",
        variables=_openai,
        run=lambda access: f"aider --model {quote(f'openai/{access.model}')}",
        note="The prefix openai/ is its own; what follows is the name of the model at the gateway.",
    ),
    "continue": ClientTool(
        "Continue",
        "openai-chat",
        "https://docs.continue.dev/reference",
        file=_continue,
        note="It reads the key from its own secrets: add it there, or to ~/.continue/.env.",
    ),
    "cline": ClientTool(
        "Cline",
        "openai-chat",
        "https://docs.cline.bot/provider-config/openai-compatible",
        note="Its settings have no file: choose the API provider “OpenAI Compatible”, and enter the base URL, the API key and "
        "the model ID that are shown here.",
    ),
    "zed": ClientTool(
        "Zed",
        "openai-chat",
        "https://zed.dev/docs/ai/use-api-access",
        variables=lambda access: {"POLYCHAT_API_KEY": access.key},
        file=_zed,
        note="It reads the key from the variable POLYCHAT_API_KEY when it starts, or from its own settings.",
    ),
    "open-webui": ClientTool(
        "Open WebUI",
        "openai-chat",
        "https://docs.openwebui.com/reference/env-configuration/",
        variables=lambda access: {"OPENAI_API_BASE_URL": quote(f"{access.url}/v1"), "OPENAI_API_KEY": access.key},
        run=lambda access: "open-webui serve",
        note="It keeps these values after its first start: change them later in its admin settings.",
    ),
    "llm": ClientTool(
        "llm",
        "openai-chat",
        "https://llm.datasette.io/en/stable/other-models.html",
        file=_llm,
        run=lambda access: f"llm -m {quote(f'polychat/{access.model}')} Hello",
        note="If the gateway requires a key: llm keys set polychat",
    ),
}
