"""Large JSON schemas of a request stay JSON: as values of Python they would take ten times their size.

With ``ReaderLimits.raw_schemas`` a reader gives the members of a large schema as ``msgspec.Raw``: ``{"type": "object",
"properties": Raw(…)}``. What writes JSON writes them as they are. What changes a schema asks ``is_raw`` and reads one of its
members at a time, by ``changed`` and ``each``.

What stays JSON is what it would be if it were decoded and encoded: each member is decoded once, and what encodes otherwise
than it came (a name that is there twice, white space, ``1E5``) is kept as it encodes; what cannot be decoded is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from .json_text import check_depth, decoded, encoded, from_raw, is_raw, level, raw
from .limits import ReaderLimits

LARGE = 256 * 1024
"""Bytes of a request's field above which the schemas in it stay JSON."""
_SMALL = 1024
"""Bytes that are decoded in any case."""
_PIECE = 64 * 1024
"""Bytes of a schema that are decoded together: for a moment they take ten times as many."""
_STEPS = 12
"""Levels of a schema that are taken apart one by one; each costs a look at all that is in it."""
_STEPS_TO_SCHEMAS = 6
_FIELDS = frozenset(("tools", "functions", "response_format", "text", "output_config", "generationConfig", "generation_config"))
"""What of a request has schemas in it."""
_SCHEMAS = frozenset(
    (
        *("parameters", "input_schema", "schema", "parametersJsonSchema", "responseSchema", "responseJsonSchema"),
        *("parameters_json_schema", "response_schema", "response_json_schema"),
    )
)
"""What they are called there."""


class _TooManySteps(Exception):  # never leaves this module
    pass


def decoded_request(body: bytes, limits: ReaderLimits) -> Any:
    """A request's body as a value. Raises ``ValueError`` (``TooDeep`` for one nested deeper than ``limits``), nothing else."""
    if not limits.raw_schemas or len(body) <= LARGE:
        return decoded(body, limits.depth)
    check_depth(body, limits.depth)
    fields = level(body)
    if not isinstance(fields, dict):
        return decoded(body, limits.depth)
    return {name: _field(name, value) for name, value in fields.items()}


def _field(name: str, value: Any) -> Any:
    if len(value) > LARGE:
        if name == "format":
            return _schema(value)
        if name in _FIELDS:
            return _opened(value, name, _STEPS_TO_SCHEMAS)
    return from_raw(value)


def _opened(value: Any, name: str, steps: int) -> Any:
    """The value of what stands under ``name``, with its schemas as they stay."""
    if len(value) <= _SMALL or not steps:
        return from_raw(value)
    if name in _SCHEMAS:
        return _schema(value)
    inner = level(value)
    if isinstance(inner, dict):
        return {key: _opened(entry, key, steps - 1) for key, entry in inner.items()}
    return from_raw(value) if inner is None else [_opened(entry, "", steps - 1) for entry in inner]


def _schema(value: Any) -> Any:
    members = level(value)
    if not isinstance(members, dict):
        return from_raw(value)
    try:
        return {name: from_raw(entry) if len(entry) <= _SMALL else _tidy(entry, _STEPS) for name, entry in members.items()}
    except _TooManySteps:
        return from_raw(value)


def _tidy(value: Any, steps: int) -> Any:
    """What stays JSON, as it would be encoded."""
    if len(value) <= _PIECE or (inner := level(value)) is None:
        return _as_raw(value, from_raw(value))
    if not steps:
        raise _TooManySteps
    return _each(value, inner, lambda entry: _tidy(entry, steps - 1), None)


def _as_raw(original: Any, value: Any) -> Any:
    """``value``, as which ``original`` is to stay, as JSON."""
    if value is original:
        return original
    made = encoded(value)
    return original if made == bytes(original) else raw(made)


# What changes a schema.


