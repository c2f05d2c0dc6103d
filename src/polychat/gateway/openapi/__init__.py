"""The gateway's own OpenAPI document: its endpoints, dialect by dialect."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...version import __version__
from ...wire.json_text import encoded
from .. import dialects
from . import admin, models
from .operation import HEADERS, PARAMETERS, DialectInfo, Operation, responses

__all__ = ["OPERATIONS", "description", "document"]

_PARTS = (*dialects.every("openapi"), models)
OPERATIONS: tuple[Operation, ...] = tuple(operation for part in _PARTS for operation in part.OPERATIONS)
"""All that speak a dialect."""

_ABOUT = """One address for every chat backend: send requests in any of these dialects to any backend.

**Names of models.** In every dialect: `provider/model`, a route of the configuration, or an alias. An unknown name
gets 404 with the closest names; an ambiguous bare name is refused with the names it could mean.

**Keys.** If the configuration has keys, every request needs one, sent the way the dialect's own clients send it: see the
security schemes. Without keys, the gateway is reachable from its own machine only.

**Fields.** The fields described here are supported. Others are not refused: a backend with the same API gets them
unchanged; for other backends they are dropped and listed in `x-polychat-losses` (`gateway.on_loss`). A wrong type gets 400, and
the message names the field.

**Ends.** A reply is complete or an error: before the first event, a status and the dialect's own error; after it,
an error in the stream in place of the dialect's own end.

**Below the dialects.** A request that is not HTTP/1.1 gets 400 or 505, headers that are too large 431, headers that do not
arrive in time 408, as plain text; the connection is then closed.
"""
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Used by OpenAI's clients and most others."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "Anthropic's clients."},
    "x-goog-api-key": {"type": "apiKey", "in": "header", "name": "x-goog-api-key", "description": "Google's clients."},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key", "description": "Azure's clients."},
    "key": {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": "Used in Google's examples; the key may end up in proxies' logs.",
    },
}


def document() -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {path: dict(methods) for path, methods in (models.GATEWAY_PATHS | admin.PATHS).items()}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.described()
    schemas = {name: schema for part in (*_PARTS, admin) for name, schema in part.SCHEMAS.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "polychat",
            "version": __version__,
            "summary": "Every chat backend at one address",
            "description": _ABOUT,
        },
        "tags": [*(_tag(part.ABOUT) for part in _PARTS), _GATEWAY],
        "security": [{name: []} for name in _SCHEMES] + [{}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {name: response for operation in OPERATIONS for name, response in responses(operation).items()},
            "headers": HEADERS,
            "parameters": PARAMETERS,
            "securitySchemes": _SCHEMES,
        },
    }


_GATEWAY = {"name": "Gateway", "description": "The gateway's own endpoints."}


def _tag(dialect: DialectInfo) -> dict[str, str]:
    return {"name": dialect.tag, "description": dialect.about}


@cache
def description() -> bytes:
    """The document in JSON, made once."""
    return encoded(document())
