"""The types of a row in the table of request fields: a value's type, its place on a wire, and what happens to it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, get_origin

from . import checks

Kind: TypeAlias = Literal["kept", "mapped", "emulated", "dropped"]


@dataclass(frozen=True, slots=True)
class Support:
    """``kept`` unchanged; ``mapped`` to the wire's equivalent; ``emulated`` by something similar; ``dropped``.

    ``note`` says how or why; ``emulated`` and ``dropped`` always have one.
    """

    kind: Kind
    note: str = ""
    implied: bool = False
    """Nothing is written for it: this wire always behaves that way."""


SupportTable: TypeAlias = Mapping[str, Support]
KEPT = Support("kept")


def kept(note: str) -> Support:
    return Support("kept", note)


def mapped(note: str) -> Support:
    return Support("mapped", note)


def implied(note: str) -> Support:
    """``mapped``, and nothing is written for it."""
    return Support("mapped", note, implied=True)


def emulated(note: str) -> Support:
    return Support("emulated", note)


def dropped(note: str) -> Support:
    return Support("dropped", note)


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a value: a type that msgspec knows, and a function that reads a request's value of it strictly."""

    read: Callable[[object, str], Any]
    """``(value, field)``: the value. Raises ``BadInput`` naming ``field``."""
    kind: Any
    least: int | None = None
    keyword: Any = None
    """The type of the keyword, if callers may pass more than the wires carry."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        import msgspec  # importing it takes as long as importing all of polychat

        return msgspec.json.schema(self.kind if self.least is None else Annotated[self.kind, msgspec.Meta(ge=self.least)])

    @property
    def hint(self) -> str:
        """The type of the keyword as source code."""
        kind = self.kind if self.keyword is None else self.keyword
        return kind.__name__ if get_origin(kind) is None else str(kind).replace("collections.abc.", "")


NUMBER = Type(checks.number, float)
WHOLE = Type(checks.whole, int)
COUNT = Type(checks.count, int, least=0)
FLAG = Type(checks.flag, bool)
TEXT = Type(checks.text, str)
TEXTS = Type(checks.strings, Sequence[str])
TEXT_OR_TEXTS = Type(checks.text_or_texts, str | Sequence[str])
PAIRS = Type(checks.pairs, Mapping[str, str])
WEIGHTS = Type(checks.weights, Mapping[str, float])
"""A number for each name."""


@dataclass(frozen=True, slots=True)
class At:
    """Where a plain field is in the JSON of one wire's request, and how it differs there."""

    path: str
    """``max_tokens``, or within an object of the request: ``options.num_predict``."""
    note: str = ""
    type: Type | None = None
    """The type on this wire, if it is not the row's."""
    write: Callable[[Any], Any] | None = None
    """Converts the common value to the wire's."""
    read: Callable[[Any], Any] | None = None
    """Converts the wire's value to the common one."""
    older: tuple[str, ...] = ()
    """Other names under which it is read; ``path`` takes precedence."""
    by_code: Literal["", "read", "write", "both"] = ""
    """Set for a field that the wire's own code handles instead of the table, because it depends on other values too."""

    @property
    def within(self) -> str:
        """The object of the request that contains it; empty: the request itself."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One row: a field of a chat request, and what happens to it on each wire.

    With a ``type`` it is plain: an attribute of ``ChatRequest`` of the same name holds one value, ``None`` (for a list: empty)
    if the request does not set it, and the wires read and write it by this row. Without a ``type`` the wires' own code does.
    """

    name: str
    about: str
    type: Type | None = None
    least: int | None = None
    """The smallest value that the keyword of ``polychat.ask`` accepts; on the wires the backend decides."""
    values: tuple[str, ...] = ()
    """Of text: values that mean something to most backends."""
    default: tuple[object, ...] = ()
    """Values that have no effect: dropping one is no loss."""
    keyword: bool = True
    """Whether a plain field is a keyword of ``polychat.ask``."""
    form: bool = False
    """Without it the answer has another form or answers another question: dropping it is refused unless it is allowed."""
    of: str = ""
    """The attributes of values in ``polychat.types`` that it covers: ``ChatMessage.name ChatMessage.role``."""
    anthropic: At | Support
    gemini: At | Support
    ollama: At | Support
    openai_chat: At | Support
    openai_responses: At | Support

    def on(self, wire: str) -> At | Support:
        """Its column for the wire of this name."""
        column: At | Support = getattr(self, wire.replace("-", "_"))
        return column

    def places(self) -> tuple[At, ...]:
        """Its places, by the names of the wires that have one."""
        columns = (self.anthropic, self.gemini, self.ollama, self.openai_chat, self.openai_responses)
        return tuple(at for at in columns if isinstance(at, At))

    def support(self, wire: str) -> Support:
        """What happens to it on the wire of this name."""
        at = self.on(wire)
        if isinstance(at, Support):
            return at
        if at.path != self.name:
            return mapped(f"{at.path}; {at.note}" if at.note else at.path)
        return Support("mapped" if at.write is not None else "kept", at.note)


def table(*rows: Field) -> dict[str, Field]:
    """The rows by name, in this order. Raises ``ValueError`` for a duplicate name."""
    by_name = {row.name: row for row in rows}
    if len(by_name) < len(rows):
        raise ValueError("two rows of the table of fields have one name")
    return by_name
