"""The API's own ``Schema``, a part of OpenAPI's, as the JSON schema that other wires speak; and JSON schema as it takes it."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..json_text import from_raw, is_raw
from ..raw_schemas import Subschemas, changed, each, within
from .constants import Object, camel

_NUMBERS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minimum", "maximum"))
_PLACES = Subschemas(
    frozenset(("items", "additionalProperties", "not")),
    frozenset(("anyOf", "oneOf", "allOf", "prefixItems")),
    frozenset(("properties", "defs", "$defs")),
)


def json_schema(schema: Any) -> Any:
    """Types in small letters, ``nullable`` as a type of its own, numbers that came as text; the rest as it is."""
    if not isinstance(schema, dict):
        return changed(schema, json_schema) if is_raw(schema) else schema
    translated: Object = {camel(name): _value(camel(name), value) for name, value in schema.items() if value is not None}
    if translated.pop("nullable", False) is True:
        return _nullable(translated)
    return translated


def _value(name: str, value: Any) -> Any:
    if name == "type" and isinstance(value, str):
        return value.lower()
    if name in _NUMBERS and isinstance(value, str):
        return _number(value)
    return within(name, value, json_schema, _PLACES)


MOST_ITEMS = 960
"""What all ``maxItems`` of one schema may come to: beyond about that the API answers 400 and names no field."""
_VALUES = frozenset(("default", "const", "example"))
"""Keywords whose value may be null."""


def taken(schema: Any) -> tuple[Any, bool]:
    """A JSON schema as the API takes it, and whether lengths of arrays were left out for it.

    Limits that are null say nothing, and the API refuses them, as it does lengths of arrays that come to too much.
    """
    counted: list[int] = []
    plain = _plain(schema, counted, bounded=True)
    if sum(counted) <= MOST_ITEMS:
        return plain, False
    return _plain(schema, [], bounded=False), True


def _plain(schema: Any, counted: list[int], *, bounded: bool) -> Any:
    if isinstance(schema, list):
        return [_plain(entry, counted, bounded=bounded) for entry in schema]
    if not isinstance(schema, dict):
        return changed(schema, partial(_plain, counted=counted, bounded=bounded)) if _may_change(schema) else schema
    plain: Object = {}
    for name, value in schema.items():
        if (value is None and name not in _VALUES) or (name == "maxItems" and not bounded):
            continue
        if name == "maxItems" and type(value) is int:
            counted.append(value)
        if name in _PLACES.single or name in _PLACES.listed:
            plain[name] = _plain(value, counted, bounded=bounded)
        elif name in _PLACES.named or name == "definitions":
            plain[name] = _plain_members(value, counted, bounded=bounded)
        else:
            plain[name] = value
    return plain


def _plain_members(value: Any, counted: list[int], *, bounded: bool) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry, counted, bounded=bounded) for key, entry in value.items()}
    return each(value, partial(_plain, counted=counted, bounded=bounded), dict) if _may_change(value) else value


def _may_change(value: Any) -> bool:
    """Whether it is a large schema, or several, with anything that ``_plain`` looks for."""
    if not is_raw(value):
        return False
    text = bytes(value)
    return b"null" in text or b'"maxItems"' in text


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text


def _nullable(schema: Object) -> Object:
    kind = schema.get("type")
    if not isinstance(kind, str):
        return {"anyOf": [schema, {"type": "null"}]} if schema else {}
    schema = {**schema, "type": [kind, "null"]}
    values = from_raw(schema.get("enum"))
    if isinstance(values, list) and None not in values:
        schema["enum"] = [*values, None]
    return schema
