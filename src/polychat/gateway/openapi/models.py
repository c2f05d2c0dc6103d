"""Descriptions of the lists of models, and of the endpoints that report about the gateway itself."""

from __future__ import annotations

from ..dialects.gemini.openapi import ABOUT as GEMINI
from .operation import DialectInfo, Operation
from .schema import Schema, anything, count, either, flag, kind, mapping, nullable, ref, reply_object, several, text

ABOUT = DialectInfo("Models", "Model lists, in the format of each dialect.", "openai-chat", "ModelsError")

_OPENAI = reply_object(
    *("context_length", "max_output_tokens", "architecture", "supported_parameters", "capabilities"),
    id=text(),
    object=kind("model"),
    created=count(),
    owned_by=text(),
    context_length=count(),
    max_output_tokens=count(),
    architecture=reply_object(input_modalities=several(text())),
    supported_parameters=several(text()),
    capabilities=mapping(flag(), "`function_calling`, `vision`, `reasoning`, `structured_outputs`, if known."),
)
_ANTHROPIC = reply_object(
    type=kind("model"),
    id=text(),
    display_name=text(),
    created_at=text(),
    max_input_tokens=nullable(count()),
    max_tokens=nullable(count()),
    capabilities=nullable(
        anything("As Anthropic reports them, if its backend answers; without batches, which are not served here.")
    ),
)
_GEMINI = reply_object(
    *("inputTokenLimit", "outputTokenLimit", "thinking"),
    name=text("`models/` and the name."),
    displayName=text(),
    supportedGenerationMethods=several(text()),
    inputTokenLimit=count(),
    outputTokenLimit=count(),
    thinking=flag(),
)

SCHEMAS = {
    "OpenAIModel": _OPENAI,
    "AnthropicModel": _ANTHROPIC,
    "GeminiModel": _GEMINI,
    "OpenAIModels": reply_object(object=kind("list"), data=several(ref("OpenAIModel"))),
    "AnthropicModels": reply_object(
        data=several(ref("AnthropicModel")), has_more={"const": False}, first_id=nullable(text()), last_id=nullable(text())
    ),
    "ModelsError": either(ref("OpenAIError"), ref("AnthropicError"), ref("GeminiError")),
    "GeminiModels": reply_object(models=several(ref("GeminiModel"))),
}
_WHOSE = (
    "OpenAI's, Anthropic's and Google's clients each get their own format: a request with `anthropic-version` is Anthropic's, "
    "one with `x-goog-api-key`, or from Google's SDK, is Google's. Errors have the same format."
)
_NAMED = {
    "name": "model",
    "in": "path",
    "required": True,
    "schema": text("The name; a slash in it needs no escaping.", minLength=1),
}
_CLIENT = {"name": "anthropic-version", "in": "header", "schema": text("Its value does not matter here.")}
OPERATIONS = (
    Operation(
        "GET",
        "/v1/models",
        ABOUT,
        "models",
        "List the models",
        _WHOSE,
        answer=either(ref("OpenAIModels"), ref("AnthropicModels"), ref("GeminiModels")),
        parameters=(_CLIENT,),
    ),
    Operation(
        "GET",
        "/v1/models/{model}",
        ABOUT,
        "model",
        "One model",
        _WHOSE,
        answer=either(ref("OpenAIModel"), ref("AnthropicModel"), ref("GeminiModel")),
        parameters=(_NAMED, _CLIENT),
    ),
    Operation("GET", "/v1beta/models", GEMINI, "geminiModels", "List the models", answer=ref("GeminiModels")),
    Operation(
        "GET", "/v1beta/models/{model}", GEMINI, "geminiModel", "One model", answer=ref("GeminiModel"), parameters=(_NAMED,)
    ),
)


def _plain(name: str, summary: str, about: str = "", *more: str, open_to_all: bool = False, **others: str) -> Schema:
    """An endpoint of text, or of ``more`` content types; ``others`` are its failures, by an underscore and the status."""
    content = {"content": {kind: {"schema": text()} for kind in ("text/plain", *more)}}
    responses = {
        "200": {"description": "Text.", **content},
        **{status[1:]: {"description": why, **content} for status, why in others.items()},
    }
    return {
        "tags": ["Gateway"],
        "operationId": name,
        "summary": summary,
        **({"description": about} if about else {}),
        **({"security": []} if open_to_all else {}),
        "responses": responses,
    }


_NO_KEY = "The API key is missing or unknown."
_FOREIGN = "The web page's origin or the `Host` is not allowed."
GATEWAY_PATHS: dict[str, dict[str, Schema]] = {
    "/": {"get": _plain("index", "The gateway's version", open_to_all=True)},
    "/health": {"get": _plain("health", "Liveness: whether the process responds", open_to_all=True)},
    "/ready": {
        "get": _plain(
            "ready",
            "Readiness: whether the gateway accepts new requests",
            open_to_all=True,
            _503="The gateway is shutting down.",
        )
    },
    "/metrics": {"get": _plain("metrics", "Metrics for Prometheus", "", "application/openmetrics-text", _401=_NO_KEY)},
    "/openapi.json": {
        "get": {
            "tags": ["Gateway"],
            "operationId": "openapi",
            "summary": "This document",
            "security": [],
            "responses": {
                "200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}}
            },
        }
    },
    "/sites/": {
        "get": _plain(
            "sites",
            "The chat sites' endpoints, one per line",
            "Each answers below its address in the protocol of the site it is named after, with forms, nonces and tokens, and "
            "reports failures as that site did; these protocols are not described here. Only if `gateway.sites` is not empty.",
            _401=_NO_KEY,
            _403=_FOREIGN,
            _503="The gateway is shutting down.",
        )
    },
}
GATEWAY_PATHS["/sites/"]["get"]["responses"]["404"] = {"$ref": "#/components/responses/OpenAIError404"}
