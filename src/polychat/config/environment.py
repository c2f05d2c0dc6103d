"""Environment variables, read at little cost: a request reads a dozen, most of which are not set."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any


def variable(name: str) -> str:
    """The variable's value as it is now; empty where it is not set."""
    raw = _raw() if name.isascii() else None
    if raw is not None and name.encode() not in raw:
        return ""
    return os.environ.get(name, "")


def _raw() -> dict[bytes, bytes] | None:
    """The dict under ``os.environ``, for looks only; ``None`` where there is none.

    A name that is missing costs ``os.environ.get`` an exception, twenty times the cost of a look into the dict.
    """
    return getattr(os.environ, "_data", None) if _POSIX else None


_POSIX = os.name == "posix"


class Variables:
    """Some variables, whose values are compared with what they were."""

    __slots__ = ("_keys", "_names")

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._keys = tuple(name.encode() for name in self._names)

    def values(self) -> list[Any]:
        """How they are set now, in a form that is good for a comparison and nothing else."""
        if _POSIX:
            try:
                return list(map(os.environ._data.get, self._keys))  # type: ignore[attr-defined]  # as in ``_raw``
            except AttributeError:
                pass
        return [os.environ.get(name) for name in self._names]
