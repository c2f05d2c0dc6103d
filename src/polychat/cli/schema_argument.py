"""``--schema``: a file with a JSON schema, the schema itself, or an object's fields: ``name, age int, tags: list[str]``."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from ..config.file_errors import near
from ..errors import BadInput, redact
from ..prompt import decoded_text
from ..wire.json_text import whole_number

_TYPES = {
    **dict.fromkeys(("str", "string", "text"), "string"),
    **dict.fromkeys(("int", "integer"), "integer"),
    **dict.fromkeys(("float", "number"), "number"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
}
_FIELD = re.compile(r"(\w+)(?:(?:\s*:\s*|\s+)(\S.*))?")
_DEEPEST = 8
"""Lists within lists."""


def schema_from(argument: str) -> dict[str, Any]:
    """The JSON schema, in OpenAI's envelope where it is made of fields. Raises ``BadInput``."""
    text = argument.strip()
    if text.startswith("{"):
        return _of_json(text, "--schema")
    if os.path.exists(argument) or re.fullmatch(r"\S+\.json|\S*[/\\]\S*", argument):
        try:
            return _of_json(decoded_text(Path(argument).read_bytes()), f"--schema {argument}")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise BadInput(f"--schema {argument} cannot be read: {reason}", field="schema") from None
    properties = dict(_field(field.strip()) for field in re.split(r"[,\n]", text) if field.strip())
    if not properties:
        raise BadInput("--schema is empty: name a file, or fields such as 'name, age int'", field="schema")
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"name": "answer", "schema": schema, "strict": True}


def _of_json(text: str, source: str) -> dict[str, Any]:
    try:
        schema = json.loads(text, parse_int=whole_number)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{source} cannot be read as JSON: {error}", field="schema") from None
    if not isinstance(schema, dict):
        raise BadInput(f"{source} is not a JSON schema: it must be an object", field="schema")
    return schema


def _field(text: str) -> tuple[str, dict[str, Any]]:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise BadInput(f"--schema: {redact(text, 60)!r} is not a field: write NAME, or NAME TYPE", field="schema")
    return match[1], _type((match[2] or "str").strip(), match[1])


def _type(text: str, name: str, depth: int = 0) -> dict[str, Any]:
    kind = text.lower()
    if kind in _TYPES:
        return {"type": _TYPES[kind]}
    if kind == "list" or (kind.startswith("list[") and kind.endswith("]") and depth < _DEEPEST):
        return {"type": "array", "items": _type(text[5:-1].strip() or "str", name, depth + 1)}
    guess = near(kind, (*_TYPES, "list[str]"), "; ") or f". The types are {', '.join(_TYPES)}, and lists such as list[str]."
    raise BadInput(f"--schema: the field {name} has no type {redact(text, 40)!r}{guess}", field="schema")
