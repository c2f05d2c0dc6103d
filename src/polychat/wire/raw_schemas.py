"""Large JSON schemas of a request stay JSON: as Python values they would take ten times their size.

With ``ReaderLimits.raw_schemas`` a reader returns the members of a large schema as ``msgspec.Raw``: ``{"type": "object",
"properties": Raw(…)}``. Writers of JSON write them unchanged. Code that changes a schema checks ``is_raw`` and reads one of its
members at a time, with ``changed`` and ``each``.

JSON that stays is the same as if it were decoded and encoded: each member is decoded once, and invalid ones are refused.
JSON that would change (a name that occurs twice, white space, ``1E5``; a member that a wire changes) is found first, and
produced while it is written: ``JSONPieces``. It is never held besides the received JSON and the sent one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from ..types import ChatRequest, Tool
from .json_text import (
    JSONPieces,
    check_depth,
    decoded,
    encoded,
    encoded_at_once,
    from_raw,
    is_raw,
    level,
    pieces_of,
    raw,
)
from .limits import ReaderLimits

LARGE = 256 * 1024
"""Bytes of a request's field above which the schemas in it stay JSON."""
_SMALL = 1024
"""Bytes up to which a value is decoded in any case."""
_PIECE = 64 * 1024
"""Bytes of a schema that are decoded together: decoded, they temporarily take ten times as many."""
_STEPS = 12
"""Maximum levels of a schema that are split one by one; each level is a pass over all its contents."""
_STEPS_TO_SCHEMAS = 6
WITH_SCHEMAS = frozenset(
    (
        *("tools", "functions", "response_format", "text", "output_config", "generationConfig", "generation_config"),
        *("generateContentRequest", "generate_content_request", "format"),
    )
)
"""Fields of a request that contain schemas."""
_SCHEMAS = frozenset(
    (
        *("parameters", "input_schema", "schema", "parametersJsonSchema", "responseSchema", "responseJsonSchema"),
        *("parameters_json_schema", "response_schema", "response_json_schema"),
    )
)
"""The names of schemas in these fields."""


class _TooManySteps(Exception):  # internal to this module
    pass


def decoded_request(body: bytes, limits: ReaderLimits) -> Any:
    """A request's body as a value. Raises only ``ValueError`` (``TooDeep`` if it is nested deeper than ``limits`` allow)."""
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
        if name in WITH_SCHEMAS:
            return _opened(value, name, _STEPS_TO_SCHEMAS)
    return from_raw(value)


def _opened(value: Any, name: str, steps: int) -> Any:
    """The value under ``name``, in which schemas stay JSON if they are large."""
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
    """The value as canonical JSON: what encoding its decoded value would give."""
    if len(value) <= _PIECE or level(value) is None:
        return _as_raw(value, from_raw(value))
    if not steps:
        raise _TooManySteps
    return _Each(value, partial(_tidy, steps=steps - 1), is_tidying=True).or_original()


def _as_raw(original: Any, value: Any) -> Any:
    """``value`` as JSON; ``original`` unchanged if it is the same."""
    if value is original:
        return original
    made = encoded(value)
    return original if made == bytes(original) else raw(made)


def _has_raw(value: Any) -> bool:
    return any(map(is_raw, value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()))


def has_raw(request: ChatRequest) -> bool:
    """Whether a schema of a request is large and stayed JSON."""
    schemas = [tool.parameters for tool in request.tools if isinstance(tool, Tool)]
    return any(map(_has_raw, [*schemas, None if request.format is None else request.format.schema]))


# Changing schemas.


def changed(schema: Any, change: Callable[[Any], Any]) -> Any:
    """The result of ``change`` for a schema that stayed JSON, as JSON; the schema itself if nothing changes."""
    old = opened(schema)
    new = change(old)
    if new == old:
        return schema
    made = None if _has_raw(new) else encoded_at_once(new)
    return _Changed(new) if made is None else raw(made)


def opened(schema: Any) -> Any:
    """A schema that stayed JSON as a value whose large members or items are still JSON; any other value unchanged."""
    if isinstance(schema, _Changed):
        return schema.value
    if isinstance(schema, _Each):
        return schema.members()
    inner = level(schema) if is_raw(schema) else None
    if isinstance(inner, dict):
        return {name: _large_stays(entry) for name, entry in inner.items()}
    return from_raw(schema) if inner is None else [_large_stays(entry) for entry in inner]


