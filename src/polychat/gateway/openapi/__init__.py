"""The gateway's own description of itself: what it answers, dialect by dialect, for people and for tools."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...version import __version__
from ...wire._json import encoded
from .. import dialects
from . import models
from .operation import HEADERS, DialectInfo, Operation, responses

__all__ = ["OPERATIONS", "description", "document"]

_PARTS = (*dialects.every("openapi"), models)
OPERATIONS: tuple[Operation, ...] = tuple(one for part in _PARTS for one in part.OPERATIONS)
"""All that speak a dialect."""

_ABOUT = """One address before every chat backend: ask in any of these dialects, and any backend answers.

**Names of models.** In every dialect: `provider/model`, a route of the configuration, or an alias. A name that nobody has is
answered with 404 and those that come closest; a bare name that could mean two is refused, and the answer says which two.

**Keys.** Where the configuration names keys, one of them is needed, wherever the dialect's own clients put theirs: see the
security schemes. Where it names none, the gateway is to be reached from its own machine only.

**Fields.** Those described here are read. Others are not refused: a backend of the same wire gets them as they came, for
others they are a loss, which `x-polychat-losses` names (`gateway.on_loss`). What is of the wrong type is 400, and the message
names the field.

**Ends.** A reply is whole or it is a failure: where it fails before its first piece, a status and the dialect's own error;
after it, an error in the stream in place of the dialect's own end.

**Below the dialects.** What is no HTTP/1.1 is answered with 400 or 505, a head that is too large with 431, one that does not
come with 408, in plain text; the connection is then closed.
"""
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "OpenAI's clients, and most others."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "Anthropic's clients."},
    "x-goog-api-key": {"type": "apiKey", "in": "header", "name": "x-goog-api-key", "description": "Google's clients."},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key", "description": "Azure's clients."},
    "key": {"type": "apiKey", "in": "query", "name": "key", "description": "Google's examples; it ends up in proxies' logs."},
}


def document() -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {path: dict(methods) for path, methods in models.HOUSE.items()}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = one.described()
    schemas = {name: schema for part in _PARTS for name, schema in part.SCHEMAS.items()}
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
            "responses": {name: said for one in OPERATIONS for name, said in responses(one).items()},
            "headers": HEADERS,
            "securitySchemes": _SCHEMES,
        },
    }


_GATEWAY = {"name": "Gateway", "description": "What the gateway tells of itself."}


def _tag(dialect: DialectInfo) -> dict[str, str]:
    return {"name": dialect.tag, "description": dialect.about}


@cache
def description() -> bytes:
    """The document in JSON, made once."""
    return encoded(document())
