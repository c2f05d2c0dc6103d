"""Descriptions of the pages below ``/admin``. Bodies of requests are described by the types that read them."""

from __future__ import annotations

from typing import Any, get_args

from msgspec import json

from ...state.store import UsageDimension
from ..admin.bodies import BODIES, KeyChange, NewKeyBody, OwnerBody, Revocation, Rotation
from ..observe.in_progress import RequestState
from .schema import Schema, count, flag, nullable, number, ref, reply_object, several, text, word

_MOMENT = "a date or time in UTC (`2026-11-01`), or an age (`24h`, `30d`)."
_REASONS = {
    "400": "The request is not valid; `field` names what is wrong, and the message the next step.",
    "401": "The admin key is missing or unknown.",
    "403": "The admin key does not have the scope; or the web page's origin or the `Host` is not allowed.",
    "404": "There is no such thing; or `gateway.admin` has no keys.",
    "409": "Somebody else changed the same thing at the same time: read it again.",
    "408": "The request body did not arrive in time.",
    "413": "The request body is too large.",
    "429": "Too many unknown admin keys came from this address.",
    "503": "The database cannot be used at the moment.",
}
_NOTHING_KEPT = "There is no `[gateway.state]`, or `gateway.admin` has no keys."
_SETTINGS = "As `[gateway.key_settings]` has them, without those that have their default."


def _path(name: str, about: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "description": about, "schema": text()}


def _query(name: str, about: str, **schema: Any) -> Schema:
    return {"name": name, "in": "query", "description": about, "schema": {"type": "string", **schema}}


def _page(
    name: str,
    summary: str,
    scope: str,
    *parameters: Schema,
    body: type | None = None,
    answer: Schema | None = None,
    status: int = 200,
    **reasons: str,
) -> Schema:
    """``reasons``: what a status means at this page, by an underscore and the status."""
    told = _REASONS | {status[1:]: reason for status, reason in reasons.items()}
    content = {"content": {"application/json": {"schema": ref("AdminError")}}}
    good = {"description": "JSON.", "content": {"application/json": {"schema": answer or {"type": "object"}}}}
    statuses = [status for status in told if body is not None or status not in ("408", "409", "413")]
    schema = {"content": {"application/json": {"schema": ref("" if body is None else body.__name__)}}}
    return {
        "tags": ["Gateway"],
        "operationId": name,
        "summary": summary,
        "description": f"Requires one of `gateway.admin.keys` with the scope `{scope}`; without any, the path does not exist.",
        **({"parameters": list(parameters)} if parameters else {}),
        **({} if body is None else {"requestBody": schema}),
        "responses": {str(status): good, **{code: {"description": told[code], **content} for code in statuses}},
    }


def _several(name: str, kind: str) -> Schema:
    listed: dict[str, Any] = {name: several(ref(kind)), "next": _NEXT}
    return reply_object(**listed)


_KEY = _path("key", "The key's public id, or its name if one key in use has it.")
_LIMIT = {"name": "limit", "in": "query", "description": "How many, at most.", "schema": {"type": "integer", "maximum": 1000}}
_AFTER = _query("after", "The `next` of the page before.")
_NEXT = nullable(text("Where the next page begins, for `after`; null for the last page."))
_SINCE = _query("since", f"From then on: {_MOMENT}")
_USAGE = [
    _query("by", "What the sums are for; `model` by default.", enum=list(get_args(UsageDimension))),
    _SINCE,
    _query("until", f"Before then: {_MOMENT}"),
]
_FACTS: dict[str, Any] = {
    "id": text("Public: logs and usage name the key by it."),
    "name": text(),
    "owner": nullable(text("Such as `person:ada`.")),
    "state": text("`in use`, `expired` or `revoked`."),
    "created_at": text(),
    **{name: nullable(text()) for name in ("expires_at", "revoked_at", "last_used_at")},
    "replaced_by": nullable(text("The id of the key that it was rotated to.")),
    "settings": {"description": _SETTINGS, "type": "object"},
}
SCHEMAS: dict[str, Schema] = {
    **json.schema_components(BODIES, ref_template="#/components/schemas/{name}")[1],
    "AdminKey": reply_object(**_FACTS),
    "AdminNewKey": reply_object(key=text("The key itself, which is not kept and cannot be shown again."), **_FACTS),
    "AdminOwner": reply_object(
        name=text(),
        parent=nullable(text("A person's team, or a team's organisation.")),
        created_at=text(),
        settings={"description": _SETTINGS, "type": "object"},
    ),
    "AdminAuditEntry": reply_object(
        at=text(),
        actor=text("`admin:NAME` with the name of the admin key, or `command:USER`."),
        action=text("Such as `key.create`."),
        subject=text("Such as `key:ID` or `team:NAME`."),
        facts={"description": "What was set, without secrets.", "type": "object"},
    ),
    "AdminRunningRequest": reply_object(
        request_id=text(),
        dialect=text(),
        key=text("The name of the client's key."),
        model=text("As the client named it."),
        route=text(),
        target=text("The one that answers, or was called last; empty where that is not known."),
        state=word(*get_args(RequestState)),
        stream=flag(),
        age_ms=number(),
        time_to_first_token_ms=nullable(number()),
        tokens=nullable(count("About how many of its reply were read; known of streams whose key has limits.")),
    ),
    "AdminError": reply_object(
        error=reply_object(
            "field", message=text("What is wrong, and the next step."), code={"type": "integer"}, field=text("Of the request.")
        )
    ),
}