def is_object(value: Any) -> bool:
    """Whether a value is an object, or JSON of an object."""
    if isinstance(value, _Each):
        return value.kind is dict
    return isinstance(level(value) if is_raw(value) and not isinstance(value, _Changed) else opened(value), dict)


def each(values: Any, change: Callable[[Any], Any], kind: type) -> Any:
    """An object or an array (``kind``: ``dict``, ``list``) that stayed JSON, with ``change`` applied to each of its values.

    The same object if nothing changes, or if it is of another kind.
    """
    if isinstance(values, _Changed):
        return changed(values, lambda value: _with_each(value, change) if isinstance(value, kind) else value)
    if isinstance(values, _Each):
        return values.and_then(change).or_original() if values.kind is kind else values
    inner = level(values)
    return _Each(values, change).or_original() if isinstance(inner, kind) else values


def _with_each(value: Any, change: Callable[[Any], Any]) -> Any:
    return (
        {name: change(entry) for name, entry in value.items()}
        if isinstance(value, dict)
        else [change(entry) for entry in value]
    )


class Subschemas(NamedTuple):
    """The keywords of a schema that contain schemas: a single one, a list of them, or several by name."""

    single: frozenset[str]
    listed: frozenset[str]
    named: frozenset[str]


def within(keyword: str, value: Any, change: Callable[[Any], Any], places: Subschemas) -> Any:
    """The value of a schema's ``keyword``, with ``change`` applied to each schema in it; unchanged for any other keyword."""
    if keyword in places.single:
        return change(value)
    if keyword not in places.listed and keyword not in places.named:
        return value
    is_list = keyword in places.listed
    if is_raw(value):
        return each(value, change, list if is_list else dict)
    return _with_each(value, change) if isinstance(value, list if is_list else dict) else value


def _large_stays(value: Any) -> Any:
    return value if len(value) > _PIECE else from_raw(value)


_Values: TypeAlias = dict[str, Any] | list[Any]


