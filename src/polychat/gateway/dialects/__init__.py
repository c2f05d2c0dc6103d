"""The APIs that clients speak, a folder each, known by being there.

``dialect`` is what a dialect makes of a request and of its failures, ``endpoints`` where its clients ask, ``openapi`` how it
describes itself.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


@cache
def names() -> tuple[str, ...]:
    """The folders' names, sorted."""
    return tuple(sorted(info.name for info in iter_modules(__path__) if info.ispkg))


def every(part: str) -> list[ModuleType]:
    """The module ``part`` of every dialect."""
    return [import_module(f"{__name__}.{name}.{part}") for name in names()]
