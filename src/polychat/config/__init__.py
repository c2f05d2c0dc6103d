"""polychat.toml: what a person says once about this machine. Strict: a key that means nothing is an error."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import BadInput
from .checks import check_gateway, check_model_name, check_names, check_price_name, check_provider_name, check_same_names
from .decoding import decoded, keys_of
from .environment import Variables, variable
from .settings import Gateway, Price, Route, option
from .strict import Strict, said
from .vendor_spec import values_of

FILE = "polychat.toml"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """One entry of ``[local.models]``; ``None`` where it says nothing."""

    path: Path | None = option(None, "The path of the GGUF file, absolute or relative to this configuration file.")
    """Absolute."""
    context: int | None = option(None, "Context size in tokens, prompt and reply together.", least=1)
    threads: int | None = option(None, "Number of compute threads.", least=1)
    parallel: int | None = option(None, "Number of concurrent requests; each has its own context.", least=1)
    pooling: Literal["mean", "cls", "last"] | None = option(
        None, "For an embedding model whose file does not specify it: how the token vectors are pooled."
    )


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says; empty where there is no file."""

    file: Path | None = None
    local_models: Mapping[str, LocalModel] = field(default_factory=dict)
    providers: Mapping[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    """The tables ``[providers.NAME]``, for ``rows.spec_of``: over a known vendor's row, or a vendor of one's own."""
    gateway: Gateway = field(default_factory=Gateway)
    routes: Mapping[str, Route] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names for targets and routes."""
    from_folder: bool = False
    """Whether it was found in the folder of the process and named by nobody: it may have come with what lies there."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By ``provider/model``, the provider in lower case."""
    default_model: str = ""
    """What the command and the library ask where no model is named; empty: the embedded model."""


def folder() -> Path:
    """Where a person's own configuration is kept: ``$XDG_CONFIG_HOME/polychat``, or ``~/.config/polychat``."""
    home = variable("XDG_CONFIG_HOME")
    # The XDG specification: a relative path there is to be ignored.
    return (Path(home) if os.path.isabs(home) else home_folder() / ".config") / "polychat"


def home_folder() -> Path:
    """The person's home. For a user who has none (a container's random uid), a folder that does not exist."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")  # as Debian's users without a home have it


_read: dict[tuple[int, int], tuple[tuple[int, int], Config]] = {}
"""What was read, by the file's place on its disk, and how the file stood then."""
_NOTHING = Config()


def load() -> Config:
    """The person's own file, the one in ``folder()``, else nothing. A file that has not changed is not read again.

    A ``polychat.toml`` of the folder one happens to stand in is not looked at: it may have come with somebody else's files.
    Raises ``BadInput`` naming the file and the key, for what cannot be read or means nothing.
    """
    return _of(_own_file()) or _NOTHING


def load_here() -> Config:
    """``./polychat.toml``, else as ``load``. The former is marked ``from_folder``, unless it is the person's own file.

    For ``polychat serve``, which tells the file it goes by. Raises as ``load``.
    """
    here = _of(FILE)
    if here is None:
        return load()
    return replace(here, from_folder=True) if is_in_folder() else here


def is_in_folder() -> bool:
    """Whether there is a ``./polychat.toml`` that is not the person's own."""
    try:
        return os.path.isfile(FILE) and not os.path.samefile(FILE, _own_file())
    except OSError:
        return True  # they have none


_LARGEST = 64 * 1024
"""Bytes of a ``./polychat.toml`` that is looked at only to tell what it names."""


def is_named_in_folder(name: str) -> bool:
    """Whether the ``./polychat.toml`` that is not the person's own has a route, an alias or a provider that ``name`` says.

    For the error that tells so: nothing of the file is used. One that cannot be read names nothing.
    """
    if not is_in_folder():
        return False
    try:
        with open(FILE, "rb") as file:
            content = tomllib.loads(file.read(_LARGEST).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    tables = {key: table if isinstance(table := content.get(key), dict) else {} for key in ("routes", "aliases", "providers")}
    provider = re.split("[/:]", name, maxsplit=1)[0].lower()
    is_provider = provider in {one.lower() for one in tables["providers"]}
    return is_provider or name in tables["routes"] or name in tables["aliases"]


def _of(file: str) -> Config | None:
    """``None`` where there is no such file."""
    try:
        state = os.stat(file)
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    place, stamp = (state.st_dev, state.st_ino), (state.st_mtime_ns, state.st_size)
    known = _read.get(place)
    if known is None or known[0] != stamp:
        _read[place] = known = (stamp, read(Path(file).absolute()))
    return known[1]


_HOMES = Variables(("XDG_CONFIG_HOME", "HOME"))
_own: list[tuple[list[Any], str]] = [([], "")]
"""How these are set, and the file that this means."""


def _own_file() -> str:
    """The file in ``folder()``; it is worked out once while nothing moves it."""
    homes = _HOMES.values()
    known, file = _own[0]
    if known != homes:
        file = str(folder() / FILE)
        _own[0] = (homes, file)
    return file


def read(file: Path) -> Config:
    """One file. Raises as ``load``."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}", field=FILE) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{file}:{line}: cannot be read as TOML: it is not UTF-8", field=FILE) from None
    return parsed(text, file)


_PLACE = re.compile(r" \(at (?:line (\d+), (column \d+)|end of document)\)$")


def parsed(text: str, file: Path) -> Config:
    """What a file with this text says. Raises as ``load``."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line = place[1] if place and place[1] else text.rstrip().count("\n") + 1
        what = f"{_PLACE.sub('', str(error))} ({place[2] or 'at the end'})" if place else error
        raise BadInput(f"{file}:{line}: cannot be read as TOML: {what}", field=FILE) from None
    return _config(content, Strict(file, text))


def _config(content: Mapping[str, Any], strict: Strict) -> Config:
    strict.known(content, ("default_model", "gateway", "routes", "aliases", "providers", "prices", "local"), "")
    default_model = strict.text(content.get("default_model", ""), "default_model")
    tables = {name: strict.table(table, name) for name, table in content.items() if name != "default_model"}
    gateway = decoded(Gateway, tables.get("gateway", {}), "gateway", strict)
    routes = {name: decoded(Route, table, f"routes.{name}", strict) for name, table in tables.get("routes", {}).items()}
    aliases = strict.pairs(tables.get("aliases", {}), "aliases")
    check_gateway(gateway, strict)
    check_names(routes, aliases, strict)
    providers = tables.get("providers", {})
    for name, table in providers.items():
        check_provider_name(name, strict)
        values_of(table, strict, f"providers.{name}")
    check_same_names(providers, strict)
    providers = {name.lower(): table for name, table in providers.items()}  # targets name a provider in any case
    prices = _prices(tables.get("prices", {}), strict)
    models = _local_models(tables.get("local", {}), strict)
    return Config(strict.file, models, providers, gateway, routes, aliases, prices=prices, default_model=default_model)


def _prices(tables: Mapping[str, Any], strict: Strict) -> Mapping[str, Price]:
    found: dict[str, Price] = {}
    for name, table in tables.items():
        check_price_name(name, strict)
        provider, _, model = name.partition("/")
        found[f"{provider.lower()}/{model}"] = decoded(Price, table, f"prices.{name}", strict)
    return found


def _local_models(local: Mapping[str, Any], strict: Strict) -> Mapping[str, LocalModel]:
    strict.known(local, ("models",), "local.")
    models = strict.table(local.get("models", {}), "local.models")
    for name in models:
        check_model_name(name, strict)
    return {name: _local_model(entry, f"local.models.{name}", strict) for name, entry in models.items()}


def _local_model(entry: object, key: str, strict: Strict) -> LocalModel:
    if isinstance(entry, str):
        return LocalModel(strict.path(entry, key))
    if not isinstance(entry, dict):
        names = ", ".join(one.name for one in keys_of(LocalModel))
        raise strict.error(key, f'is {said(entry)}; it must be "path/to/model.gguf" or a table with {names}')
    return decoded(LocalModel, entry, key, strict)
