"""Schemas from types, answers in them, functions as tools, and values that JSON or UTF-8 cannot carry."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

import polychat
from polychat.calls.functions import tool_of
from polychat.calls.schemas import shape_of
from polychat.errors import BadInput, BadReply

from ..support.scripted_server import Say, Seen

MAPS = ("properties", "$defs")


def refused(schema: Any) -> str:
    """What OpenAI's strict mode would refuse in a schema; empty where nothing."""
    if "$ref" in schema and len(schema) > 1:
        return "a reference with neighbours"
    for word in ("oneOf", "allOf", "not", "default", "discriminator", "prefixItems", "patternProperties"):
        if word in schema:
            return word
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return "an open object"
        if set(schema.get("required", [])) != set(schema.get("properties", {})):
            return "a property that is not required"
    inner = [one for key in MAPS for one in schema.get(key, {}).values()] + schema.get("anyOf", [])
    inner += [schema["items"]] if "items" in schema else []
    return next((reason for one in inner if (reason := refused(one))), "")


class Inner(pydantic.BaseModel):
    a: int


class Default(pydantic.BaseModel):
    default: str
    properties: Inner
    other: int = 3


class Car(pydantic.BaseModel):
    kind: Literal["car"]


class Bike(pydantic.BaseModel):
    kind: Literal["bike"]


class Vehicle(pydantic.BaseModel):
    what: Annotated[Car | Bike, pydantic.Field(discriminator="kind")]
    inner: Inner = pydantic.Field(description="the inner one")


class Tree(pydantic.BaseModel):
    name: str
    children: list[Tree] = []


class Wheels(msgspec.Struct, tag="wheels"):
    many: int


class Wings(msgspec.Struct, tag="wings"):
    span: int


class Thing(msgspec.Struct):
    has: Wheels | Wings


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: int


class Counts(pydantic.BaseModel):
    counts: dict[str, int]


class Pair(pydantic.BaseModel):
    pair: tuple[Inner, int]


class Anything(pydantic.BaseModel):
    payload: Any


class Rows(pydantic.BaseModel):
    rows: list[dict[str, int]]


class Maybe(pydantic.BaseModel):
    counts: dict[str, int] | None


class Tags(pydantic.BaseModel):
    tags: set[int]


class Items(msgspec.Struct):
    items: list  # type: ignore[type-arg]  # of anything


@pytest.mark.parametrize("kind", [Default, Vehicle, Tree, Thing, Inner, list[Inner], Car | Bike, list[int]])
def test_a_schema_marked_as_strict_is_what_strict_vendors_accept(kind: Any) -> None:
    """Unions, references with words of their own, lists at the top; and names of fields are no keywords."""
    form = shape_of(kind).format
    assert form.strict
    assert form.schema is not None
    assert form.schema["type"] == "object"
    assert not refused(form.schema)
    for name in re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(form.schema)):
        assert name in form.schema["$defs"]


@pytest.mark.parametrize(("kind", "members"), [(Tree, ["name", "children"]), (Thing, ["has"]), (list[Tree], ["value"])])
def test_a_type_that_is_an_object_is_asked_for_as_itself(kind: Any, members: list[str]) -> None:
    """Also where its schema only refers to it; nothing is around it."""
    form = shape_of(kind).format
    assert form.schema is not None
    assert list(form.schema["properties"]) == members


def test_a_fields_name_is_no_keyword_of_the_schema() -> None:
    """Fields named ``default`` and ``properties`` are there, with the schemas of their types."""
    form = shape_of(Default).format
    assert form.schema is not None
    assert list(form.schema["properties"]) == ["default", "properties", "other"]


