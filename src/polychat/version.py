"""The version of polychat, and which build of it runs.

A compiled build has each module's source beside it. With ``POLYCHAT_PURE`` set to anything the sources run, as everywhere else.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, FileFinder, PathFinder, SourceFileLoader

__version__ = "0.1.0"

_PACKAGE = os.path.dirname(__file__)
_COMPILED = "costs"
"""One of the modules that a build compiles (``pyproject.toml`` lists them): it compiles all of them, or none."""


def is_compiled() -> bool:
    """Whether these modules run as extension modules."""
    found = PathFinder.find_spec(_COMPILED, [_PACKAGE])
    return found is not None and found.origin is not None and found.origin.endswith(tuple(EXTENSION_SUFFIXES))


def build_name() -> str:
    """Which build runs, as ``polychat --version`` says it."""
    return "compiled" if is_compiled() else "pure Python"


def _source_finder(folder: str) -> FileFinder:
    """Finds the modules of a folder of polychat by their sources alone."""
    if folder != _PACKAGE and not folder.startswith(_PACKAGE + os.sep):
        raise ImportError
    return FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))


if os.environ.get("POLYCHAT_PURE"):
    sys.path_hooks.insert(0, _source_finder)
    sys.path_importer_cache.pop(_PACKAGE, None)
