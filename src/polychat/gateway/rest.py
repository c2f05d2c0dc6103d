"""What is beside the doors: health, metrics, the description, the sites; on Starlette, and made when it is first asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from .. import __version__
from ..errors import shown
from ..wire.faults import Fault
from .asgi import Receive, Scope, Send
from .openapi import description
from .paths import DOORS, FAMILIES
from .sites import Sites, routed

if TYPE_CHECKING:
    from .app import Gateway


def rest(gateway: Gateway) -> Starlette:
    """The application for every path that is no door's."""

    async def ready(request: Request) -> Response:
        if gateway.draining:
            return PlainTextResponse("stopping\n", 503, {"retry-after": "1"})
        return PlainTextResponse("ready\n")

    async def metrics(request: Request) -> Response:
        keys = gateway.setup.keys
        if keys and not keys.name_of(dict(request.scope["headers"]), request.scope["query_string"]):
            return PlainTextResponse("no key, or one that is not known here\n", 401, {"www-authenticate": "Bearer"})
        # Rendering takes long where there are many names: no request waits for it.
        body, content_type = await asyncio.to_thread(gateway.metrics.view().rendered, request.headers.get("accept", ""))
        return Response(body, media_type=content_type)

    routes: list[BaseRoute] = [
        Route("/", _index),
        Route("/health", _health),
        Route("/ready", ready),
        Route("/metrics", metrics),
        Route("/openapi.json", _openapi),
    ]
    if gateway.setup.gateway.sites:
        routes.append(Mount("/sites", _Guarded(gateway, Sites(routed(gateway.setup, gateway.setup.gateway.sites)))))
    return Starlette(routes=routes, exception_handlers={404: _unknown})


async def _unknown(request: Request, error: Exception) -> Response:
    """In the dialect of those who ask there, as far as the path tells it."""
    path = request.scope["path"]
    of = next((name for start, name in FAMILIES.items() if path.startswith(start)), "openai-chat")
    said = f"there is nothing at {shown(path, 80)}: /openapi.json lists what there is"
    status, body = DOORS[of].refusal(Fault(said, "not_found", 404, "unknown_url"))
    return Response(body, status, media_type="application/json")


class _Guarded:
    """The sites, for those who may come in: their own protocols know no key, so it comes in a header beside them."""

    def __init__(self, gateway: Gateway, app: Sites) -> None:
        self._gateway, self._app = gateway, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        setup, headers = self._gateway.setup, dict(scope["headers"])
        if setup.keys and not setup.keys.name_of(headers, scope["query_string"]):
            refusal = PlainTextResponse("no key: send x-api-key\n", 401)
        elif (wrong := setup.strangers.wrong(headers)) is not None:
            refusal = PlainTextResponse(f"{wrong}\n", 403)
        elif self._gateway.draining:
            refusal = PlainTextResponse("stopping\n", 503, {"retry-after": "1"})
        else:
            await self._app(scope, receive, send)
            return
        await refusal(scope, receive, send)


async def _health(request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _index(request: Request) -> Response:
    return PlainTextResponse(f"polychat {__version__}: see /openapi.json\n")


async def _openapi(request: Request) -> Response:
    return Response(description(), media_type="application/json")
