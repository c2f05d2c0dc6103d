"""Large inputs, grown from small valid values at one place, and how the time to read them grows with their size."""

from __future__ import annotations

import copy
import gc
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

SIZE = 250_000
"""Bytes; what is compared with it has four times as many."""
FLOOR = 0.15
"""Seconds of CPU below which nothing is told by a ratio."""
_IDS = {"id", "name", "call_id", "tool_use_id", "tool_call_id", "url", "item_id", "title", "uri"}
_UNITS = ('token-\\" <!-- ',)

Make = Callable[[int], bytes]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every place of a JSON value."""
    yield path, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:3]):
            yield from places(inner, (*path, number))


def grown(value: Any) -> Iterator[tuple[str, Make]]:
    """The value as JSON of about so many bytes, grown at each of its places, and where: lists repeated, with names that

    repeat and that do not; objects with more members; strings and numbers that are long; brackets without end.
    """
    for path, inner in places(value):
        where = ".".join(map(str, path))
        if isinstance(inner, list):
            yield f"{where} repeated", lambda size, path=path, inner=inner: _repeated(value, path, inner, size, named=False)
            yield (
                f"{where} repeated, named",
                lambda size, path=path, inner=inner: _repeated(value, path, inner, size, named=True),
            )
            yield f"{where} deep", lambda size, path=path: _in_place(value, path, b"[" * size)
        elif isinstance(inner, dict):
            yield f"{where} with members", lambda size, path=path, inner=inner: _with_members(value, path, inner, size)
        elif isinstance(inner, str):
            for unit in _UNITS:
                yield (
                    f"{where} of {unit!r}",
                    lambda size, path=path, inner=inner, unit=unit: _json(put(value, path, inner + unit * (size // len(unit)))),
                )
        elif not isinstance(inner, bool) and inner is not None:
            yield f"{where} of digits", lambda size, path=path: _in_place(value, path, b"9" * size)


def _repeated(value: Any, path: tuple[Any, ...], inner: list[Any], size: int, *, named: bool) -> bytes:
    block = inner or ["x"]
    count = max(2, size // len(_json(block)))
    made = [one for number in range(count) for one in (_renamed(block, number) if named else block)]
    return _json(put(value, path, made))


def _with_members(value: Any, path: tuple[Any, ...], inner: dict[str, Any], size: int) -> bytes:
    first = next(iter(inner.values()), "x")
    count = max(2, size // (len(_json(first)) + 8))
    return _json(put(value, path, {**inner, **{f"k{number}": first for number in range(count)}}))


def _in_place(value: Any, path: tuple[Any, ...], raw: bytes) -> bytes:
    return _json(put(value, path, "@here@")).replace(b'"@here@"', raw)


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A JSON value with ``new`` at one of its places."""
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = put(value[path[0]], path[1:], new)
    return value


def _renamed(value: Any, number: int) -> Any:
    if isinstance(value, dict):
        return {
            name: f"{inner}{number}" if name in _IDS and isinstance(inner, str) else _renamed(inner, number)
            for name, inner in value.items()
        }
    return [_renamed(inner, number) for inner in value] if isinstance(value, list) else value


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def is_linear(make: Make, work: Callable[[bytes], object], size: int = SIZE, floor: float = FLOOR) -> tuple[bool, str]:
    """Whether four times as much takes at most eight times as long, or ``floor`` seconds, in CPU time of this thread; and

    the measured times. What is so fast that it would stay below ``floor`` even if it took quadratic time is not measured
    at four times the size. What looks worse is measured again, so that a moment of noise fails nothing."""
    small = make(size)
    if 16 * took(work, small) <= floor:
        return True, ""
    large, times = make(4 * size), ""
    for _ in range(3):
        if (four := took(work, large)) <= floor:
            return True, times
        one = took(work, small)
        times = f"{len(small):,} bytes {one * 1000:.0f} ms, {len(large):,} bytes {four * 1000:.0f} ms"
        if four <= 8 * one:
            return True, times
    return False, times


def took(work: Callable[[bytes], object], data: bytes) -> float:
    """Seconds of CPU time of this thread."""
    gc.disable()  # how long that takes depends on all else that the process holds
    try:
        begun = time.thread_time()
        work(data)
        return time.thread_time() - begun
    finally:
        gc.enable()
