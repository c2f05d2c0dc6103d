"""Structured answers: a type or a JSON schema as a response format, and the answer's text as a value of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from ..errors import BadInput, BadReply, redact
from ..types import Format
from ..wire.json_text import decoded, encoded
from .schema_check import schema_fault


@dataclass(frozen=True, slots=True)
class Shape:
    """The response format of a request, and how the answer becomes a value."""

    format: Format
    read: Callable[[str], Any]
    """Reads the answer's text; raises ``ValueError`` if it does not match."""

    def parsed(self, text: str) -> Any:
        """The answer's value. A Markdown fence around the whole text is ignored.

        Raises ``BadReply``, which shows the beginning of a text that does not match.
        """
        try:
            return self.read(_unfenced(text))
        except (ValueError, RecursionError) as error:  # those of msgspec and pydantic are ValueErrors
            bad = BadReply(
                f"the reply does not match the schema {self.format.name}: {redact(str(error), 120)}; it is {redact(text)}"
            )
        bad.text = text
        raise bad


def _unfenced(text: str) -> str:
    """The content of a fenced block, if the answer is one such block and nothing else; else the text itself."""
    bare = text.strip()
    if len(bare) < 6 or not (bare.startswith("```") and bare.endswith("```")):
        return text
    first, newline, rest = bare[3:-3].partition("\n")
    return rest if (newline and first.strip().isalnum()) or not first.strip() else bare[3:-3]


def shape_of(schema: object) -> Shape:
    """``schema`` is a JSON schema of an object, a pydantic model, or a type that msgspec knows (Struct, dataclass, TypedDict).

    For a list, a union or another type that is no object, an object with the member ``value`` is requested, and the value is
    taken out of it. Raises ``BadInput`` for anything else.
    """
    if isinstance(schema, Mapping):
        return _of_mapping(dict(schema))
    if not isinstance(schema, type) and get_origin(schema) is None:
        raise BadInput("schema must be a JSON schema (a dict) or a type", field="schema")
    name = getattr(schema, "__name__", "answer") if get_origin(schema) is None else "answer"
    return _shape(name, *_read_by(schema, name))


def schema_of_type(kind: Any) -> dict[str, Any]:
    """The JSON schema of any type that pydantic or msgspec knows. Raises ``BadInput`` for another."""
    return _read_by(kind, getattr(kind, "__name__", "answer"))[0]


def _read_by(kind: Any, name: str) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """The schema of a type, and the function that reads JSON text into a value of it."""
    if not _is_pydantic(kind):
        return _of_msgspec(kind, name)
    if isinstance(kind, type) and hasattr(kind, "model_json_schema"):
        model: Any = kind
        return model.model_json_schema(), model.model_validate_json
    from pydantic import TypeAdapter  # the type is made of its models

    adapter: Any = TypeAdapter(kind)
    return adapter.json_schema(), adapter.validate_json


def _is_pydantic(kind: Any) -> bool:
    """Whether ``kind`` is a pydantic model, or contains one."""
    if isinstance(kind, type) and hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate_json"):
        return True
    return any(_is_pydantic(argument) for argument in get_args(kind))


def _shape(name: str, schema: dict[str, Any], read: Callable[[Any], Any]) -> Shape:
    definitions = schema.get("$defs", {})
    reference = schema.get("$ref")
    if isinstance(reference, str):  # a root that only refers is refused by OpenAI
        schema = {**definitions[reference.rpartition("/")[2]], "$defs": definitions}
    if schema.get("type") == "object":
        return Shape(_format(name, schema), read)
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    wrapped: dict[str, Any] = {"type": "object", "properties": {"value": inner}, "required": ["value"]}
    wrapped |= {"$defs": definitions} if definitions else {}
    return Shape(_format(name, wrapped), lambda text: read(_taken_out(text)))


def _taken_out(text: str) -> bytes:
    """The member ``value`` of the answer as JSON; the whole answer if the model omitted the object around it."""
    match decoded(text.encode()):
        case {"value": value, **rest} if not rest:
            return encoded(value)
    return text.encode()


def _of_mapping(schema: dict[str, Any]) -> Shape:
    if "schema" in schema and "name" in schema and "type" not in schema:  # OpenAI's envelope
        inner = schema["schema"]
        if not isinstance(inner, dict):
            raise BadInput("schema.schema must be a JSON schema (a dict)", field="schema.schema")
        response_format = Format("schema", inner, str(schema["name"]), schema.get("description"), schema.get("strict"))
    else:
        title = schema.get("title")
        response_format = Format("schema", schema, _name(title if isinstance(title, str) else "answer"))
    return Shape(response_format, lambda text: _checked(decoded(text.encode()), response_format.schema or {}))


def _checked(value: Any, schema: dict[str, Any]) -> Any:
    """The value. Raises ``ValueError`` if it does not meet the schema."""
    if (fault := schema_fault(value, schema)) is not None:
        raise ValueError(fault)
    return value


def _of_msgspec(kind: Any, name: str) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    import msgspec  # importing it takes as long as importing all of polychat

    try:
        return msgspec.json.schema(kind), msgspec.json.Decoder(kind).decode
    except TypeError as error:
        raise BadInput(f"schema {name} has no JSON schema: {error}", field="schema") from None


def _name(title: str) -> str:
    """``title`` as OpenAI accepts a name: ASCII letters, digits and underscores, 64 at most."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in title)[:64] or "answer"


def _format(name: str, schema: dict[str, Any]) -> Format:
    """The format for a type's schema: strict, if the schema can be written as strict vendors accept it, else unchanged."""
    try:
        return Format("schema", _closed(schema), _name(name), strict=True)
    except _Open:
        return Format("schema", schema, _name(name))


class _Open(Exception):
    """The schema has what strict vendors do not accept: open objects, tuples, values of any type."""


_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf",)
_GONE = ("default", "discriminator", "examples")
_LOOSE = {
    *("allOf", "not", "if", "then", "else", "patternProperties", "prefixItems", "propertyNames", "contains"),
    *("dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "uniqueItems"),
}


def _closed(schema: Any) -> dict[str, Any]:
    """``schema`` with every object closed and all of its properties required, ``oneOf`` as ``anyOf``, and ``$ref`` alone.

    Raises ``_Open`` if that would change its meaning.
    """
    if not isinstance(schema, dict) or _LOOSE & schema.keys():
        raise _Open
    closed = {("anyOf" if key == "oneOf" else key): value for key, value in schema.items() if key not in _GONE}
    if "$ref" in closed and len(closed) > 1:  # members beside $ref are refused; beside an anyOf of one they are not
        closed["anyOf"] = [{"$ref": closed.pop("$ref")}]
    if not {"type", "anyOf", "$ref", "enum", "const"} & closed.keys():
        raise _Open
    for key in _MAPS:
        if key in closed:  # their keys are names of the caller's, not keywords of JSON schema
            closed[key] = {name: _closed(inner) for name, inner in closed[key].items()}
    for key in _LISTS:
        if key in closed:
            closed[key] = [_closed(inner) for inner in closed[key]]
    if "items" in closed:
        closed["items"] = _closed(closed["items"])
    if closed.get("type") == "object" or "properties" in closed:
        if "properties" not in closed or closed.get("additionalProperties", False) is not False:
            raise _Open
        closed |= {"additionalProperties": False, "required": list(closed["properties"])}
    elif closed.get("type") == "array" and "items" not in closed:
        raise _Open
    return closed
