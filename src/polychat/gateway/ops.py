"""Endpoints outside the dialects: health, metrics, the OpenAPI document, the sites. On Starlette, made at the first request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from ..errors import redact
from ..http.server.asgi import Receive, Scope, Send, respond
from ..version import __version__
from ..wire.faults import Fault
from .admin.pages import AdminService
from .admin.routes import admin_routes
from .admission.sites import PLAIN, Admission
from .openapi import description
from .paths import dialect_at
from .responder import Refused, marking_final
from .service import Service
from .sites import Sites, routed, services

App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class OperatedService(Service, AdminService, Protocol):
    """The gateway with its metrics."""

    @property
    def requires_key(self) -> bool:
        """Whether requests need a key."""

    def is_limited(self, key: str) -> bool:
        """Whether requests with this key are counted."""

    def stores_away(self) -> dict[str, bool]:
        """Of each store of shared limits, whether it cannot be reached now."""


_ANYBODY = ("/health", "/ready")
"""Load balancers call these under any host name; the replies reveal nothing."""


def rest(gateway: OperatedService) -> App:
    """The application for every path that no dialect has."""
    app = routes(gateway)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        send = marking_final(send)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        wrong = None if path in _ANYBODY else gateway.runtime.origins.wrong(dict(scope["headers"]))
        if wrong is None:
            await app(scope, receive, send)
        else:
            await respond(send, 403, PLAIN, f"{wrong}\n".encode())

    return guarded


def routes(gateway: OperatedService) -> Starlette:
    async def ready(request: Request) -> Response:
        if gateway.draining:
            return PlainTextResponse("stopping\n", 503, {"retry-after": "1"})
        away = [name for name, is_away in gateway.stores_away().items() if is_away]
        shares = [f"shared limits: {name} cannot be reached; each process applies its share of them\n" for name in away]
        # Anybody may ask: the reason, which names the file, is in the log and at /admin/config.
        refused = ["configuration: the file was refused; the last good one is in force\n"] if gateway.refused else []
        return PlainTextResponse("".join(["ready\n", *shares, *refused]))

    async def metrics(request: Request) -> Response:
        return await _metrics(gateway, request)

    paths: list[BaseRoute] = [
        Route("/", _index),
        Route("/health", _health),
        Route("/ready", ready),
        Route("/metrics", metrics),
        Route("/openapi.json", _openapi),
        *admin_routes(gateway),
        *_sites(gateway),
    ]
    return Starlette(routes=paths, exception_handlers={404: _unknown})


def _sites(gateway: OperatedService) -> list[BaseRoute]:
    settings = gateway.runtime.gateway
    if not settings.sites:
        return []
    answer, limits = routed(gateway.runtime, settings.sites), settings.limits
    era = services(settings.sites_era)
    sites = Sites(answer, era, patience=limits.body_seconds, upload=limits.upload_seconds)
    return [Mount("/sites", Admission(gateway, sites))]


async def _metrics(gateway: OperatedService, request: Request) -> Response:
    headers = dict(request.scope["headers"])
    is_operator = _is_operator(gateway, request, headers)
    if not (is_operator or await _may_read_metrics(gateway, request)):
        return PlainTextResponse("missing or unknown API key\n", 401, {"www-authenticate": "Bearer"})
    from .observe.prometheus import View  # Prometheus' client is slow to load, and needed only for a scrape

    # Rendering many label sets takes long; in a thread it delays no request.
    view = View(*gateway.metrics.snapshots(), shows_keys=is_operator)
    body, content_type = await asyncio.to_thread(view.rendered, request.headers.get("accept", ""))
    return Response(body, media_type=content_type)


def _is_operator(gateway: OperatedService, request: Request, headers: dict[bytes, bytes]) -> bool:
    """Whether the request has the key of ``/metrics``, or an admin key with the scope ``read``."""
    runtime = gateway.runtime
    if runtime.metrics_key.name_of(headers, b""):
        return True
    keys, address = runtime.admin_keys, "" if request.client is None else request.client.host
    if not keys or keys.guesses.are_too_many(address):
        return False
    name = keys.name_of(headers)
    return bool(name) and not keys.lack(name, "read")


async def _may_read_metrics(gateway: OperatedService, request: Request) -> bool:
    """Whether a client may. One that may not, and has a key, has guessed."""
    if not gateway.runtime.metrics_key and (not gateway.requires_key or await _has_key(gateway, request)):
        return True
    keys, headers = gateway.runtime.admin_keys, dict(request.scope["headers"])
    if keys and request.client is not None and keys.is_guess(headers) and not keys.name_of(headers):
        keys.guesses.add(request.client.host)
    return False


async def _has_key(gateway: OperatedService, request: Request) -> bool:
    headers, query = dict(request.scope["headers"]), request.scope["query_string"]
    if gateway.runtime.keys.name_of(headers, query):
        return True
    address = "" if request.client is None else request.client.host
    try:
        if gateway.signed is not None and gateway.signed.find(headers, query, address) is not None:
            return True
        if gateway.people is None:
            return False
        await gateway.people.find(headers, query, address, required=True)
    except Refused:
        return False
    return True


async def _unknown(request: Request, error: Exception) -> Response:
    """A 404 in the dialect that the path's prefix belongs to."""
    path = request.scope["path"]
    message = f"no endpoint {redact(path, 80)}: see /openapi.json"
    status, body = dialect_at(path).refusal(Fault(message, "not_found", 404, "unknown_url"))
    return Response(body, status, media_type="application/json")


async def _health(request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _index(request: Request) -> Response:
    return PlainTextResponse(f"polychat {__version__}: see /openapi.json\n")


async def _openapi(request: Request) -> Response:
    return Response(description(), media_type="application/json")
