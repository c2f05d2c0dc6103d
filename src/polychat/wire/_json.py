"""JSON, by msgspec where it is installed (extra ``fast``), else by the standard library: the one door to it for the wires."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 64
"""Arrays and objects inside each other, unless a caller says otherwise."""


def _bind() -> None:
    """Choose once, when the first JSON is read or written: importing msgspec costs as much as importing all of us."""
    global _loads, _dumps  # what stands at module level is a local lookup away from the hot path
    try:
        from msgspec.json import decode, encode
    except ImportError:
        _loads, _dumps = _plain_loads, _plain_dumps
    else:
        _loads, _dumps = decode, encode


def _first_loads(data: bytes) -> Any:
    _bind()
    return _loads(data)


def _first_dumps(value: Any) -> bytes:
    _bind()
    return _dumps(value)


def _plain_loads(data: bytes) -> Any:
    value = json.loads(data, parse_constant=_no_constant)
    if _HALVES.search(data):
        _plain_dumps(value).decode()  # half a surrogate pair is no text: nobody could write it again
    return value


def _plain_dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_HALVES = re.compile(rb"\\u[dD][89a-fA-F]")
_loads: Callable[[bytes], Any] = _first_loads
_dumps: Callable[[Any], bytes] = _first_dumps

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


class TooDeep(ValueError):
    """JSON nested deeper than ``limit``."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"JSON nested more than {limit} deep")
        self.limit = limit


def decoded(data: bytes, depth: int = MAX_DEPTH) -> Any:
    """The value. Raises ``ValueError`` (``TooDeep`` for one nested deeper than ``depth``), and nothing else."""
    check_depth(data, depth)
    return _loads(data)


def check_depth(data: bytes, depth: int = MAX_DEPTH) -> None:
    """Raises ``TooDeep``."""
    if data.count(b"{") + data.count(b"[") > depth and _depth(data) > depth:
        raise TooDeep(depth)


def encoded(value: Any) -> bytes:
    """UTF-8 without spaces. Raises ``ValueError`` or ``TypeError`` for what JSON or UTF-8 cannot carry."""
    return _dumps(value)


def _depth(data: bytes) -> int:
    now = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", data)):
        if bracket in b"[{":
            now += 1
            deepest = max(deepest, now)
        else:
            now -= 1
    return deepest
