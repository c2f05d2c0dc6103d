"""The pages for operators below ``/admin``: what the gateway does, who may use it, and what was changed.

The paths require a key of ``[gateway.admin]`` with the page's scope, which is not accepted for chats; without any such key they
do not exist. Their answers contain no secrets, but for a key that was just made, and no text of conversations.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Annotated, Any, TypeAlias

from msgspec import Meta
from starlette.routing import BaseRoute

from ...config.writing import config_text
from ...errors import BadInput, redact
from ...state.store import Place
from ...state.usage_query import UsageQuery, moment_of, rows_of
from ..observe.attempts import AttemptCounts
from ..observe.in_progress import facts, running
from ..target_states import target_states
from . import people
from .facts import audit_facts
from .listing import cursor, limit_in, next_after, place_in
from .pages import AdminCall, AdminService, Missing, Page, route_of

_LISTED = 50
_SUMS = 1000
_Below: TypeAlias = Annotated[int, Meta(ge=-(2**62), le=0)]
_UsagePlace: TypeAlias = tuple[_Below, _Below, str]
"""A ``UsagePlace``."""
_LONGEST = 256
"""Characters of a text that is searched for."""


def admin_routes(gateway: AdminService) -> list[BaseRoute]:
    """The paths; none if there is no admin key."""
    if not gateway.runtime.admin_keys:
        return []
    by_path: dict[str, list[Page]] = {}
    for page in PAGES:
        by_path.setdefault(page.path, []).append(page)
    return [route_of(gateway, path, pages) for path, pages in by_path.items()]


def _requests(call: AdminCall) -> Any:
    """A page goes on in the worker that began it: each has requests of its own."""
    recent, place = call.gateway.recent, place_in(call, tuple[int, int])
    if recent is None:
        return {"requests": [], "next": None}
    if place is not None and place[0] != os.getpid():
        raise BadInput(
            "another worker gave this page: go on over the same connection, or begin again without after", field="after"
        )
    page, before = recent.summaries(limit_in(call, _LISTED), None if place is None else place[1])
    return {"requests": page, "next": None if before is None else cursor((os.getpid(), before))}


def _request(call: AdminCall) -> Any:
    recent = call.gateway.recent
    record = None if recent is None else recent.find(call.path["id"])
    if record is None or recent is None:
        name, most = redact(call.path["id"], 128), call.gateway.runtime.gateway.admin.requests
        raise Missing(f"request {name} is not among the latest {most:,} of this worker (gateway.admin.requests)")
    return recent.explained(record)


def _running(call: AdminCall) -> Any:
    gateway = call.gateway
    text = call.query.get("contains", "")[:_LONGEST]
    most, (_, *others) = limit_in(call, _LISTED), gateway.metrics.snapshots()[0]
    others = [snapshot for snapshot in others if snapshot.is_living]
    requests = running(gateway.in_progress or {}, most, text)
    requests += [request for snapshot in others for request in snapshot.in_progress]
    total = gateway.running + sum(snapshot.running for snapshot in others)
    return {"total": total, "requests": facts(requests, most, text, monotonic())}


def _targets(call: AdminCall) -> Any:
    gateway = call.gateway
    snapshots, _ = gateway.metrics.snapshots()
    counts = AttemptCounts.total(snapshot.attempts for snapshot in snapshots)
    others = [target for snapshot in snapshots[1:] if snapshot.is_living for target in snapshot.states.targets]
    return {"targets": target_states(gateway.runtime, gateway.health, counts, monotonic(), others)}


def _usage(call: AdminCall) -> Any:
    wanted = UsageQuery.read(call.query, call.now)
    limit, after = limit_in(call, _SUMS), place_in(call, _UsagePlace)
    sums = call.store.usage(wanted.by, wanted.which, after=after, limit=limit + 1)
    shown = rows_of(sums[:limit], wanted.by, call.store)
    return {"by": wanted.by, "usage": shown, "next": next_after(sums, limit, lambda one: one.place)}


def _audit(call: AdminCall) -> Any:
    since = call.query.get("since", "")
    earliest, limit = moment_of(since, call.now, "since") if since else 0.0, limit_in(call)
    entries = call.store.audit(since=earliest, limit=limit + 1, after=place_in(call, Place))
    shown = [audit_facts(entry) for entry in entries[:limit]]
    return {"audit": shown, "next": next_after(entries, limit, lambda entry: (entry.at, entry.id))}


def _config(call: AdminCall) -> Any:
    configured = call.gateway.runtime.configured
    file = None if configured.file is None else str(configured.file)
    return {"file": file, "refused": call.gateway.refused or None, "toml": config_text(configured)}


PAGES: list[Page] = [
    Page("GET", "/admin/requests", "read", _requests, waits=False),
    Page("GET", "/admin/requests/{id:path}", "read", _request, waits=False),
    Page("GET", "/admin/running", "read", _running, waits=False),
    Page("GET", "/admin/targets", "read", _targets, waits=False),
    Page("GET", "/admin/usage", "usage", _usage),
    Page("GET", "/admin/audit", "audit", _audit),
    Page("GET", "/admin/config", "config", _config, waits=False),
    *people.PAGES,
]
