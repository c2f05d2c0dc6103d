"""Tables of TOML as types, by msgspec; and what its errors lack: which key is at fault, and what its value must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeAlias, TypeVar

from msgspec import ValidationError, convert, inspect

from ..errors import BadInput
from .file_errors import FileErrors, bounds, listed, near, quoted

T = TypeVar("T")
Path: TypeAlias = tuple[str | None, ...]
"""From a table to a value in it; ``None`` is an entry of a list."""


@cache
def keys_of(kind: type) -> Mapping[str, inspect.Field]:
    """The keys that a table of this type may have, in their order."""
    table = inspect.type_info(kind)
    assert isinstance(table, inspect.StructType)
    return {field.name: field for field in table.fields}


def meaning(key: inspect.Field) -> str:
    """What a key means, by its annotation."""
    return str((getattr(key.type, "extra_json_schema", None) or {}).get("description", ""))


def decoded(kind: type[T], table: object, key: str, errors: FileErrors) -> T:
    """The value of the table ``key``. Raises ``BadInput`` for the first of its keys at fault."""
    try:
        return convert(table, kind, dec_hook=errors.path)
    except ValidationError:
        raise _Search(kind, key, errors).fault(inspect.type_info(kind), table, ()) from None


def misfit(kind: type, name: str, value: object) -> str:
    """What is wrong with ``value`` for one key of a table, as the rest of a sentence; empty where nothing is."""
    try:
        convert({name: value}, kind)
    except ValidationError:
        return _complaint(keys_of(kind)[name].type, value)
    return ""


@dataclass(frozen=True, slots=True)
class _Search(Generic[T]):
    """For what in a table does not fit: each part of it is tried alone, as msgspec names no entry of a mapping."""

    kind: type[T]
    key: str
    errors: FileErrors

    def fault(self, kind: inspect.Type, value: Any, path: Path) -> BadInput:
        """The error about ``value``, which is at ``path`` and is not of ``kind``."""
        key = ".".join(name for name in (self.key, *path) if name)
        for name, part, inner in self._parts(kind, value, key):
            if not self._fits(inner, (*path, name)):
                return self.fault(part, inner, (*path, name))
        complaint = _complaint(kind, value, in_list=path[-1:] == (None,))
        return self.errors.error(key, f"{complaint}: [{key}]" if complaint.endswith("a table") else complaint)

    def _parts(self, kind: inspect.Type, value: Any, key: str) -> Iterator[tuple[str | None, inspect.Type, Any]]:
        """The values in ``value``, each with its name and type. Raises ``BadInput`` for a key that no table may have."""
        for choice in _kinds(kind):
            match choice, value:
                case inspect.StructType(fields=fields), dict():
                    self.errors.known(value, [field.name for field in fields], f"{key}." if key else "")
                    yield from ((field.name, field.type, value[field.name]) for field in fields if field.name in value)
                case inspect.DictType(value_type=entry), dict():
                    yield from ((name, entry, inner) for name, inner in value.items())
                case inspect.VarTupleType(item_type=entry), list():
                    yield from ((None, entry, inner) for inner in value)

    def _fits(self, value: Any, path: Path) -> bool:
        """Whether a value is valid at ``path`` of a table that has no other key."""
        for name in reversed(path):
            value = [value] if name is None else {name: value}
        try:
            convert(value, self.kind, dec_hook=self.errors.path)
        except ValidationError:
            return False
        return True


def _complaint(kind: inspect.Type, value: object, *, in_list: bool = False) -> str:
    if _extra(kind, "hidden"):
        return f"must be {form(kind)}"
    subject = f"has {quoted(value)} in its list; each" if in_list else f"is {quoted(value)}; it"
    return f"{subject} must be {form(kind)}{near(value, choices_of(kind), '; ')}"


def form(kind: inspect.Type) -> str:
    """What a value must be, as text: ``a whole number from 0 to 65535``."""
    if text := _extra(kind, "form"):
        return str(text)
    *others, last = _kinds(kind)  # of one and a list of such, the list
    match last:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=least, le=most):
            return f"a whole number{bounds(least, most)}"
        case inspect.FloatType(gt=float() | int() as above, le=float() | int() as most):
            return f"a number above {above} and at most {most}"
        case inspect.FloatType(ge=least, le=most):
            return f"a number{bounds(least, most)}"
        case inspect.LiteralType():
            return " or ".join([*map(form, others), listed(choices_of(last))])
        case inspect.VarTupleType(item_type=entry):
            return f"a list of {form(entry).removeprefix('a ').replace('number', 'numbers', 1)}"
        case inspect.StructType():
            return "a table"
        case inspect.DictType(value_type=entry):
            return "a table" if table_in(entry) else 'a table of text: { name = "value" }'
        case inspect.CustomType():
            return "the path of a file"
        case inspect.StrType(max_length=int(most)):
            return f"text of at most {most:,} characters"
        case inspect.StrType(min_length=int(least)) if least == 1:
            return "text that is not empty"
    return "text"


def choices_of(kind: inspect.Type) -> tuple[str, ...]:
    """The texts that a value may be, where it is one of several."""
    return next((tuple(map(str, choice.values)) for choice in _kinds(kind) if isinstance(choice, inspect.LiteralType)), ())


def table_in(kind: inspect.Type) -> type | None:
    """What reads the table that a value is."""
    return next((choice.cls for choice in _kinds(kind) if isinstance(choice, inspect.StructType)), None)


def entry_of(kind: inspect.Type) -> inspect.Type | None:
    """The type of a mapping's values."""
    return next((choice.value_type for choice in _kinds(kind) if isinstance(choice, inspect.DictType)), None)


def _kinds(kind: inspect.Type) -> Iterator[inspect.Type]:
    """The types that a value may have, without their constraints' wrappers and without ``None``, which TOML does not have."""
    match kind:
        case inspect.Metadata(type=inner):
            yield from _kinds(inner)
        case inspect.UnionType(types=types):
            for choice in types:
                yield from _kinds(choice)
        case inspect.NoneType():
            pass
        case _:
            yield kind


def _extra(kind: inspect.Type, name: str) -> Any:
    """The ``extra`` of an annotation's ``Meta``, by name; a table or list of hidden values is hidden, too."""
    match kind:
        case inspect.Metadata(type=inner, extra=extra):
            return (extra or {}).get(name) or _extra(inner, name)
        case inspect.DictType(value_type=entry) | inspect.VarTupleType(item_type=entry) if name == "hidden":
            return _extra(entry, name)
        case inspect.UnionType(types=types) if name == "hidden":  # one or a list of such
            return any(_extra(one, name) for one in types)
    return None
