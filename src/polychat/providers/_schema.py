"""The form an answer is to have: a type or a JSON schema as a wire is told of it, and the answer's text as its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput, BadReply, MissingPackage, shown
from ..types import Format
from ..wire._json import decoded


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked for, and how the answer becomes a value."""

    format: Format
    read: Callable[[str], Any]
    """Text to value; raises ``ValueError`` where it does not fit."""

    def parsed(self, text: str) -> Any:
        """The answer's value. Raises ``BadReply`` that shows the text's beginning where it does not fit."""
        try:
            return self.read(text)
        except ValueError as error:  # msgspec's and pydantic's are such
            bad = BadReply(
                f"the answer does not fit the schema {self.format.name}: {shown(str(error), 120)}; it is {shown(text)}"
            )
        bad.text = text
        raise bad


def shape_of(schema: object) -> Shape:
    """``schema`` is a JSON schema of an object, a pydantic model, or a type that msgspec knows (Struct, dataclass, TypedDict).

    Raises ``BadInput``, or ``MissingPackage`` where the type needs msgspec and it is not here.
    """
    if isinstance(schema, Mapping):
        return _of_mapping(dict(schema))
    if not isinstance(schema, type):
        raise BadInput("schema must be a JSON schema (a dict) or a type", field="schema")
    if hasattr(schema, "model_json_schema") and hasattr(schema, "model_validate_json"):
        return Shape(_strict(schema.__name__, schema.model_json_schema()), schema.model_validate_json)
    return _of_msgspec(schema)


def _of_mapping(schema: dict[str, Any]) -> Shape:
    if "schema" in schema and "name" in schema and "type" not in schema:  # OpenAI's envelope
        inner = schema["schema"]
        if not isinstance(inner, dict):
            raise BadInput("schema.schema must be a JSON schema (a dict)", field="schema.schema")
        form = Format("schema", inner, str(schema["name"]), schema.get("description"), schema.get("strict"))
    else:
        title = schema.get("title")
        form = Format("schema", schema, _name(title if isinstance(title, str) else "answer"))
    return Shape(form, lambda text: decoded(text.encode()))


def _of_msgspec(kind: type) -> Shape:
    try:
        import msgspec
    except ImportError:
        raise MissingPackage("msgspec", extra="fast", purpose="a schema from a type that is no pydantic model") from None
    try:
        schema = msgspec.json.schema(kind)
    except TypeError as error:
        raise BadInput(f"schema {kind.__name__} has no JSON schema: {error}", field="schema") from None
    decoder: Any = msgspec.json.Decoder(kind)
    return Shape(_strict(kind.__name__, schema), decoder.decode)


def _name(title: str) -> str:
    """As OpenAI wants it: letters, digits, dashes and underscores, 64 at most."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in title)[:64] or "answer"


def _strict(name: str, schema: dict[str, Any]) -> Format:
    """A type's schema, closed as strict vendors want it: the root an object, every property required, no others allowed."""
    definitions = schema.get("$defs", {})
    reference = schema.get("$ref")
    if isinstance(reference, str):  # a root that only refers is refused by OpenAI
        schema = {**definitions[reference.rpartition("/")[2]], "$defs": definitions}
    if schema.get("type") != "object":
        raise BadInput(f"schema {name} is no object: put it into a field of one", field="schema")
    closed = _closed(schema)
    return Format("schema", closed, _name(name), strict=True)


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {key: _closed(item) for key, item in value.items() if key != "default"}
    if isinstance(value.get("properties"), dict) and "additionalProperties" not in value:
        closed |= {"additionalProperties": False, "required": list(value["properties"])}
    return closed
