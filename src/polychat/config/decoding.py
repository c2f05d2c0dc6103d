"""Dataclasses from TOML tables, strictly: what a field may hold is its annotation and its metadata (``settings.option``)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .strict import Strict, said

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table, as the dataclass's field says it."""

    name: str
    hint: Any
    """Its type; of ``X | None`` the ``X``."""
    required: bool
    default: Any
    """``None`` where there is none."""
    about: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    """Of a text, or of each text in a list."""
    pattern: str = ""
    form: str = ""
    """The pattern, said for people."""
    reference: bool = False
    """Whether it is where a secret is, or a table of such."""

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it may be, where it is one of several."""
        return get_args(self.hint) if get_origin(self.hint) is Literal else self.choices


@cache
def keys_of(kind: type) -> tuple[Key, ...]:
    """The keys that a table of this dataclass may have, in their order."""
    hints = get_type_hints(kind)
    return tuple(
        Key(
            name=column.name,
            hint=_inner(hints[column.name]),
            required=column.default is MISSING and column.default_factory is MISSING,
            default=column.default_factory() if column.default_factory is not MISSING else _or_none(column.default),
            **{"about": "", **column.metadata},
        )
        for column in sorted(fields(kind), key=lambda column: bool(column.kw_only))  # a base's, which are named, come last
    )


def _or_none(default: Any) -> Any:
    return None if default is MISSING else default


def _inner(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        (inner,) = (one for one in get_args(hint) if one is not type(None))
        return inner
    return hint


def decoded(kind: type[T], table: object, key: str, strict: Strict) -> T:
    """The dataclass that a table says. Raises ``BadInput``."""
    untold: type = kind  # mypy finds no hash in a type[T]
    values = given(untold, table, key, strict)
    for wanted in keys_of(untold):
        if wanted.required and wanted.name not in values:
            raise strict.error(key, f"has no {wanted.name}, which it needs")
    return kind(**values)


def given(kind: type, table: object, key: str, strict: Strict, without: Collection[str] = ()) -> dict[str, Any]:
    """What a table says of the dataclass's fields, and no default. Raises ``BadInput``."""
    known = {one.name: one for one in keys_of(kind) if one.name not in without}
    found = strict.table(table, key)
    strict.known(found, known, f"{key}.")
    return {name: _value(known[name], known[name].hint, value, f"{key}.{name}", strict) for name, value in found.items()}


def _value(one: Key, hint: Any, value: object, key: str, strict: Strict) -> Any:
    if get_origin(hint) is tuple:
        return _list(one, get_args(hint)[0], value, key, strict)
    if get_origin(hint) is Mapping:
        return _entries(one, get_args(hint)[1], value, key, strict)
    if get_origin(hint) is Literal:
        return strict.choice(value, key, get_args(hint))
    if is_dataclass(hint):
        return decoded(hint, value, key, strict)  # type: ignore[arg-type]  # a dataclass, and not one of its values
    if hint is str:
        return _text(one, value, key, strict)
    if hint is bool:
        return strict.flag(value, key)
    if hint is int:
        return strict.whole(value, key, one.least, one.most)
    if hint is float:
        return strict.number(value, key, one.least, one.most)
    if hint is Path:
        return strict.path(value, key)
    raise TypeError(f"{key}: {hint} is nothing that TOML can say")


def _list(one: Key, item: Any, value: object, key: str, strict: Strict) -> tuple[Any, ...]:
    if item is str:
        return tuple(_text(one, entry, key, strict) for entry in strict.texts(value, key))
    if not isinstance(value, list):
        raise strict.error(key, "must be a list of numbers: [1, 2]")
    return tuple(_value(one, item, entry, key, strict) for entry in value)


def _entries(one: Key, item: Any, value: object, key: str, strict: Strict) -> Mapping[str, Any]:
    if one.reference and not isinstance(value, dict):
        raise strict.error(key, 'must be a table of references to secrets: { name = "env:NAME" }')  # it may be a secret
    if one.reference or item is not str:
        return {name: _value(one, item, entry, f"{key}.{name}", strict) for name, entry in strict.table(value, key).items()}
    return strict.pairs(value, key)


def _text(one: Key, value: object, key: str, strict: Strict) -> str:
    if one.reference:
        return strict.reference(value, key)
    if one.choices:
        return strict.choice(value, key, one.choices)
    found = strict.text(value, key)
    if one.pattern and not re.fullmatch(one.pattern, found):
        raise strict.error(key, f"is {said(found)}; it must be {one.form}")
    return found
