"""Which path leads to which endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from ..http.server.asgi import Scope
from . import dialects, listing
from .dialects.dialect import Dialect
from .endpoint import Endpoint


class DialectEndpoints(Protocol):
    """A dialect's module ``endpoints``."""

    DIALECTS: Sequence[Dialect]
    """Each by a name of its own; the first is the one of ``FAMILY``."""
    FAMILY: str
    """The prefix of paths that only this dialect's clients use; empty if it shares its prefix."""
    ENDPOINTS: Mapping[str, Endpoint]
    """By path."""

    def endpoint_at(self, path: str, scope: Scope) -> Endpoint | None:
        """The endpoint at a path that holds a name; ``None`` if there is none."""


_ENDPOINTS_OF = cast(list[DialectEndpoints], dialects.every("endpoints"))
ENDPOINTS: dict[str, Endpoint] = {path: endpoint for served in _ENDPOINTS_OF for path, endpoint in served.ENDPOINTS.items()}
"""By path."""
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for served in _ENDPOINTS_OF for dialect in served.DIALECTS}
"""By name."""
_FAMILIES = {served.FAMILY: served.DIALECTS[0] for served in _ENDPOINTS_OF if served.FAMILY}
_WITHOUT_VERSION = frozenset(path.split("/")[2] for path in ENDPOINTS if path.startswith("/v1/")) | {"models"}
"""What a path begins with that leaves ``/v1`` out."""
_SLASHES = re.compile("/{2,}")
_TWICE = re.compile("^(?:/v1)+(?=/v1/)")
_FIRST = re.compile("(?s)^/|(?<=.)/.*")


def endpoint_at(path: str, scope: Scope) -> Endpoint | None:
    """The endpoint at a path, also at one that holds a name; ``None`` if no dialect has one there."""
    if (endpoint := ENDPOINTS.get(path)) is not None:
        return endpoint
    for served in _ENDPOINTS_OF:
        if (endpoint := served.endpoint_at(path, scope)) is not None:
            return endpoint
    _, models, name = path.partition("/models")
    if not models or not path.startswith(("/v1/models", "/v1beta/models")) or (name and not name.startswith("/")):
        return None
    dialect = "gemini" if path.startswith("/v1beta") else listing.dialect_of(dict(scope["headers"]))
    return Endpoint(DIALECTS[dialect], "GET", listing.models)


def dialect_at(path: str) -> Dialect:
    """The dialect in which an unknown path is refused, by its prefix; OpenAI's for any other prefix."""
    return next((dialect for start, dialect in _FAMILIES.items() if path.startswith(start)), DIALECTS["openai-chat"])


def usual(path: str) -> str:
    """A path as it is usually written. Base URLs are typed with a slash too many, with ``/v1`` twice or without it."""
    head, models, name = path.partition("/models")  # what follows may be a model's name, which has slashes of its own
    path = _TWICE.sub("", _SLASHES.sub("/", head + models if models else head)) + name
    if len(path) > 1:
        path = path.removesuffix("/")
    return f"/v1{path}" if _FIRST.sub("", path) in _WITHOUT_VERSION else path