def changed(schema: Any, change: Callable[[Any], Any]) -> Any:
    """What ``change`` makes of a schema that stayed JSON, as JSON; itself where that is the same."""
    inner = level(schema)
    value: Any
    if isinstance(inner, dict):
        value = {name: _large_stays(entry) for name, entry in inner.items()}
    else:
        value = from_raw(schema) if inner is None else [_large_stays(entry) for entry in inner]
    return _as_raw(schema, change(value))


def each(values: Any, change: Callable[[Any], Any], kind: type) -> Any:
    """An object or an array (``kind``: ``dict``, ``list``) that stayed JSON, with ``change`` of each of its values.

    Itself where nothing changes, or where it is of another kind.
    """
    inner = level(values)
    return values if inner is None or not isinstance(inner, kind) else _each(values, inner, change, change)


class Subschemas(NamedTuple):
    """The keywords of a schema that hold schemas: a single one, a list of them, or several by name."""

    single: frozenset[str]
    listed: frozenset[str]
    named: frozenset[str]


def within(keyword: str, value: Any, change: Callable[[Any], Any], places: Subschemas) -> Any:
    """The value of a schema's ``keyword``, with ``change`` of each schema that it holds; of any other keyword itself."""
    if keyword in places.single:
        return change(value)
    if keyword not in places.listed and keyword not in places.named:
        return value
    is_list = keyword in places.listed
    if is_raw(value):
        return each(value, change, list if is_list else dict)
    if is_list:
        return [change(entry) for entry in value] if isinstance(value, list) else value
    return {name: change(entry) for name, entry in value.items()} if isinstance(value, dict) else value


def _large_stays(value: Any) -> Any:
    return value if len(value) > _PIECE else from_raw(value)


_Values: TypeAlias = dict[str, Any] | list[Any]


def _each(original: Any, values: _Values, large: Callable[[Any], Any], small: Callable[[Any], Any] | None) -> Any:
    """``original``, whose ``values`` are given in JSON, with ``large`` and ``small`` of each; ``None``: as it is.

    Many of them are decoded and encoded together. What is written anew of ``values`` is let go at once.
    """
    size, done, made = 1, 0, None
    for group in _groups(values, max(1, _PIECE * len(values) // len(original))):
        part = encoded(group)
        size += len(part) - 1
        other = encoded(_changed_group(group, part, large, small))
        if made is None and other != part:
            made = BytesIO()
            made.write(_first(values, done))
        if made is not None:
            made.write(b"," if done else part[:1])
            made.write(memoryview(other)[1:-1])
            _let_go(values, group, done)
        done += len(group)
    if made is None:
        return original if size == len(original) else raw(encoded(values))
    made.write(b"}" if isinstance(values, dict) else b"]")
    return raw(made.getvalue())


def _groups(values: _Values, count: int) -> Iterator[_Values]:
    if isinstance(values, list):
        for at in range(0, len(values), count):
            yield values[at : at + count]
    else:
        items = iter(values.items())
        while group := dict(islice(items, count)):
            yield group


def _changed_group(group: _Values, part: bytes, large: Callable[[Any], Any], small: Callable[[Any], Any] | None) -> _Values:
    value: _Values
    if max(map(len, group.values() if isinstance(group, dict) else group)) > _PIECE:
        value = group
    else:
        value = from_raw(raw(part))
        if small is None:
            return value
    small = small or _same

    def change(entry: Any) -> Any:
        return small(entry) if not is_raw(entry) else large(entry) if len(entry) > _PIECE else small(from_raw(entry))

    return (
        {name: change(entry) for name, entry in value.items()}
        if isinstance(value, dict)
        else [change(entry) for entry in value]
    )


def _same(value: Any) -> Any:
    return value


def _first(values: _Values, count: int) -> memoryview:
    """The beginning of these values in JSON: so many of them."""
    group = dict(islice(values.items(), count)) if isinstance(values, dict) else values[:count]
    return memoryview(encoded(group))[: -1 if count else 0]


def _let_go(values: _Values, group: _Values, begin: int) -> None:
    if isinstance(values, dict):
        values.update(dict.fromkeys(group))
    else:
        values[begin : begin + len(group)] = [None] * len(group)
