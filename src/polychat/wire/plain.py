"""Plain fields by the table: a reader and a writer for each wire, made once at import.

Fields that a request does not set cost next to nothing: a reader iterates over the fields that are present, and a writer is
compiled code that reads each attribute once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, cast

from ..types import ChatRequest
from .field import At, Field
from .fields import FIELDS, plain_fields

Object: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[object, str], Any]
Write: TypeAlias = Callable[[ChatRequest, Object], None]


class FieldReader(Protocol):
    def __call__(self, body: Mapping[str, Any], request: ChatRequest, path: str = "") -> Object: ...


def reader(
    wire: str, within: str = "", fields: Mapping[str, Field] = FIELDS, spelled: Callable[[str], str] | None = None
) -> FieldReader:
    """The reader of the plain fields of a request on ``wire``, or of its object ``within``: ``(object, request, where)``.

    It sets them on ``request`` and returns the other members of the object, without nulls. ``where`` is the prefix of a field's
    name in the ``BadInput`` that it raises for an invalid value. ``spelled`` returns a name as in the table, for a wire with
    several spellings.
    """
    placed = [(row, at) for row, at in _placed(wire, fields) if at.within == within and at.by_code not in ("read", "both")]
    checks_by_name = {at.name: (row.name, _check(row, at)) for row, at in placed}
    older = {name: checks_by_name[at.name] for _, at in placed for name in at.older}

    def read(body: Mapping[str, Any], request: ChatRequest, path: str = "") -> Object:
        rest: Object = {}
        for name, value in body.items():
            if value is None:
                continue
            field = checks_by_name.get(name)
            if field is None and spelled is not None:
                name = spelled(name)  # noqa: PLW2901  # from here on it is the name
                field = checks_by_name.get(name)
            if field is None:
                rest[name] = value
            else:
                attribute, check = field
                setattr(request, attribute, check(value, path + name))
        if older:
            _read_older(older, rest, request, path)
        return rest

    return read


def _read_older(older: Mapping[str, tuple[str, Check]], rest: Object, request: ChatRequest, path: str) -> None:
    """Take the fields out of ``rest`` that have a newer name, which wins where a request has both."""
    for name, (attribute, check) in older.items():
        if name in rest:
            value = check(rest.pop(name), path + name)
            if getattr(request, attribute) is None:
                setattr(request, attribute, value)


def writer(wire: str, fields: Mapping[str, Field] = FIELDS) -> Write:
    """The writer of the plain fields of a request on ``wire``: ``(request, body)`` puts those that are set into ``body``.

    It is generated as source, a line for each field, and compiled: most requests set few of many fields, and a loop over all of
    them would cost more than everything else that is written.
    """
    lines, namespace = ["def write(ask, body):"], dict[str, Any]()
    blank = ChatRequest("", [])
    for row, at in _placed(wire, fields):
        if at.by_code in ("write", "both"):
            continue
        namespace[f"write_{row.name}"] = at.write
        place = f"body.setdefault({at.within!r}, {{}})" if at.within else "body"
        value = "value" if at.write is None else f"write_{row.name}(value)"
        is_set = "value is not None" if getattr(blank, row.name) is None else "value"
        lines += [f"    value = ask.{row.name}", f"    if {is_set}:", f"        {place}[{at.name!r}] = {value}"]
    exec("\n".join(lines), namespace)  # noqa: S102  # the source is the table's alone, and nothing of it comes from elsewhere
    return cast(Write, namespace["write"])


def _placed(wire: str, fields: Mapping[str, Field]) -> list[tuple[Field, At]]:
    return [(row, at) for row in plain_fields(fields) if isinstance(at := row.on(wire), At)]


def _check(row: Field, at: At) -> Check:
    kind = at.type or row.type
    assert kind is not None  # a plain field has one
    check, change = kind.read, at.read
    if change is None:
        return check
    return lambda value, field: change(check(value, field))
