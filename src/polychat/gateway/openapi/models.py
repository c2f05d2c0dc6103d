"""Descriptions of the lists of models, and of the endpoints that report about the gateway itself."""

from __future__ import annotations

from typing import get_args

from ...state.store import UsageDimension
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


def _admin(name: str, summary: str, *parameters: Schema, missing: str) -> Schema:
    """An endpoint for operators, which answers in JSON."""
    json_object = {"content": {"application/json": {"schema": {"type": "object"}}}}
    reasons = {"200": "JSON.", "401": "The admin key is missing or unknown.", "403": _FOREIGN, "404": missing}
    return {
        "tags": ["Gateway"],
        "operationId": name,
        "summary": summary,
        "description": "Requires one of `gateway.admin.keys`; without any, the path does not exist.",
        **({"parameters": list(parameters)} if parameters else {}),
        "responses": {
            status: {"description": why, **({} if status == "403" else json_object)} for status, why in reasons.items()
        },
    }


_NO_KEY = "The API key is missing or unknown."
_FOREIGN = "The web page's origin or the `Host` is not allowed."
_CLOSED = "`gateway.admin` has no keys."
_OF_REQUEST = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The response's `x-request-id`.",
    "schema": {"type": "string"},
}
_LIMIT = {
    "name": "limit",
    "in": "query",
    "description": "How many; 50 by default.",
    "schema": {"type": "integer", "maximum": 1000},
}
_USAGE = [
    {
        "name": "by",
        "in": "query",
        "description": "What the sums are for; `model` by default.",
        "schema": {"type": "string", "enum": list(get_args(UsageDimension))},
    },
    *(
        {
            "name": name,
            "in": "query",
            "description": f"{meaning}: a date or time in UTC (`2026-11-01`), or an age (`24h`, `30d`).",
            "schema": {"type": "string"},
        }
        for name, meaning in (("since", "Requests from then on"), ("until", "Requests before then"))
    ),
]
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
    "/admin/requests": {"get": _admin("adminRequests", "The latest requests, newest first", _LIMIT, missing=_CLOSED)},
    "/admin/requests/{id}": {
        "get": _admin(
            "adminRequest",
            "Why a request went to its target",
            _OF_REQUEST,
            missing="No such request among the latest of this worker, or `gateway.admin` has no keys.",
        )
    },
    "/admin/targets": {"get": _admin("adminTargets", "The state of every target", missing=_CLOSED)},
    "/admin/usage": {
        "get": _admin(
            "adminUsage",
            "Usage and cost of requests, by a dimension",
            *_USAGE,
            missing="There is no `[gateway.state]`, or `gateway.admin` has no keys.",
        )
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
