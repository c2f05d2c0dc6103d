"""Whether a JSON value meets a JSON schema."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import redact
from ..wire.json_text import encoded

_DEEPEST = 200
"""Schemas within schemas, references included, that are followed."""
_MOST = 200_000
"""Values that are compared with schemas."""


def schema_fault(value: Any, schema: Mapping[str, Any], subject: str = "the answer") -> str | None:
    """The first place of ``value`` that does not meet ``schema``, and why; ``None`` if it does. ``subject``: what it is called.

    Of JSON schema: types, ``enum``, ``const``, objects, arrays, bounds, ``pattern``, ``anyOf``, ``oneOf``, ``allOf``, ``not``,
    and references within the schema. Other keywords, ``format`` among them, allow everything.
    """
    try:
        return next(_Check(schema, subject).faults(value, schema, subject, 0), None)
    except _TooMuch:
        return f"{subject} cannot be checked: it is too large, or the schema refers to itself without end"


class _TooMuch(Exception):
    pass


class _Check:
    def __init__(self, root: Mapping[str, Any], subject: str) -> None:
        self._root, self._subject = root, subject
        self._steps = 0

    def faults(self, value: Any, schema: Any, place: str, depth: int) -> Iterator[str]:
        if not isinstance(schema, Mapping):
            if schema is False:
                yield f"{place} is not allowed"
            return
        self._steps += 1
        if depth > _DEEPEST or self._steps > _MOST:
            raise _TooMuch
        if isinstance(reference := schema.get("$ref"), str):
            yield from self.faults(value, self._meant(reference), place, depth + 1)
        yield from _own_faults(value, schema, place)
        yield from self._combined(value, schema, place, depth)
        if isinstance(value, dict):
            yield from self._of_members(value, schema, place, depth)
        elif isinstance(value, list):
            yield from self._of_items(value, schema, place, depth)

    def _meant(self, reference: str) -> Any:
        """The schema that a reference within the root names; ``True`` for one that names nothing here."""
        schema: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            schema = schema.get(name, True) if isinstance(schema, Mapping) else True
        return schema if reference.startswith("#") else True

    def _meets(self, value: Any, schema: Any, depth: int) -> bool:
        return next(self.faults(value, schema, "", depth + 1), None) is None

    def _combined(self, value: Any, schema: Mapping[str, Any], place: str, depth: int) -> Iterator[str]:
        for inner in _listed(schema, "allOf"):
            yield from self.faults(value, inner, place, depth + 1)
        if (some := _listed(schema, "anyOf")) and not any(self._meets(value, inner, depth) for inner in some):
            yield f"{place} is {_shown(value)}, which meets none of the schema's alternatives"
        if (some := _listed(schema, "oneOf")) and sum(self._meets(value, inner, depth) for inner in some) != 1:
            yield f"{place} is {_shown(value)}, which does not meet exactly one of the schema's alternatives"
        if "not" in schema and self._meets(value, schema["not"], depth):
            yield f"{place} is {_shown(value)}, which the schema excludes"

    def _of_members(self, value: dict[str, Any], schema: Mapping[str, Any], place: str, depth: int) -> Iterator[str]:
        properties = _table(schema, "properties")
        patterns = {name: inner for name, inner in _table(schema, "patternProperties").items() if _compiled(name)}
        yield from (f"{place} has no {name}" for name in _listed(schema, "required") if name not in value)
        for name, member in value.items():
            within = f"{place}.{redact(name, 40)}" if place != self._subject else redact(name, 40)
            inner = [properties[name]] if name in properties else []
            inner += [other for pattern, other in patterns.items() if re.search(pattern, name)]
            for other in inner or [schema.get("additionalProperties", True)]:
                if other is False:
                    yield f"{within} is not a member that the schema has"
                else:
                    yield from self.faults(member, other, within, depth + 1)

    def _of_items(self, value: list[Any], schema: Mapping[str, Any], place: str, depth: int) -> Iterator[str]:
        first = _listed(schema, "prefixItems")
        for number, entry in enumerate(value):
            inner = first[number] if number < len(first) else schema.get("items", True)
            yield from self.faults(entry, inner, f"{place}[{number}]", depth + 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and value % 1 == 0,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}
_BOUNDS: dict[str, tuple[type, Callable[[float, float], bool], str]] = {
    "minimum": (float, operator.ge, "at least {}"),
    "maximum": (float, operator.le, "at most {}"),
    "exclusiveMinimum": (float, operator.gt, "above {}"),
    "exclusiveMaximum": (float, operator.lt, "below {}"),
    "minLength": (str, operator.ge, "at least {} characters long"),
    "maxLength": (str, operator.le, "at most {} characters long"),
    "minItems": (list, operator.ge, "at least {} items long"),
    "maxItems": (list, operator.le, "at most {} items long"),
}
"""Keywords that bound a number, or the length of a text or a list."""


def _own_faults(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    """Those of the value itself, without what it holds."""
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else _listed(schema, "type")
    if kinds and not any(kind in _TYPES and _TYPES[kind](value) for kind in kinds):
        yield f"{place} is {_shown(value)}, which is not of type {' or '.join(map(str, kinds))}"
    if (choices := _listed(schema, "enum")) and not any(_is_same(value, choice) for choice in choices):
        yield f"{place} is {_shown(value)}, which is none of {_shown(choices)}"
    if "const" in schema and not _is_same(value, schema["const"]):
        yield f"{place} is {_shown(value)}, which is not {_shown(schema['const'])}"
    for name, (kind, holds, words) in _BOUNDS.items():
        bound, size = schema.get(name), _size(value, kind)
        if size is not None and isinstance(bound, (int, float)) and not holds(size, bound):
            yield f"{place} is {_shown(value)}, which is not {words.format(f'{bound:g}')}"
    pattern = schema.get("pattern")
    if isinstance(value, str) and isinstance(pattern, str) and _compiled(pattern) and not re.search(pattern, value):
        yield f"{place} is {_shown(value)}, which does not match {redact(pattern, 60)}"


def _compiled(pattern: str) -> re.Pattern[str] | None:
    """``None`` for one that Python's syntax lacks: it is not checked."""
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _size(value: Any, kind: type) -> float | None:
    """A number itself, the length of a text or a list; ``None`` for a value of another kind."""
    if kind is float:
        return value if _is_number(value) else None
    return len(value) if isinstance(value, (str, list)) and isinstance(value, kind) else None


def _is_same(one: Any, other: Any) -> bool:
    """Python's 1 and True are equal, JSON's are not."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _listed(schema: Mapping[str, Any], name: str) -> list[Any]:
    return entries if isinstance(entries := schema.get(name), list) else []


def _table(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return table if isinstance(table := schema.get(name), Mapping) else {}


def _shown(value: Any) -> str:
    return redact(encoded(value), 60)
