"""``polychat setup``: a first configuration from what is on this machine, or the settings of a program that uses a gateway."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from time import perf_counter

from .. import config
from ..backends.registry import Registry
from ..client.calls import reply_of
from ..client.targets import Targets
from ..config.environment import variable
from ..config.writing import table
from ..errors import BadInput, NotReady, PolychatError
from ..user.whole_files import write_whole
from ..wire.models import ModelInfo
from . import ANSWERED, FAILED, complain
from .client_tools import TOOLS, Access, ClientTool, ToolFile
from .file_changes import changed, shown
from .gateway_address import configured_here, gateway_url
from .written_settings import before_setup, record

_PROMPT = "Reply with the word ready."
_SECONDS = 60.0
"""For the request that tests the settings: a local model may have to be loaded first."""


def run(arguments: argparse.Namespace) -> int:
    """Set up polychat, or show, test and write the settings of a program. Raises ``BadInput``."""
    if arguments.tool is None:
        from .discovery import set_up  # it asks servers on this machine

        return set_up(arguments)
    tool = TOOLS[arguments.tool]
    access = _access(arguments)
    models, failure = asyncio.run(_tried(tool, access, is_tested=not arguments.no_test))
    access = _with_limits(access, models)
    file = tool.file(access)
    _show(tool, access, None if arguments.write else file)
    if failure:
        complain(f"nothing was written: {failure}" if arguments.write else failure)
        return FAILED
    if arguments.write:
        _write(tool, file)
    return ANSWERED


def _access(arguments: argparse.Namespace) -> Access:
    configured = configured_here(arguments.config)
    if configured.from_folder and not (arguments.url and arguments.model):
        # It may have come with other people's files, and a key is sent where it says.
        raise BadInput(
            "./polychat.toml is not trusted with a key: name it as --config polychat.toml, or pass --url and --model",
            field="config",
        )
    url = gateway_url(configured.gateway, arguments.url)
    model = arguments.model or Targets(Registry(configured)).default_model()
    name = arguments.key_variable
    if not name.isidentifier():
        raise BadInput("--key-variable must be the name of an environment variable, such as POLYCHAT_KEY", field="key_variable")
    return Access(url, model, name if variable(name) else "")


async def _tried(tool: ClientTool, access: Access, *, is_tested: bool) -> tuple[list[ModelInfo], str]:
    """The models of the gateway, and what failed of a real request by the API that the program uses."""
    if not is_tested:
        return [], ""
    targets = _gateway(tool.wire, access)
    key = {"api_key": variable(access.variable)} if access.variable else {}
    begin = perf_counter()
    try:
        backend = targets.registry.find("gateway")
        models = await backend.list_models(timeout=5.0, **key)
        await reply_of(targets, _PROMPT, f"gateway/{access.model}", None, {**key, "timeout": _SECONDS, "max_tokens": 256})
    except PolychatError as error:
        return [], _explained(error)
    print(f"# {access.model} answered through {access.url} in {(perf_counter() - begin) * 1000:.0f} ms\n")
    return models, ""


def _gateway(wire: str, access: Access) -> Targets:
    """The gateway as a backend of that wire."""
    path = "/v1" if wire.startswith("openai") else "/v1beta" if wire == "gemini" else ""
    row = {
        **{"wire": wire, "base_url": f"{access.url}{path}", "key_optional": True, "key": []},
        "models": "/v1/models" if wire == "anthropic" else "/models",
    }
    text = "\n".join(table(["providers", "gateway"], row))
    return Targets(Registry(config.parsed(text, Path("setup"))))


def _explained(error: PolychatError) -> str:
    """With what to do where the gateway does not answer at all."""
    if error.status is not None:
        return str(error)
    end = "" if str(error).endswith("?") else "."
    return f"{error}{end} Start the gateway with  polychat serve, or pass its address as --url"


def _with_limits(access: Access, models: list[ModelInfo]) -> Access:
    known = next((model for model in models if model.id == access.model), None)
    if known is None:
        return access
    return access._replace(context=known.context, output=known.output)


def _show(tool: ClientTool, access: Access, file: ToolFile | None) -> None:
    """The settings, for a person to copy."""
    parts = []
    variables = tool.variables(access)
    if variables:
        parts.append("\n".join(f"export {name}={value}" for name, value in variables.items()))
    if file is not None:
        parts.append(f"# {file.path}\n{shown(file)}".rstrip())
    if not variables and tool.file(access) is None:
        parts.append(f"base URL  {access.url}/v1\nAPI key   {access.key}\nmodel     {access.model}")
    if tool.note:
        parts.append(f"# {tool.note}")
    if command := tool.run(access):
        parts.append(command)
    parts.append(f"# {tool.title}: {tool.about}")
    print("\n\n".join(parts))


def _write(tool: ClientTool, file: ToolFile | None) -> None:
    if file is None:
        raise BadInput(f"{tool.title} has no file to write: set what is shown above", field="write")
    try:
        before = file.path.read_bytes() if file.path.exists() else None
        text = changed(file, None if before is None else before_setup(file, before.decode()))
        if text is None:
            raise BadInput(f"{file.path} has comments or other settings of these names: add\n\n{shown(file)}", field="write")
        kept = None if before is None or text.encode() == before else _kept(file.path, before)
        write_whole(file.path, text.encode())
    except UnicodeDecodeError:
        raise BadInput(f"{file.path} is not UTF-8 text: add\n\n{shown(file)}", field="write") from None
    except OSError as error:
        raise NotReady(f"{file.path} cannot be written: {error.strerror}") from None
    record(file)
    print(f"{file.path} is written" + ("" if kept is None else f"; what it was before is in {kept.name}"))


def _kept(file: Path, content: bytes) -> Path:
    """Where the earlier content is kept: no file that is there is overwritten. Raises ``OSError``."""
    number = 0
    while (kept := file.with_name(f"{file.name}.bak{number or ''}")).exists():
        if kept.read_bytes() == content:
            return kept
        number += 1
    write_whole(kept, content)
    return kept
