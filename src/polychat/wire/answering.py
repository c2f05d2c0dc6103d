"""What the answering half of a service is: pure values in, pure values out, mounted by the gateway.

A service's ``Site`` holds what its server remembers (nonces, tokens, who asked how often). The gateway gives it a ``Request``
and gets either a ``Response`` to send as it is, or a ``SiteRequest`` for a backend and the ``Writer`` of its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from .contract import Writer

Era = Literal["1.9", "2.0", "2.4"]
"""Which time the sites behave as in, by the versions of AI Engine, whose nonces changed twice: see ``AIEngineSite``."""
ERA: Era = "1.9"
"""What the clients of 2023 to early 2025 understand, unless another is asked for."""


@dataclass(slots=True)
class Request:
    """An HTTP request as a site sees it."""

    method: str
    path: str
    """Below where the site is mounted; begins with ``/``."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    base: str
    """The absolute URL the site is mounted at, without a slash at the end: what its pages name as their own address."""

    def cookie(self, name: str) -> str | None:
        """The value of a request cookie."""
        for pair in self.headers.get("cookie", "").split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
        return None


@dataclass(slots=True)
class Response:
    """An answer that needs no backend."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class SiteRequest:
    """What a backend is to answer."""

    text: str
    """The message or prompt as it arrived."""
    messages: list[dict[str, Any]]
    """The same as a conversation, with what history the service's request carried."""
    writer: Writer
    model: str | None = None
    """The model the request named, where the service's request names one."""
    settings: dict[str, float] = field(default_factory=dict)
    """Sampling parameters of the request, by OpenAI's names."""


class Site(Protocol):
    """The answering half of one service. A provider's module brings its own as the class attribute ``site``.

    One whose service changed over time has a class method ``in_era(era)`` too, which makes it as it was then; see ``Era``.
    """

    limits: ClassVar[int]
    """The most bytes of a request body it takes; the gateway answers 413 above that."""

    def receive(self, request: Request) -> Response | SiteRequest:
        """Decide about one request. Called from one event loop, never from two threads at once."""
