"""Functions that build the JSON Schema of request and response bodies.

No msgspec type reads these bodies: a wire keeps fields that it does not know, takes null as absent, and names the field in an
error of its own; ``docs/architecture.md`` says what types would lose. So the shape of a message, a part or an event is
described here; fields of one value come from the table of request fields (``plain``), and settings from msgspec types.
``test_schemathesis.py`` sends requests that are generated from the descriptions, and checks the responses.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from ...wire.field import At
from ...wire.fields import plain_fields

Schema: TypeAlias = dict[str, Any]


def text(about: str = "", **more: Any) -> Schema:
    return _described({"type": "string", **more}, about)


def number(about: str = "", **more: Any) -> Schema:
    return _described({"type": "number", **more}, about)


def whole(about: str = "", **more: Any) -> Schema:
    return _described({"type": "integer", **more}, about)


def count(about: str = "", **more: Any) -> Schema:
    """A whole number that is not negative."""
    return whole(about, minimum=0, **more)


def flag(about: str = "", **more: Any) -> Schema:
    return _described({"type": "boolean", **more}, about)


def word(*choices: str, about: str = "") -> Schema:
    """One of these values."""
    return _described({"type": "string", "enum": list(choices)}, about)


def several(items: Schema, about: str = "", **more: Any) -> Schema:
    return _described({"type": "array", "items": items, **more}, about)


def mapping(values: Schema, about: str = "") -> Schema:
    """An object whose names are the client's own."""
    return _described({"type": "object", "additionalProperties": values}, about)


def anything(about: str = "") -> Schema:
    """An object that is not described further."""
    return _described({"type": "object"}, about)


def either(*schemas: Schema, about: str = "") -> Schema:
    return _described({"anyOf": list(schemas)}, about)


def event(payload: Schema, about: str, *, done: str = "") -> Schema:
    """One event of a stream with JSON ``data``; ``done`` is the text that the last event has in place of JSON."""
    data: Schema = {"type": "string", "contentMediaType": "application/json", "contentSchema": payload}
    if done:
        data = {"type": "string", "if": {"const": done}, "else": data}
    return _described(
        {"type": "object", "required": ["data"], "properties": {"event": {"type": "string"}, "data": data}}, about
    )


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def request_object(*needed: str, about: str = "", **fields: Schema) -> Schema:
    """An object of a request. Null in an optional field is the same as omitting it; unknown fields are allowed."""
    named = {name: schema if name in needed else _or_null(schema) for name, schema in fields.items()}
    required = {"required": list(needed)} if needed else {}
    return _described({"type": "object", **required, "properties": named}, about)


def reply_object(*sometimes: str, about: str = "", **fields: Schema) -> Schema:
    """An object of a response; the fields in ``sometimes`` are optional."""
    required = [name for name in fields if name not in sometimes]
    return _described({"type": "object", "required": required, "properties": fields}, about)


def plain(wire: str, within: str = "") -> Schema:
    """The plain fields of a request on ``wire``, or of its object ``within``: from the table of request fields."""
    properties: Schema = {}
    for row in plain_fields():
        at = row.on(wire)
        kind = at.type or row.type if isinstance(at, At) and at.within == within else None
        if isinstance(at, At) and kind is not None:
            choices = f": {', '.join(f'`{value}`' for value in row.values)}, …" if row.values else ""
            properties[at.name] = _described(kind.schema, sentence(f"{row.about}{choices}"))
            properties |= {name: _described(kind.schema, f"An earlier name of `{at.name}`.") for name in at.older}
    return properties


def sentence(about: str) -> str:
    return f"{about[:1].upper()}{about[1:]}."


def nullable(schema: Schema) -> Schema:
    return _or_null(schema)


def kind(name: str) -> Schema:
    """The ``type`` of an object of several kinds."""
    return {"const": name}


def _or_null(schema: Schema) -> Schema:
    if "type" not in schema or "const" in schema:
        about = schema.get("description", "")
        plain = {name: value for name, value in schema.items() if name != "description"}
        return _described({"anyOf": [*(plain["anyOf"] if [*plain] == ["anyOf"] else [plain]), {"type": "null"}]}, about)
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **more}


def _described(schema: Schema, about: str) -> Schema:
    return {"description": about, **schema} if about else schema


MODEL = text("`provider/model`, a route, or an alias.", minLength=1, examples=["openai/gpt-4o-mini", "fast"])
"""The field of a request that names the model."""
