"""Whether a value meets a JSON schema: compared with a complete validator, and the words for what does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.calls.schema_check import schema_fault

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 2.0]) | st.sampled_from(["", "a", "ab", "b1"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null"])
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
        "enum": st.lists(SCALARS, min_size=1, max_size=3),
        "const": SCALARS,
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.integers(-2, 2)),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), st.integers(0, 2)),
        "pattern": st.sampled_from(["^a", "[0-9]", "b$"]),
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        "$ref": st.sampled_from(["#/$defs/one", "#/$defs/none/of~1these"]),
    },
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=2)
    table = st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
    members = {"properties": table, "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1)}
    return st.fixed_dictionaries(
        {},
        optional={
            **{"type": TYPES, "items": inner, "prefixItems": several, "additionalProperties": inner, "not": inner, **members},
            **dict.fromkeys(("anyOf", "oneOf", "allOf"), several),
        },
    )


SCHEMAS = st.recursive(PLAIN | st.booleans(), nested, max_leaves=5)


@given(VALUES, SCHEMAS.filter(lambda schema: isinstance(schema, dict)), PLAIN)
def test_a_value_is_judged_as_by_a_complete_validator(value: Any, schema: dict[str, Any], one: dict[str, Any]) -> None:
    """Whatever keywords are combined, the verdict is that of the package ``jsonschema``."""
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    one.pop("$ref", None)
    schema = {**schema, "$defs": {"one": one, "none": {"of/these": {"type": "string"}}}}
    assert (schema_fault(value, schema) is None) == validator(schema).is_valid(value)


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"name": "Ada", "tags": ["a"]}, None),
        ({"name": "Ada", "tags": ["a", 3]}, "tags[1] is 3, which is not of type string"),
        ({"tags": []}, "the answer has no name"),
        ({"name": "a", "x": 1}, "x is not a member that the schema has"),
        ([], "the answer is [], which is not of type object"),
    ],
)
def test_a_fault_names_its_place(value: Any, fault: str | None) -> None:
    """In the words of a path, with the value."""
    assert schema_fault(value, PERSON) == fault


def test_a_schema_that_refers_to_itself_ends() -> None:
    """A circle without an end, and one that doubles at each turn, are reported; a tree of values is checked."""
    for circle in ({"$ref": "#"}, {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}):
        assert "refers to itself" in str(schema_fault(1, {"allOf": [circle, circle], **circle}))
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": False}
    assert schema_fault({"next": {"next": {}}}, tree) is None
    assert schema_fault({"next": {"next": {"x": 1}}}, tree) == "next.next.x is not a member that the schema has"
