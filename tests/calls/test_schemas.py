"""The form of an answer: types and JSON schemas as they are sent on wires, and answers as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

from polychat.calls.schemas import shape_of
from polychat.errors import BadInput, BadReply


class City(msgspec.Struct):
    name: str
    size: int = 0


class Trip(msgspec.Struct):
    to: list[City]
    kind: Literal["work", "play"]


class Dog(pydantic.BaseModel):
    name: str
    legs: int = 4
    owner: dict[str, str] | None = None


@dataclass
class Point:
    x: int
    y: int


class Pair(TypedDict):
    left: str


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object with properties in a schema."""
    if isinstance(schema, list):
        return [inner for item in schema for inner in objects(item)]
    if not isinstance(schema, dict):
        return []
    here = [schema] if "properties" in schema else []
    return here + [inner for item in schema.values() for inner in objects(item)]


@pytest.mark.parametrize(("kind", "name"), [(Trip, "Trip"), (City, "City"), (Point, "Point"), (Pair, "Pair")])
def test_a_types_schema_is_closed_as_strict_vendors_want_it(kind: type, name: str) -> None:
    """The root is an object and no reference; every object requires all its properties and allows no other; no defaults."""
    form = shape_of(kind).format
    assert (form.kind, form.name, form.strict) == ("schema", name, True)
    assert form.schema is not None
    assert form.schema["type"] == "object"
    objects_of_schema = objects(form.schema)
    assert objects_of_schema
    for one in objects_of_schema:
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])
        assert all("default" not in each for each in one["properties"].values())


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Trip, '{"to":[{"name":"Oslo","size":7}],"kind":"play"}', Trip([City("Oslo", 7)], "play")),
        (Dog, '{"name":"Rex","legs":3,"owner":null}', Dog(name="Rex", legs=3)),
        (Point, '{"x":1,"y":2}', Point(1, 2)),
        (Pair, '{"left":"a"}', {"left": "a"}),
        ({"type": "object"}, '{"any":[1]}', {"any": [1]}),
    ],
)
def test_an_answer_becomes_a_value_of_its_type(kind: Any, text: str, value: Any) -> None:
    """Structs, models, dataclasses, typed dicts; plain JSON where the schema is plain."""
    assert shape_of(kind).parsed(text) == value


@pytest.mark.parametrize("kind", [Trip, Dog, Point, {"title": "My schema", "type": "object"}])
@pytest.mark.parametrize("text", ["", "no JSON", '{"to":', '{"name": 5'])
def test_an_answer_that_does_not_fit_is_a_bad_reply(kind: Any, text: str) -> None:
    """The error keeps the text, whole."""
    with pytest.raises(BadReply, match="does not match the schema") as caught:
        shape_of(kind).parsed(text)
    assert caught.value.text == text


def test_an_answer_that_is_nested_without_end_is_a_bad_reply() -> None:
    """Also where the type allows any value, so that nothing but the reader's own stack ends it."""
    for kind in (dict, dict[str, Any], Pair, {"type": "object"}):
        with pytest.raises(BadReply, match="does not match the schema"):
            shape_of(kind).parsed('{"left":' * 50_000)


def test_a_value_of_another_type_does_not_fit() -> None:
    """JSON alone is not enough where a type was asked for."""
    for kind in (Point, Dog):
        with pytest.raises(BadReply):
            shape_of(kind).parsed('{"x":"one","y":2,"name":1}')


def test_openais_envelope_is_understood() -> None:
    """Name, description and strictness go with the schema inside."""
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = shape_of({"name": "it", "description": "d", "strict": False, "schema": inner}).format
    assert (form.name, form.description, form.strict, form.schema) == ("it", "d", False, inner)


def test_a_schema_of_ones_own_is_not_changed() -> None:
    """Only types are closed: a dict goes out as it is, under its title made fit for a name."""
    schema = {"title": "My schema!", "type": "object", "properties": {"a": {"type": "string", "default": "x"}}}
    form = shape_of(schema).format
    assert (form.schema, form.name, form.strict) == (schema, "My_schema_", None)


@pytest.mark.parametrize("kind", [5, "schema", {"name": "x", "schema": 5}])
def test_what_is_no_schema_is_bad_input(kind: Any) -> None:
    """The field is named."""
    with pytest.raises(BadInput, match="schema"):
        shape_of(kind)
