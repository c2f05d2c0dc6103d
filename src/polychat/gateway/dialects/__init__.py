"""The APIs that the gateway offers, a folder each; a folder needs no registration.

``dialect`` reads requests and writes failures, ``endpoints`` has the paths, ``openapi`` their descriptions.
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
