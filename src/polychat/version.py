"""The version of polychat, and which build of it runs."""

from __future__ import annotations

import os
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

__version__ = "0.1.0"

_COMPILED = "costs"
"""One of the modules that a build compiles (``pyproject.toml`` lists them): it compiles all of them, or none."""


def is_compiled() -> bool:
    """Whether these modules run as extension modules."""
    found = PathFinder.find_spec(_COMPILED, [os.path.dirname(__file__)])
    return found is not None and found.origin is not None and found.origin.endswith(tuple(EXTENSION_SUFFIXES))


def build_name() -> str:
    """Which build runs, as ``polychat --version`` says it."""
    return "compiled" if is_compiled() else "pure Python"