class _Changed(JSONPieces):
    """The changed value of a large schema, parts of which are JSON."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def pieces(self) -> Iterator[bytes]:
        return pieces_of(self.value)


def _as_it_is(value: Any) -> Any:
    return value


class _Each(JSONPieces):
    """``original``, an object or array in JSON, with ``change`` applied to each of its values; large ones are passed as JSON.

    Many small ones are decoded and encoded together. ``first``: an earlier change of ``original``, to build upon.
    """

    __slots__ = ("_change", "_first", "_is_tidying", "_large", "_original", "kind")

    def __init__(
        self, original: Any, change: Callable[[Any], Any], first: _Each | None = None, *, is_tidying: bool = False
    ) -> None:
        self._original = original
        self._is_tidying = is_tidying
        """Whether small values stay unchanged, and only the bytes between the values change."""
        self._change = change
        self._first = first
        self._large: dict[int, Any] = {}
        """The changed large values, by position: each is changed once."""
        self.kind: type = dict if bytes(memoryview(original)[:64]).lstrip()[:1] == b"{" else list

    def and_then(self, change: Callable[[Any], Any]) -> _Each:
        return _Each(self._original, change, self)

    def or_original(self) -> Any:
        """This object, or the original if nothing changes."""
        before = self._original if self._first is None else self._first
        size = 1
        for group, at, has_large in self._groups():
            part = b"" if has_large else encoded(group)
            size += _size(group) if has_large else len(part) - 1
            if not (self._keeps_large(group, at) if has_large else self._keeps(part)):
                if not self._is_tidying:
                    return self
                size = -len(self._original)  # the rest is examined all the same: it may be invalid JSON
        return self if self._is_tidying and size != len(self._original) else before

    def members(self) -> _Values:
        """The members or items, of which large ones are JSON."""
        values: Any = level(self._original)
        return self._after(values, 0)

    def names(self) -> frozenset[str]:
        """The names of an object's members."""
        members: Any = level(self._original)
        return frozenset(members) if self.kind is dict else frozenset()

    def pieces(self) -> Iterator[bytes]:
        yield b"{" if self.kind is dict else b"["
        for group, at, has_large in self._groups():
            if at:
                yield b","
            yield from _inside(pieces_of(self._after(group, at) if has_large else self._together(group)))
        yield b"}" if self.kind is dict else b"]"

    def _groups(self) -> Iterator[tuple[_Values, int, bool]]:
        """Its values, still JSON, in groups: the position of the first, the values, and whether it is a single large one."""
        values: Any = level(self._original)
        at, count = 0, max(1, _PIECE * len(values) // len(self._original))
        for group in _grouped(values, count):
            yield group, at, max(map(len, _members(group))) > _PIECE
            if isinstance(values, dict):
                values.update(dict.fromkeys(group))
            else:
                values[at : at + len(group)] = [None] * len(group)
            at += len(group)

    def _keeps(self, part: bytes) -> bool:
        """Whether small values stay unchanged."""
        value = from_raw(raw(part))
        if self._first is not None:
            value = self._first.changed_small(value)
            part = encoded(value)
        return part == encoded_at_once(self._changed(value))

    def _keeps_large(self, group: _Values, at: int) -> bool:
        for number, entry in enumerate(_members(group), at):
            before = entry if self._first is None else self._first.changed_one(entry, number)
            new = self.changed_one(entry, number)
            if new is not before and (is_raw(new) or encoded(new) != encoded(before)):
                return False
        return True

    def _together(self, group: _Values) -> Any:
        return self.changed_small(from_raw(raw(encoded(group))))

    def changed_small(self, value: Any) -> Any:
        """The results for several values."""
        return self._changed(value if self._first is None else self._first.changed_small(value))

    def _changed(self, value: Any) -> Any:
        return value if self._is_tidying else _with_each(value, self._change)

    def _after(self, group: _Values, at: int) -> _Values:
        if isinstance(group, dict):
            return {name: self.changed_one(entry, number) for number, (name, entry) in enumerate(group.items(), at)}
        return [self.changed_one(entry, number) for number, entry in enumerate(group, at)]

    def changed_one(self, entry: Any, number: int) -> Any:
        """The result for the value at a position, which is passed as JSON."""
        if len(entry) <= _PIECE:
            value = from_raw(entry) if self._first is None else self._first.changed_one(entry, number)
            return value if self._is_tidying else self._change(value)
        if number not in self._large:
            self._large[number] = self._change(entry if self._first is None else self._first.changed_one(entry, number))
        return self._large[number]


class _Joined(_Each):
    """Several objects in JSON as one. No two have a name in common, and none is empty."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[_Each]) -> None:
        super().__init__(b"{}", _as_it_is)
        self._parts = parts

    def and_then(self, change: Callable[[Any], Any]) -> _Each:
        return _Joined([part.and_then(change) for part in self._parts])

    def or_original(self) -> Any:
        return self

    def names(self) -> frozenset[str]:
        return frozenset().union(*(part.names() for part in self._parts))

    def members(self) -> _Values:
        return _members_of([part.members() for part in self._parts])

    def pieces(self) -> Iterator[bytes]:
        for number, part in enumerate(self._parts):
            yield b"," if number else b"{"
            yield from _inside(part.pieces())
        yield b"}"


def joined(objects: list[Any]) -> Any:
    """All members of these objects; of two with the same name, the later. A value that is not an object has none."""
    if len(objects) == 1 and is_object(objects[0]):
        return objects[0]
    parts = [_Each(value, _as_it_is) if is_raw(value) and not isinstance(value, JSONPieces) else value for value in objects]
    return _Joined(parts) if _are_disjoint(parts) else _members_of(objects)


def _are_disjoint(parts: list[Any]) -> bool:
    """Whether all of them are objects that stayed JSON, and no two have a member of the same name."""
    names: set[str] = set()
    for part in parts:
        members = part.names() if isinstance(part, _Each) else frozenset()
        if not members or not names.isdisjoint(members):
            return False
        names |= members
    return True


def _members_of(objects: list[Any]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for value in objects:
        inner = opened(value)
        members |= inner if isinstance(inner, dict) else {}
    return members


def _grouped(values: _Values, count: int) -> Iterator[_Values]:
    if isinstance(values, list):
        for at in range(0, len(values), count):
            yield values[at : at + count]
    else:
        items = iter(values.items())
        while group := dict(islice(items, count)):
            yield group


def _members(group: _Values) -> Any:
    return group.values() if isinstance(group, dict) else group


def _size(group: _Values) -> int:
    """Bytes of some values in JSON, with one bracket or comma each."""
    names = len(encoded(dict.fromkeys(group, 0))) - 1 - len(group) if isinstance(group, dict) else len(group)
    return names + sum(map(len, _members(group)))


def _inside(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The JSON in pieces without its outer brackets; no piece is empty."""
    held = next(pieces)[1:]
    for piece in pieces:
        yield held
        held = piece
    yield held[:-1]
