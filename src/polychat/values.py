"""``Value``: the base of the plain values that travel between packages, made by compiled code: each chat makes a dozen.

For everything that asks, a value is a dataclass: ``dataclasses.replace``, ``fields`` and ``asdict`` work.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

if TYPE_CHECKING:
    from typing import Self

    from mypy_extensions import mypyc_attr as mypyc_attr  # noqa: PLC0414  # other modules import it here
else:

    def mypyc_attr(**_: bool) -> Any:
        """What mypyc is told of a class that it compiles."""
        return lambda described: described


class _Fields:
    """A class's fields as ``dataclasses`` describes them, on first use."""

    def __init__(self) -> None:
        self._known: dict[type, dict[str, dataclasses.Field[Any]]] = {}

    def __get__(self, _: object, owner: type[Struct]) -> dict[str, dataclasses.Field[Any]]:
        if owner not in self._known:
            described = dataclasses.make_dataclass(owner.__name__, _described(owner))
            self._known[owner] = {field.name: field for field in dataclasses.fields(described)}
        return self._known[owner]


def _described(owner: type[Struct]) -> list[tuple[str, Any, Any]]:
    names, defaults = owner.__struct_fields__, owner.__struct_defaults__
    types = {name: hint for base in reversed(owner.__mro__) for name, hint in vars(base).get("__annotations__", {}).items()}
    required = len(names) - len(defaults)
    fields = [dataclasses.field() for _ in range(required)] + [_with_default(default) for default in defaults]
    return [(name, types[name], field) for name, field in zip(names, fields, strict=True)]


def _with_default(default: Any) -> Any:
    factory = getattr(default, "factory", None)
    return dataclasses.field(default=default) if factory is None else dataclasses.field(default_factory=factory)


class Value(Struct):
    """A value. Subclasses list their fields with types and defaults, as dataclasses do.

    With ``gc=False``, for fields that refer to nothing but atoms and such values, the garbage collector does not see them.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]] = _Fields()  # type: ignore[assignment]  # a descriptor

    if TYPE_CHECKING:

        def __copy__(self) -> Self:
            """The same values; ``dataclasses.replace`` takes as long as reading a small request."""
