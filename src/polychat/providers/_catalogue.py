"""Which providers there are: the files of this folder whose names begin with a letter, and the rows of vendors.toml."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from ..errors import UnknownTarget

if TYPE_CHECKING:
    from ._base import Provider


@cache
def files() -> tuple[str, ...]:
    """The names of the provider files, sorted; nothing is imported for it."""
    package = import_module(__package__)
    return tuple(sorted(info.name for info in iter_modules(package.__path__) if not info.name.startswith("_")))


def load(file: str) -> type[Provider]:
    """The provider of one file: the class whose name in lower case is the file's."""
    module = import_module(f".{file}", __package__)
    for name, value in vars(module).items():
        if name.lower() == file and isinstance(value, type):
            return value
    raise ImportError(f"{module.__name__} holds no class named like it (in any case): name the provider's class after its file")


def every() -> list[type[Provider]]:
    """All of them, imported."""
    return [load(file) for file in files()]


@cache
def _table() -> Any:
    """The vendors' table, which is read when a name is not a file's."""
    return import_module("._vendor", __package__)


def find(name: str) -> type[Provider]:
    """A provider by name, in any case: a file of this folder, or a vendor's row. Raises ``UnknownTarget`` with the nearest."""
    name = name.lower()
    if name in files():
        return load(name)
    table = _table()
    found: type[Provider] | None = table.vendor(name)
    if found is not None:
        return found
    working = [file for file in files() if load(file).working]
    known = (*working, *sorted(table.vendors()))
    near = (load(one).__name__ if one in files() else one for one in difflib.get_close_matches(name[:256], known, n=2))
    raise UnknownTarget(f"no provider {name[:256]!r} (polychat providers lists those there are)", near=tuple(near))


def resolve(target: str) -> tuple[type[Provider], str | None]:
    """``provider/model`` (or ``provider:model``, or a provider alone) as its class and the model's name."""
    slash, colon = target.find("/"), target.find(":")
    cuts = [cut for cut in (slash, colon) if cut >= 0]
    if not cuts:
        return find(target), None
    cut = min(cuts)
    return find(target[:cut]), target[cut + 1 :] or None
