"""The list of services: each file of this folder is one, except for names that begin with ``_`` and the two below."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .contract import Provider


_NO_SERVICE = frozenset({"catalogue", "contract"})


@cache
def files() -> tuple[str, ...]:
    """The names of the provider files, sorted; none is imported."""
    package = import_module(__package__)
    return tuple(
        sorted(info.name for info in iter_modules(package.__path__) if info.name[0] != "_" and info.name not in _NO_SERVICE)
    )


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
