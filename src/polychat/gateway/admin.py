"""Pages for operators below ``/admin``: recent requests and the state of each target.

The paths require a key of ``[gateway.admin]``, which is not accepted for chats; without any such key they do not exist. Their
answers contain no secrets and no text of conversations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ..errors import BadInput, redact
from ..routing import Health
from ..state.store import StoreUnavailable
from ..state.usage_query import UsageQuery, row_of
from .observe.attempts import AttemptCounts
from .observe.metrics import Metrics
from .observe.recent import RecentRequests
from .runtime import Runtime
from .target_states import target_states

if TYPE_CHECKING:
    from .observe.usage import UsageLog

_LISTED, _MOST = 50, 1000
_NO_ADMIN_KEY = "missing or unknown admin key: send one of gateway.admin.keys as Authorization: Bearer …"
_NO_ADMIN_KEY = "missing or unknown admin key: send one of gateway.admin.keys as Authorization: Bearer …"
Answer = Callable[[Request], Awaitable[Response]]


class AdminService(Protocol):
    """The gateway, as these pages use it."""

    runtime: Runtime
    health: Health
    metrics: Metrics
    recent: RecentRequests | None
    """``None`` if there is no admin key."""
    usage: UsageLog | None
    """``None`` if nothing is kept."""


def admin_routes(gateway: AdminService) -> list[BaseRoute]:
    """The paths; none if there is no admin key."""
    if not gateway.runtime.admin_keys:
        return []

    def one(request: Request) -> dict[str, Any] | None:
        record = gateway.recent.find(request.path_params["id"]) if gateway.recent is not None else None
        return None if record is None or gateway.recent is None else gateway.recent.explained(record)

    def latest(request: Request) -> dict[str, Any]:
        wanted = request.query_params.get("limit", "")
        most = min(_MOST, int(wanted)) if wanted.isdecimal() and len(wanted) < 9 else _LISTED
        return {"requests": [] if gateway.recent is None else gateway.recent.summaries(most)}

    def targets(request: Request) -> dict[str, Any]:
        snapshots, _ = gateway.metrics.snapshots()
        counts = AttemptCounts.total(snapshot.attempts for snapshot in snapshots)
        return {"targets": target_states(gateway.runtime, gateway.health, counts, monotonic())}

    return [
        Route("/admin/requests", _guarded(gateway, latest)),
        Route("/admin/requests/{id:path}", _guarded(gateway, one)),
        Route("/admin/targets", _guarded(gateway, targets)),
        Route("/admin/usage", _usage_answer(gateway)),
    ]


def _guarded(gateway: AdminService, answer: Callable[[Request], dict[str, Any] | None]) -> Answer:
    """``answer`` for requests with an admin key; if it returns ``None``, the response is 404."""

    async def guarded_answer(request: Request) -> Response:
        if not gateway.runtime.admin_keys.name_of(dict(request.scope["headers"]), b""):
            return _refusal(401, _NO_ADMIN_KEY)
        value = answer(request)
        if value is None:
            name, most = redact(request.path_params["id"], 128), gateway.runtime.gateway.admin.requests
            return _refusal(404, f"request {name} is not among the latest {most:,} of this worker (gateway.admin.requests)")
        return JSONResponse(value, headers={"cache-control": "no-store"})

    return guarded_answer


def _usage_answer(gateway: AdminService) -> Answer:
    """Sums of usage from the store, which is asked in a thread."""

    async def usage(request: Request) -> Response:
        if not gateway.runtime.admin_keys.name_of(dict(request.scope["headers"]), b""):
            return _refusal(401, _NO_ADMIN_KEY)
        if gateway.usage is None:
            return _refusal(404, "usage is not kept: add [gateway.state] to the configuration")
        try:
            wanted = UsageQuery.read(request.query_params, time())
            sums = await asyncio.to_thread(gateway.usage.store.usage, wanted.by, wanted.which)
        except BadInput as error:
            return _refusal(400, str(error))
        except StoreUnavailable as error:
            return _refusal(503, str(error))
        return JSONResponse({"by": wanted.by, "usage": [row_of(one) for one in sums]}, headers={"cache-control": "no-store"})

    return usage


def _refusal(status: int, message: str) -> Response:
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({"error": {"message": message, "code": status}}, status, {"cache-control": "no-store", **headers})