@pytest.mark.parametrize("kind", [Open, Counts, Pair, Anything, Rows, Maybe, Tags, Items])
def test_what_cannot_be_strict_is_not_marked_as_such(kind: Any) -> None:
    """Open objects, dictionaries, tuples, sets and values of any type, in any place, are sent unchanged."""
    form = shape_of(kind).format
    assert form.strict is None
    if kind is not Items:
        assert form.schema == kind.model_json_schema()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (list[Inner], '{"value": [{"a": 1}]}', [Inner(a=1)]),
        (list[Inner], '[{"a": 1}]', [Inner(a=1)]),
        (Car | Bike, '{"value": {"kind": "bike"}}', Bike(kind="bike")),
        (Vehicle, '{"what": {"kind": "car"}, "inner": {"a": 1}}', Vehicle(what=Car(kind="car"), inner=Inner(a=1))),
        (Inner, '```json\n{"a": 1}\n```', Inner(a=1)),
        (Inner, '```\n{"a": 1}\n```\n', Inner(a=1)),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (int, '{"value": 3}', 3),
        (dict[str, int] | list[int], '{"value": {"a": 1}}', {"a": 1}),
        (dict[str, int] | list[int], '{"value": 1, "other": 2}', {"value": 1, "other": 2}),
    ],
)
def test_an_answer_is_taken_out_of_the_text_around_it(kind: Any, text: str, value: Any) -> None:
    """Out of the object that a list or a union is asked for in, and out of a fence of Markdown."""
    assert shape_of(kind).parsed(text) == value


def test_a_fence_with_words_round_it_is_no_answer_in_the_schema() -> None:
    """Only a whole answer is unwrapped: nothing is guessed."""
    with pytest.raises(BadReply):
        shape_of(Inner).parsed('Here it is:\n```json\n{"a": 1}\n```')


def weather(city: str, days: int = 1, unit: Literal["c", "f"] = "c", where: Inner | None = None) -> str:
    """Tells the weather
    of a city.

    Args:
        city: its name
        days (int): how many
    """
    return f"{city} {days} {unit} {where}"


def test_a_function_is_a_tool_by_its_signature_and_docstring() -> None:
    """Types become schemas, defaults make optional, the docstring tells what for."""
    tool = tool_of(weather)
    assert (tool.name, tool.description) == ("weather", "Tells the weather of a city.")
    assert tool.parameters is not None
    assert tool.parameters["required"] == ["city"]
    assert tool.parameters["properties"]["city"] == {"type": "string", "description": "its name"}
    assert tool.parameters["properties"]["days"] == {"type": "integer", "description": "how many"}
    assert tool.parameters["properties"]["unit"]["enum"] == ["c", "f"]
    assert "Inner" in tool.parameters["$defs"]
    with pytest.raises(BadInput, match="by name"):
        tool_of(lambda *several: several)


HALF = "caf\udce9"


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("messages[0].content", {"prompt": HALF}),
        ("model", {"model": 5}),
        ("system", {"system": 5}),
        ("metadata.a", {"metadata": {"a": HALF}}),
        ("extra.a", {"extra": {"a": float("nan")}}),
        ("extra.a[0]", {"extra": {"a": [b"x"]}}),
        ("extra", {"extra": {"a": {1, 2}}}),
        ("tools[0].parameters.x", {"tools": [{"name": "f", "parameters": {"x": float("inf")}}]}),
        ("schema.minimum", {"schema": {"type": "number", "minimum": float("nan")}}),
        (
            "response_format",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"minimum": float("inf")}}}},
        ),
        ("stop", {"stop": 5}),
        ("proxy", {"proxy": 5}),
        ("api_key", {"api_key": 5}),
    ],
)
async def test_what_cannot_be_sent_is_bad_input_that_names_the_field(field: str, options: dict[str, Any]) -> None:
    """Whatever is given, no error of Python's own comes out, and nothing is sent."""
    arguments = {"prompt": "hi", "model": "openai/m", "api_key": "sk-test", "base_url": "http://127.0.0.1:1/v1", **options}
    with pytest.raises(BadInput) as raised:
        await polychat.ask(arguments.pop("prompt"), **arguments)
    assert raised.value.field.startswith(field.partition("[")[0].partition(".")[0])
    assert field in str(raised.value) or field in raised.value.field


async def test_the_error_of_an_answer_cut_by_its_limit_names_that(serve: Any) -> None:
    """The cause is reported, and not only that the JSON is bad."""

    async def answer(seen: Seen, say: Say) -> None:
        message = {"role": "assistant", "content": '{"a": 1'}
        await say.whole({"choices": [{"index": 0, "message": message, "finish_reason": "length"}]})

    server = await serve(answer)
    with pytest.raises(BadReply, match="max_tokens"):
        await polychat.ask("hi", model="openai/m", base_url=server.url, api_key="sk-test", schema=Inner)
    form = server.seen[0].json["response_format"]["json_schema"]
    assert json.dumps(form["schema"]) == json.dumps(shape_of(Inner).format.schema)
