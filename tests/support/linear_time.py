"""Large inputs, grown from small valid values at one place, and how the time to read them grows with their size."""

from __future__ import annotations

import copy
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

SIZE = 250_000
"""Bytes; what is compared with it has four times as many."""
FLOOR = 0.15
"""Seconds of CPU below which nothing is told by a ratio."""
_IDS = {"id", "name", "call_id", "tool_use_id", "tool_call_id", "url", "item_id", "title", "uri"}
_UNITS = ('token-\\" <!-- ',)
_NUMBER = "@number@"

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
    items = _renamed(inner or ["x"], _NUMBER) if named else inner or ["x"]
    block = _json(items)[1:-1]
    return _in_place(value, path, b"[%b]" % b",".join(_numbered(block, max(2, size // (len(block) + 2)))))


def _with_members(value: Any, path: tuple[Any, ...], inner: dict[str, Any], size: int) -> bytes:
    member = b'"k%b":%b' % (_NUMBER.encode(), _json(next(iter(inner.values()), "x")))
    held = [_json(inner)[1:-1]] if inner else []
    return _in_place(value, path, b"{%b}" % b",".join([*held, *_numbered(member, max(2, size // len(member)))]))


def _numbered(block: bytes, count: int) -> list[bytes]:
    """So many of a piece of JSON, each with its number where it has a place for one."""
    parts = block.split(_NUMBER.encode())
    return [block] * count if len(parts) == 1 else [(b"%d" % number).join(parts) for number in range(count)]


def _in_place(value: Any, path: tuple[Any, ...], raw: bytes) -> bytes:
    return _json(put(value, path, "@here@")).replace(b'"@here@"', raw)


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A JSON value with ``new`` at one of its places."""
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = put(value[path[0]], path[1:], new)
    return value


def _renamed(value: Any, number: str) -> Any:
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
    at four times the size. What looks worse is measured again, so that a moment of noise fails nothing.

    Under a tracer, such as that of ``make coverage``, nothing is measured: CPython then copies a string that it extends.
    """
    if sys.gettrace() is not None:
        return True, ""
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


def steps(work: Callable[[], object]) -> int:
    """How many lines of Python it executes, and how many functions in C it calls from them: the same number each time."""
    count = 0

    def traced(_frame: FrameType, _event: str, _arg: object) -> Any:
        nonlocal count
        count += 1
        return traced

    def profiled(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    sys.setprofile(profiled)
    sys.settrace(traced)
    try:
        work()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


class StepGrowth(NamedTuple):
    """Steps of Python that reading takes for each byte more: from an input of one size to two, and from two to four."""

    early: float
    late: float
    counted: str

    @property
    def is_linear(self) -> bool:
        """Whether a byte of the longer input takes no more of them, up to a tenth."""
        return self.late <= 1.1 * self.early + 0.01


def step_growth(make: Make, work: Callable[[bytes], object], size: int = 5_000) -> StepGrowth:
    """Of ``size`` bytes, twice and four times as many.

    Steps do not depend on the machine, so a few dozen items show a loop in a loop. What one call in C does is not seen: a
    list that is searched or copied for each of its items. ``is_linear`` shows that, in a larger input.
    """
    inputs = [make(size), make(2 * size), make(4 * size)]
    lengths = list(map(len, inputs))
    if not lengths[0] < lengths[1] < lengths[2]:  # one item is that long
        return step_growth(make, work, 4 * size)
    work(inputs[0])  # what is looked up once in a process
    counts = [steps(partial(work, data)) for data in inputs]
    early, late = ((counts[at + 1] - counts[at]) / (lengths[at + 1] - lengths[at]) for at in (0, 1))
    counted = ", ".join(f"{length:,} bytes {count:,} steps" for length, count in zip(lengths, counts, strict=True))
    return StepGrowth(early, late, counted)
