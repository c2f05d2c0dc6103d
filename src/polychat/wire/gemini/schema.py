"""Converts between the API's own ``Schema``, a subset of OpenAPI's, and JSON schema, which other wires use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..json_text import JSONPieces, from_raw, is_raw
from ..raw_schemas import Subschemas, changed, each, is_object, within
from .constants import Object, camel

_NUMBERS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minimum", "maximum"))
_PLACES = Subschemas(
    frozenset(("items", "additionalProperties", "not")),
    frozenset(("anyOf", "oneOf", "allOf", "prefixItems")),
    frozenset(("properties", "defs", "$defs")),
)


def json_schema(schema: Any) -> Any:
    """A JSON schema: types in lower case, ``nullable`` as a type, numbers that were sent as text; the rest unchanged."""
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
"""The maximum sum of all ``maxItems`` of a schema: above about that the API answers 400 and names no field."""
_VALUES = frozenset(("default", "const", "example"))
"""Keywords whose value may be null."""


def taken(schema: Any) -> tuple[Any, bool]:
    """A JSON schema that the API accepts, and whether maximum lengths of arrays were removed from it.

    Null keywords are removed, because the API rejects them, as it rejects maximum lengths whose sum is too large.
    """
    counted: list[int] = []
    _count(schema, counted)
    is_bounded = sum(counted) <= MOST_ITEMS
    return _plain(schema, is_bounded), not is_bounded


def _count(schema: Any, counted: list[int]) -> Any:
    """Collect all ``maxItems`` in ``counted``; returns the schema itself, so that parts that stayed JSON are not changed."""
    if isinstance(schema, list):
        for entry in schema:
            _count(entry, counted)
    elif isinstance(schema, dict):
        for name, value in schema.items():
            if name == "maxItems" and type(value) is int:
                counted.append(value)
            elif name in _PLACES.single or name in _PLACES.listed:
                _count(value, counted)
            elif name in _PLACES.named or name == "definitions":
                _of_members(value, partial(_count, counted=counted), (b'"maxItems"',))
    elif _has(schema, (b'"maxItems"',)):
        _of_json(schema, partial(_count, counted=counted))
    return schema


def _plain(schema: Any, is_bounded: bool) -> Any:
    if isinstance(schema, list):
        return [_plain(entry, is_bounded) for entry in schema]
    if not isinstance(schema, dict):
        return _of_json(schema, partial(_plain, is_bounded=is_bounded)) if _has(schema, _CHANGED) else schema
    plain: Object = {}
    for name, value in schema.items():
        if (value is None and name not in _VALUES) or (name == "maxItems" and not is_bounded):
            continue
        if name in _PLACES.single or name in _PLACES.listed:
            plain[name] = _plain(value, is_bounded)
        elif name in _PLACES.named or name == "definitions":
            plain[name] = _of_members(value, partial(_plain, is_bounded=is_bounded), _CHANGED)
        else:
            plain[name] = value
    return plain


_CHANGED = (b"null", b'"maxItems"')


def _of_members(value: Any, change: Callable[[Any], Any], keywords: tuple[bytes, ...]) -> Any:
    if isinstance(value, dict):
        return {key: change(entry) for key, entry in value.items()}
    return each(value, change, dict) if _has(value, keywords) else value


def _of_json(schema: Any, change: Callable[[Any], Any]) -> Any:
    """A schema, or a list of schemas, that stayed JSON."""
    return changed(schema, change) if is_object(schema) else each(schema, change, list)


def _has(value: Any, keywords: tuple[bytes, ...]) -> bool:
    """Whether it is a large schema, or several, that contains any of these names."""
    if not is_raw(value):
        return False
    return isinstance(value, JSONPieces) or any(keyword in bytes(value) for keyword in keywords)


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
