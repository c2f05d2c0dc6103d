"""``polychat config``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .. import config
from ..backends.builtin import known
from ..backends.registry import Registry
from ..config import Config
from ..config.file_errors import FileErrors
from ..config.mcp_server import server_fault
from ..config.schema import schema
from ..config.writing import config_text
from ..errors import BadInput, UnknownTarget
from ..gateway.process import last_good
from ..gateway.process.checking import check_servable
from ..prompt import decoded_text
from ..providers import every
from ..routing import ModelResolver
from ..tools.litellm_import import imported
from ..user import weights
from ..user.whole_files import create_whole
from ..wire.contract import names as wires
from . import ANSWERED, complain, print_json


def run(arguments: argparse.Namespace) -> int:
    """Check or show a configuration, import one, or print the JSON schema."""
    match arguments.action:
        case "check":
            print(_summary(checked(arguments.file)))
        case "show":
            configured = checked(arguments.file)
            print(f"# {configured.file or f'no {config.FILE}: the defaults'}\n{config_text(configured)}", end="")
        case "last-good":
            _last_good(arguments.file, arguments.output)
        case "schema":
            print_json(schema(), indent=2)
        case _:
            _import(arguments.file, arguments.output)
    return ANSWERED


def checked(file: Path | None) -> Config:
    """The file, or the one that ``polychat serve`` would go by here: its targets and wires are known here.

    Raises ``BadInput`` with file, line, key.
    """
    configured = config.load_here() if file is None else config.read(file)
    registry = Registry(configured)
    strict = FileErrors(configured.file or Path(config.FILE))
    rows = registry.vendors()
    for name in configured.providers:
        strict.choice(rows[name].wire, f"providers.{name}.wire", wires())
    names = ModelResolver(Registry(replace(configured, routes={}, aliases={})))
    for key, target in _targets(configured):
        if target in configured.routes or target in configured.aliases:
            continue
        try:
            names.plan(target)
        except BadInput as error:
            if key != _DEFAULT and isinstance(error, UnknownTarget) and names.may_be_listed(error.asked):
                continue  # the gateway asks the backends for their lists
            raise strict.error(key, f"names {target}: {error}") from None
    _check_prices(registry, strict)
    _check_local_models(configured, strict)
    for name, server in configured.mcp.items():
        if (fault := server_fault(name, server)) is not None:
            raise strict.error(*fault)
    check_servable(configured)
    return configured


def _check_prices(registry: Registry, strict: FileErrors) -> None:
    """Whether each is one of a provider that there is."""
    for name in registry.config.prices:
        try:
            registry.find(name.partition("/")[0])
        except BadInput as error:
            raise strict.error(f"prices.{name}", f"names {error}") from None


def _check_local_models(configured: Config, strict: FileErrors) -> None:
    """Whether each has a file: its own, or one that polychat fetches."""
    for name, model in configured.local_models.items():
        if (model.path is None) != (name in weights.KNOWN):
            fault = "has no path: name its GGUF file" if model.path is None else "has a path, and polychat fetches its weights"
            raise strict.error(f"local.models.{name}", fault)


_DEFAULT = "default_model"


def _targets(configured: Config) -> Iterator[tuple[str, str]]:
    """Each with the key that names it."""
    for name, route in configured.routes.items():
        yield from ((f"routes.{name}.targets", target) for target in route.targets)
    yield from ((f"aliases.{name}", meant) for name, meant in configured.aliases.items())
    if configured.default_model:
        yield _DEFAULT, configured.default_model


def _summary(configured: Config) -> str:
    if configured.file is None:
        return f"no {config.FILE} here, nor in {config.folder()}: everything has its default"
    counts = {
        **{"route": configured.routes, "alias": configured.aliases},
        **{"provider": configured.providers, "local model": configured.local_models, "MCP server": configured.mcp},
    }
    return f"{configured.file}: good: {', '.join(_counted(len(entries), name) for name, entries in counts.items())}"


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 'es' if name[-1] == 's' else 's'}"


def _last_good(file: Path | None, output: Path | None) -> None:
    """Print what is kept of this file, or of the one that ``polychat serve`` would read here, without secrets.

    With ``output`` write its text there instead.

    Raises ``BadInput`` where nothing is kept.
    """
    place = config.file_here() if file is None else file
    text = None if place is None else last_good.kept_text(place)
    if place is None or text is None:
        raise BadInput(
            f"no configuration is kept for {place or config.FILE}: polychat serve --keep-last-good keeps it", field="FILE"
        )
    if output is not None:
        create_whole(output, text.encode(), field="--output")  # for this user alone: it may have secrets
        return
    print(f"# the last good {place}, kept at {last_good.kept_since(place)}\n{config_text(config.parsed(text, place))}", end="")


def _import(file: Path, output: Path | None) -> None:
    try:
        text = decoded_text(file.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}", field="FILE"
        ) from None
    result = imported(text, file, known(), [provider.__name__.lower() for provider in every()])
    if output is None:
        sys.stdout.write(result.toml)
    else:
        create_whole(output, result.toml.encode(), field="--output")
    for loss in result.losses:
        complain(loss, "note")