def _owner_paths(path: str, kind: str, title: str) -> dict[str, dict[str, Schema]]:
    named = _path("name", f"The name of the {kind}.")
    owner = ref("AdminOwner")
    return {
        f"/admin/{path}": {
            "get": _page(
                f"admin{title}s",
                f"Each {kind}",
                "keys",
                _LIMIT,
                _AFTER,
                answer=_several("owners", "AdminOwner"),
                _404=_NOTHING_KEPT,
            )
        },
        f"/admin/{path}/{{name}}": {
            "get": _page(f"admin{title}", f"One {kind}", "keys", named, answer=owner),
            "put": _page(f"admin{title}Put", f"Make or change a {kind}", "keys", named, body=OwnerBody, answer=owner),
            "delete": _page(f"admin{title}Delete", f"Refuse all keys of a {kind} from now on", "keys", named, answer=owner),
        },
    }


PATHS: dict[str, dict[str, Schema]] = {
    "/admin/requests": {"get": _page("adminRequests", "The latest requests, newest first", "read", _LIMIT, _AFTER)},
    "/admin/requests/{id}": {
        "get": _page(
            "adminRequest",
            "Why a request went to its target",
            "read",
            _path("id", "The response's `x-request-id`."),
            _404="No such request among the latest of this worker, or `gateway.admin` has no keys.",
        )
    },
    "/admin/running": {
        "get": _page(
            "adminRunning",
            "The requests in progress, the oldest first: all of this worker, and the oldest of each other one",
            "read",
            _LIMIT,
            _query("contains", "Only those in whose model, route, target, key, dialect or id this is found."),
            answer=reply_object(
                total=count("How many are in progress, listed or not."),
                requests=several(ref("AdminRunningRequest")),
            ),
        )
    },
    "/admin/targets": {"get": _page("adminTargets", "The state of every target", "read")},
    "/admin/usage": {
        "get": _page(
            "adminUsage", "Usage and cost of requests, by a dimension", "usage", *_USAGE, _LIMIT, _AFTER, _404=_NOTHING_KEPT
        )
    },
    "/admin/audit": {
        "get": _page(
            "adminAudit",
            "Who changed what and when, the latest first",
            "audit",
            _SINCE,
            _LIMIT,
            _AFTER,
            answer=_several("audit", "AdminAuditEntry"),
            _404=_NOTHING_KEPT,
        )
    },
    "/admin/config": {
        "get": _page(
            "adminConfig",
            "The configuration in force, without secrets",
            "config",
            answer=reply_object(
                file=nullable(text("The file that it was read from.")),
                refused=nullable(
                    text("Why the file as it is now was refused at the last start or reload; null if it was not.")
                ),
                toml=text("All settings, as TOML."),
            ),
        )
    },
    "/admin/keys": {
        "get": _page(
            "adminKeys",
            "All keys of the database, without secrets",
            "keys",
            _query("owner", "Only those of `person:NAME`, `team:NAME` or `org:NAME`."),
            _LIMIT,
            _AFTER,
            answer=_several("keys", "AdminKey"),
            _404=_NOTHING_KEPT,
        ),
        "post": _page(
            "adminKeyCreate",
            "Make a key, and show it, once",
            "keys",
            body=NewKeyBody,
            answer=ref("AdminNewKey"),
            status=201,
            _404=_NOTHING_KEPT,
        ),
    },
    "/admin/keys/{key}": {
        "get": _page("adminKey", "One key", "keys", _KEY, answer=ref("AdminKey")),
        "patch": _page("adminKeyChange", "Change what a key may use", "keys", _KEY, body=KeyChange, answer=ref("AdminKey")),
    },
    "/admin/keys/{key}/revoke": {
        "post": _page("adminKeyRevoke", "Refuse a key from now on", "keys", _KEY, body=Revocation, answer=ref("AdminKey"))
    },
    "/admin/keys/{key}/rotate": {
        "post": _page(
            "adminKeyRotate",
            "Make a key in place of one, which goes on for a grace time",
            "keys",
            _KEY,
            body=Rotation,
            answer=ref("AdminNewKey"),
            status=201,
        )
    },
    **_owner_paths("people", "person", "Person"),
    **_owner_paths("teams", "team", "Team"),
    **_owner_paths("orgs", "organisation", "Org"),
}
