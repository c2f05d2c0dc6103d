"""The JSON schema of polychat.toml, made from the types that read it: editors complete and check the file by it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from msgspec import json

from .reading import File


def schema() -> dict[str, Any]:
    """For a whole file."""
    _, components = json.schema_components([File], schema_hook=_path, ref_template="#/definitions/{name}")
    components["Route"]["required"] = ["targets"]
    tables = {name: _as_toml(table) for name, table in components.items()}
    top = {"$schema": "http://json-schema.org/draft-07/schema#", **tables.pop("File"), "title": "polychat.toml"}
    return {**top, "definitions": tables}


def _path(_: type) -> dict[str, Any]:
    """Of the one type that msgspec does not know itself."""
    return {"type": "string", "minLength": 1}


def _as_toml(schema: Any) -> Any:
    """Without ``null``, which TOML does not have, and without empty defaults and lists."""
    if isinstance(schema, list):
        return [_as_toml(inner) for inner in schema if inner != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    members = {
        key: _as_toml(value) for key, value in schema.items() if key not in ("default", "required") or _has_members(value)
    }
    choices = members.get("anyOf", ())
    for text, entries in permutations(choices, 2):  # one value alone is as each of the list (``OneOrMore``)
        if text == {"type": "string"} and entries.get("type") == "array":
            choices[choices.index(text)] = entries["items"]
    return members if len(choices) != 1 else {**{key: value for key, value in members.items() if key != "anyOf"}, **choices[0]}


def _has_members(value: object) -> bool:
    """Whether a default, or a list of required keys, is of use: a table in a table has the defaults of its own keys."""
    return value not in (None, "", [], ()) and not isinstance(value, dict)
