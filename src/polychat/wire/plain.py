"""Plain fields by the table: readers and writers for a wire, made once, as it is imported.

What a request does not say costs nothing: a reader goes over the fields that are there, and a writer fetches all attributes
at once and has nothing to do where none was said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

from ..types import Ask
from .field import At, Field
from .fields import FIELDS, plain_fields

Object: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[object, str], Any]
Write: TypeAlias = Callable[[Ask, Object], None]


class Read(Protocol):
    def __call__(self, said: Mapping[str, Any], ask: Ask, where: str = "") -> Object: ...


def reader(wire: str, within: str = "", fields: Mapping[str, Field] = FIELDS) -> Read:
    """What reads the plain fields of a request on ``wire``, or of its object ``within``: ``(object, ask, where)``.

    It sets them on ``ask`` and gives what else the object says, without nulls. ``where`` is put before a field's name in the
    ``BadInput`` that it raises for a value that cannot be.
    """
    known: dict[str, tuple[str, Check]] = {}
    older: dict[str, tuple[str, Check]] = {}
    for row, at in _placed(wire, fields):
        if at.within == within and at.by_code not in ("read", "both"):
            known[at.name] = (row.name, _check(row, at))
            older |= dict.fromkeys(at.older, known[at.name])

    def read(said: Mapping[str, Any], ask: Ask, where: str = "") -> Object:
        left: Object = {}
        for name, value in said.items():
            if value is None:
                continue
            field = known.get(name)
            if field is None:
                left[name] = value
            else:
                setattr(ask, field[0], field[1](value, where + name))
        for name, (attribute, check) in older.items():
            if name in left:
                value = check(left.pop(name), where + name)
                if getattr(ask, attribute) is None:
                    setattr(ask, attribute, value)
        return left

    return read


def writer(wire: str, fields: Mapping[str, Field] = FIELDS) -> Write:
    """What writes the plain fields of a request on ``wire``: ``(ask, body)`` puts those that ``ask`` says into ``body``."""
    written = [(row, at) for row, at in _placed(wire, fields) if at.by_code not in ("write", "both")]
    places = tuple((at.within, at.name, at.write) for _, at in written)
    values_of: Callable[[Ask], Any] = attrgetter(*(row.name for row, _ in written))
    unsaid = values_of(Ask("", []))

    def write(ask: Ask, body: Object) -> None:
        values = values_of(ask)
        if values == unsaid:
            return
        for (within, name, change), value in zip(places, values, strict=True):
            if value is None or (not value and value.__class__ is list):
                continue
            inside = body.setdefault(within, {}) if within else body
            inside[name] = value if change is None else change(value)

    return write


def _placed(wire: str, fields: Mapping[str, Field]) -> list[tuple[Field, At]]:
    return [(row, at) for row in plain_fields(fields) if isinstance(at := row.on(wire), At)]


def _check(row: Field, at: At) -> Check:
    kind = at.type or row.type
    assert kind is not None  # a plain field has one
    check, change = kind.read, at.read
    if change is None:
        return check
    return lambda value, field: change(check(value, field))
