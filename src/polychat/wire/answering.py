"""The server side of a chat site: pure values in, pure values out. The gateway mounts it.

A service's ``Site`` holds what its server remembers (nonces, tokens, request counts). The gateway passes a ``Request``
and gets either a ``Response`` to send unchanged, or a ``SiteRequest`` for a backend and the ``Writer`` of its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from ..choices import SitesEra
from .contract import Writer

ERA: SitesEra = "1.9"
"""The default: what clients of 2023 to early 2025 understand."""


@dataclass(slots=True)
class Request:
    """An HTTP request to a site."""

    method: str
    path: str
    """The path below the mount point; begins with ``/``."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: bytes
    base: str
    """The absolute URL of the mount point, without a trailing slash: pages use it as their own address."""

    def cookie(self, name: str) -> str | None:
        """The value of a request cookie."""
        for pair in self.headers.get("cookie", "").split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
        return None


@dataclass(slots=True)
class Response:
    """A response that needs no backend."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class SiteRequest:
    """A chat request for a backend."""

    text: str
    """The message or prompt as it arrived."""
    messages: list[dict[str, Any]]
    """The conversation: the message, and the history if the service's request contains one."""
    writer: Writer
    model: str | None = None
    """The model that the request names, if the service's requests name one."""
    settings: dict[str, float] = field(default_factory=dict)
    """Sampling parameters of the request, by OpenAI's names."""


class Site(Protocol):
    """The server side of one service. A provider's module has its own as the class attribute ``site``.

    If the service changed over time, its class method ``in_era(era)`` returns the site as of that era; see ``SitesEra``.
    """

    limits: ClassVar[int]
    """Maximum bytes of a request body; the gateway answers 413 above it."""

    def receive(self, request: Request) -> Response | SiteRequest:
        """Handle one request. Called from one event loop, never from two threads at once."""
