"""What only one wire says: kept as it is read, laid over what is written there, and nowhere else."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from polychat.types import ChatMessage, ChatRequest, TextPart, Tool
from polychat.wire.contract import names, wire_named
from polychat.wire.extras import remaining, rest, with_extra

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def test_extra_goes_into_objects_and_over_all_else() -> None:
    """Objects are joined at any depth, a null takes a field away, a list is replaced unless it is one that grows."""
    written = {"a": {"b": {"c": 1}, "d": 2}, "gone": 3, "list": [1], "grows": [1, 2], "kept": 4}
    extra = {"a": {"b": {"e": 5}, "d": None}, "gone": None, "never": None, "list": [6], "grows": [2, 7], "new": {"x": None}}
    assert with_extra(written, extra, native=True, longer=("grows",)) == {
        "a": {"b": {"c": 1, "e": 5}},
        "list": [6],
        "grows": [1, 2, 7],
        "kept": 4,
        "new": {"x": None},
    }


def test_extra_of_another_wire_is_not_written() -> None:
    """A request that came on another wire is written without it."""
    assert with_extra({"a": 1}, {"b": 2}, native=False) == {"a": 1}


def test_what_remains_has_no_empty_fields() -> None:
    """Nulls say nothing, in the object and in the one inside; where nothing remains there is no extra."""
    assert rest({"a": 1, "b": None, "c": 2}, ("a",)) == {"c": 2}
    assert rest({"a": 1, "b": None}, ("a",)) is None
    assert remaining({"a": None}, "inner", {"b": None}) is None
    assert remaining({"a": 1, "x": None}, "inner", {"b": 2, "y": None}) == {"a": 1, "inner": {"b": 2}}
    assert remaining({}, "inner", {"b": 2}) == {"inner": {"b": 2}}


@pytest.mark.parametrize("name", names())
def test_writing_leaves_the_request_as_it_is(name: str) -> None:
    """A request may be asked of several targets: what extra changes in the body, it changes in no value of the request."""
    wire = wire_named(name)
    tool = Tool("t", "d", SCHEMA)
    blank = ChatRequest("m", [ChatMessage("user", [TextPart("x")])], tools=[tool], wire=name)
    (path,) = _paths(wire.write_request(blank), SCHEMA)  # where this wire has a tool's schema
    within = path[path.index(next(key for key in path if isinstance(key, int))) + 1 :]
    extra: Any = {"properties": {"b": {"type": "integer"}}}
    for key in reversed(within if name != "gemini" else within[-1:]):
        extra = {key: extra}
    request = replace(blank, tools=[Tool("t", "d", SCHEMA, extra=extra)])
    before = deepcopy(request)
    first = wire.write_request(request)
    assert json.dumps(first).count('"b"') == 1
    assert wire.write_request(request) == first
    assert request == before
    assert "b" not in SCHEMA["properties"]


def _paths(value: Any, wanted_value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in ``value`` there is ``wanted``."""
    if value == wanted_value:
        return [path]
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path_inside for key, entry in entries for path_inside in _paths(entry, wanted_value, (*path, key))]
