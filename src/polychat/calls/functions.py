"""Python functions as tools: the arguments' schema from the signature, the description from the docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, get_type_hints

from ..errors import BadInput
from ..types import Tool
from .schemas import schema_of_type

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    list: {"type": "array", "items": {}},
    dict: {"type": "object"},
    Any: {},
}
_ARGUMENT = re.compile(r"^\s*(?::param\s+)?(\w+)(?:\s*\([^)\n]*\))?\s*:\s+(\S.*)$")


def tool_of(function: Callable[..., Any]) -> Tool:
    """The tool that ``function`` makes: its name, the first paragraph of its docstring, and the schema of its parameters.

    A parameter without an annotation is text; one with a default is optional. Raises ``BadInput`` for a function with
    ``*args``, ``**kwargs``, positional-only parameters, or a type that has no JSON schema.
    """
    name = getattr(function, "__name__", type(function).__name__)
    docstring = inspect.getdoc(function) or ""
    try:
        hints, parameters = get_type_hints(function), inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        raise BadInput(f"the function {name} has no signature that can be read: {error}", field="tools") from None
    descriptions = {match[1]: match[2] for line in docstring.splitlines()[1:] if (match := _ARGUMENT.match(line))}
    schema: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise BadInput(f"the function {name} takes {parameter}: a tool's arguments are given by name", field="tools")
        schema["properties"][parameter.name] = _parameter(
            hints.get(parameter.name, str), descriptions.get(parameter.name), schema
        )
        if parameter.default is parameter.empty:
            schema["required"].append(parameter.name)
    return Tool(name, docstring.partition("\n\n")[0].replace("\n", " ") or None, schema)


def _parameter(kind: Any, description: str | None, schema: dict[str, Any]) -> dict[str, Any]:
    plain = _PLAIN.get(kind) if kind.__hash__ is not None else None
    parameter_schema = dict(schema_of_type(kind) if plain is None else plain)
    if definitions := parameter_schema.pop("$defs", None):
        schema.setdefault("$defs", {}).update(definitions)
    if not description or "$ref" in parameter_schema:
        return parameter_schema
    return {**parameter_schema, "description": description}
