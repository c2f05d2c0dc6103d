"""The types of values in polychat.toml, with their bounds, and what every table of it is."""

from __future__ import annotations

from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias, TypeVar, get_type_hints

from msgspec import Meta, Struct, convert, structs

T = TypeVar("T")
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Bytes: TypeAlias = Annotated[int, Meta(ge=1024)]
Attempts: TypeAlias = Annotated[int, Meta(ge=1, le=20)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
Pause: TypeAlias = Annotated[float, Meta(ge=0.1)]
Timeout: TypeAlias = Annotated[float, Meta(ge=0.001)]
Dollars: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Amount: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000_000_000_000)]
"""Requests or tokens. Databases keep 64 bits, of dollars in billionths."""
LITERAL_KEY = (
    r"((g|c)?sk[_-]|AIza"
    r"|(pk|rk|hf|r8|fw|tgp|xai|nvapi|gh[opsu]|github_pat|pcs?)[_-]([A-Za-z0-9]{1,8}[_-])?[A-Za-z0-9]{12}"
    r"|([^:]*_)?(?=[A-Za-z0-9]{16})[A-Za-z0-9]*[0-9][A-Za-z]+[0-9])"
)
"""The beginning of a key where a name should be: as known services begin theirs, or a long word of letters and digits."""
Reference: TypeAlias = Annotated[
    str,
    Meta(
        pattern=rf"^(?!(env|keyring):{LITERAL_KEY})(env|file|keyring|exec):.",
        extra={
            "form": "a reference to the secret, not the secret itself: env:NAME, file:PATH, keyring:NAME or exec:COMMAND",
            "hidden": True,
        },
    ),
]
"""Where a secret is. A wrong value may be the secret itself, and is not shown in an error."""
VariableName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=rf"^(?!{LITERAL_KEY})[A-Za-z_][A-Za-z0-9_]*(?!\n)$",
        extra={"form": "names of environment variables, not the key itself", "hidden": True},
    ),
]
"""Which holds a secret. A wrong value may be the secret itself, and no error shows it; a valid one is shown everywhere."""
Disconnect: TypeAlias = Annotated[
    str, Meta(pattern=r"^(cancel|drain:[0-9]+(\.[0-9]+)?)(?!\n)$", extra={"form": '"cancel" or "drain:SECONDS"'})
]
Terms: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^( *(!?(tools|images|audio|files|schema|json)|prompt(<=|>)[0-9]{1,9}|[a-z][a-z0-9_-]*=[^ =]+))* *(?!\n)$",
        extra={"form": "terms such as tools, !images, prompt<=8000 or region=eu, with spaces between them"},
    ),
]
if TYPE_CHECKING:
    OneOrMore: TypeAlias = tuple[T, ...]
else:
    # The text alone has no pattern: msgspec 0.22 frees the pattern of a text once too often if it stands beside a collection.
    OneOrMore: TypeAlias = str | tuple[T, ...]
"""A list of texts in the file, or one of them alone; a tuple in Python."""


def about(text: str) -> Meta:
    """What a key means: for the documentation, and for editors."""
    return Meta(description=text)


@cache
def _types_of(table: type) -> dict[str, Any]:
    return get_type_hints(table, include_extras=True)


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of polychat.toml; a key that is not in the file has its default."""

    def __post_init__(self) -> None:
        """One value alone becomes a list of it. Raises ``ValidationError`` if that is invalid, ``ValueError`` for ``inf``
        and ``nan``, which no bound excludes.
        """
        for name, default in zip(self.__struct_fields__[::-1], self.__struct_defaults__[::-1], strict=False):
            value = getattr(self, name)
            if isinstance(default, tuple) and isinstance(value, str):
                structs.force_setattr(self, name, convert((value,), _types_of(type(self))[name]))
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(isfinite(number) for number in numbers if isinstance(number, float)):
                raise ValueError(f"{name} is not finite")

    def replace(self, **changes: Any) -> Self:
        """The same with other values."""
        return structs.replace(self, **changes)
