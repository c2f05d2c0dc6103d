"""JSON schemas that the API accepts: of an answer, of a strict tool, and of any tool's input.

Facts from https://platform.claude.com/docs/en/build-with-claude/structured-outputs, its section on limitations.
"""

from __future__ import annotations

from typing import Any

from ..json_text import from_raw, is_raw
from ..raw_schemas import Subschemas, changed, joined, opened, within

_PLACES = Subschemas(
    frozenset(("items", "not")),
    frozenset(("anyOf", "oneOf", "allOf", "prefixItems")),
    frozenset(("properties", "$defs", "definitions")),
)
_LIMITS = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
        *("maxItems", "uniqueItems", "minProperties", "maxProperties", "patternProperties", "propertyNames"),
    )
)
"""Keywords that the API rejects in a strict schema."""
_TOP = ("anyOf", "oneOf", "allOf")


def closed(schema: Any) -> Any:
    """A strict schema: objects closed, and without the keywords that the API rejects."""
    if not isinstance(schema, dict):
        return changed(schema, closed) if is_raw(schema) else schema
    members = {name: within(name, value, closed, _PLACES) for name, value in schema.items() if not _refused(name, value)}
    if "oneOf" in members and "anyOf" not in members:
        members["anyOf"] = members.pop("oneOf")
    if _is_object(members):
        members["additionalProperties"] = False
    return members


def _refused(name: str, value: Any) -> bool:
    return name in _LIMITS or (name == "minItems" and value not in (0, 1))


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or (kind is None and "properties" in schema)


def input_schema(parameters: dict[str, Any]) -> dict[str, Any]:
    """The schema of a tool's input: its type must be object, and its top level has no choice of schemas."""
    members = {name: value for name, value in parameters.items() if name not in _TOP}
    if len(members) < len(parameters):
        variants = [variant for name in _TOP for variant in _variants(parameters.get(name))]
        several = [variant["properties"] for variant in [*variants, members] if "properties" in variant]
        members["properties"] = joined(several)
        members["required"] = _required(parameters, members)
    return members if members.get("type") == "object" else {**members, "type": "object"}


def _required(parameters: dict[str, Any], members: dict[str, Any]) -> list[str]:
    """The properties that all variants require: those of every member of ``allOf``, of a choice those that each member has."""
    names = set(_several(members.get("required")))
    for name in _TOP:
        each = [set(_several(variant.get("required"))) for variant in _variants(parameters.get(name))]
        if each:
            names |= set.union(*each) if name == "allOf" else set.intersection(*each)
    return sorted(names)


def _variants(value: Any) -> list[dict[str, Any]]:
    """The schemas of a choice; large parts of them stay JSON."""
    several = opened(value)
    return [variant for variant in map(opened, several) if isinstance(variant, dict)] if isinstance(several, list) else []


def _several(value: Any) -> list[Any]:
    value = from_raw(value)
    return value if isinstance(value, list) else []
