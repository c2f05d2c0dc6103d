"""Environment variables, looked for at little cost: an ask wants to know a dozen, and most of them are not set."""

from __future__ import annotations

import os

_POSIX = os.name == "posix"


def variable(name: str) -> str:
    """The variable's value as it is now; empty where it is not set."""
    # A name that is missing costs ``os.environ.get`` an exception, twenty times what the dict under it takes to tell.
    raw = getattr(os.environ, "_data", None) if _POSIX and name.isascii() else None
    if raw is not None and name.encode() not in raw:
        return ""
    return os.environ.get(name, "")
