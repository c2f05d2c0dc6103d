"""The description of one operation of a dialect: its request, its responses, and its errors, in the dialect's own format."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ...config.decoding import choices_of, keys_of, meaning
from ...config.settings import GatewaySettings
from ...wire.contract import wire_named
from ...wire.faults import Fault, kind_of
from ...wire.json_text import decoded
from ..chat import preferences
from ..chat.traits import TAGS
from .schema import Schema, count, number, ref, text, whole, word

FAILURES = {
    400: "The request is not valid; the message names the field and the fix.",
    401: "The API key is missing or unknown, or the backend rejects the gateway's own key.",
    403: "The web page's origin (`gateway.cors`) or the `Host` is not allowed, or the backend denies permission.",
    404: "Unknown model, with the closest names in the message; or no such object.",
    405: "Method not allowed; `allow` lists the allowed ones.",
    408: "The request body did not arrive in time (`gateway.limits.body_seconds`).",
    413: "The request body is too large (`gateway.limits.body`), here or for the backend.",
    415: "The content type is not `application/json`.",
    422: "The `Idempotency-Key` was used with another request.",
    426: "The WebSocket upgrade is incomplete, or WebSockets are not supported here: see `upgrade`, or use `POST`.",
    429: (
        "The rate limit of the backend or the gateway's own limit (`gateway.limits.concurrent`) is reached. See `retry-after`."
    ),
    500: "An internal error; see the gateway's log under the same `x-request-id`.",
    502: "The backend failed, is unreachable, or ended its reply early.",
    503: "The backend is overloaded or not configured, or the gateway is shutting down.",
    504: "One of the route's timeouts was reached.",
    529: "Overloaded; this API's own status.",
}
_PHRASES = {529: "Overloaded"}


@dataclass(frozen=True)
class DialectInfo:
    """One vendor's API: its tag, and how it reports failures."""

    tag: str
    about: str
    wire: str
    error: str
    """The component of its failures."""
    overloaded: int = 503


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    dialect: DialectInfo
    name: str
    summary: str
    about: str = ""
    request: Schema | None = None
    example: Any = None
    answer: Schema | None = None
    streams: str = ""
    """The content type of its streams, if it has any."""
    stream: Schema = field(default_factory=text)
    """One event of such a stream; the whole body if it does not consist of events."""
    parameters: tuple[Schema, ...] = ()
    headers: dict[str, Schema] = field(default_factory=dict)
    """Headers of a 2xx answer in addition to the usual ones."""
    links: dict[str, Schema] = field(default_factory=dict)
    """What a good answer leads to."""
    status: int = 200
    """The status of a success: 101 if the connection switches to WebSocket."""

    def described(self) -> Schema:
        """As the document has it."""
        operation: Schema = {"tags": [self.dialect.tag], "operationId": self.name, "summary": self.summary}
        if self.about:
            operation["description"] = self.about
        if parameters := [*self.parameters, *(CHAT_PARAMETERS if CHAT_HEADERS.items() <= self.headers.items() else ())]:
            operation["parameters"] = parameters
        if self.request is not None:
            content: Schema = {"schema": self.request}
            if self.example is not None:
                content["examples"] = {"plain": {"value": self.example}}
            operation["requestBody"] = {"required": True, "content": {"application/json": content}}
        good = {str(self.status): self._good()}
        return {**operation, "responses": {**good, **failures(self.dialect, body=self.request is not None)}}

    def _good(self) -> Schema:
        content: Schema = {}
        if self.answer is not None:
            content["application/json"] = {"schema": self.answer}
        if self.streams:
            content[self.streams] = {"schema": self.stream}
        links = {"links": self.links} if self.links else {}
        usual = ("x-request-id",) if self.status == 101 else ("x-request-id", "cache-control")
        named = {name: {"$ref": f"#/components/headers/{name}"} for name in usual}
        return {"description": "The answer.", "headers": {**named, **self.headers}, "content": content, **links}


def failures(dialect: DialectInfo, *, body: bool) -> Schema:
    """The error responses, by status."""
    without_body = {408, 413, 415, 422}
    statuses = [
        status for status in FAILURES if (body or status not in without_body) and status in (dialect.overloaded, *_ALWAYS)
    ]
    return {str(status): {"$ref": f"#/components/responses/{dialect.error}{status}"} for status in statuses}


_ALWAYS = tuple(status for status in FAILURES if status != 529)


def responses(operation: Operation) -> Schema:
    """The components that ``failures`` names, each with exactly the bytes that the gateway would write."""
    dialect, statuses = operation.dialect, failures(operation.dialect, body=operation.request is not None)
    return {f"{dialect.error}{status}": _failure(dialect, int(status)) for status in statuses}


def _failure(dialect: DialectInfo, status: int) -> Schema:
    fault = Fault(_PHRASES.get(status) or HTTPStatus(status).phrase, kind_of(status), status)
    example = decoded(wire_named(dialect.wire).write_fault(fault))
    headers = {"x-request-id": {"$ref": "#/components/headers/x-request-id"}}
    for name, statuses in _HEADER_STATUSES.items():
        if status in statuses:
            headers[name] = {"$ref": f"#/components/headers/{name}"}
    content = {"application/json": {"schema": ref(dialect.error), "example": example}}
    return {"description": FAILURES[status], "headers": headers, "content": content}


def _must(schema: Schema) -> Schema:
    return {"required": True, "schema": schema}


def _may(schema: Schema) -> Schema:
    return {"schema": schema}


_HEADER_STATUSES = {
    "retry-after": (429, 503, 529),
    "retry-after-ms": (429, 503, 529),
    "x-should-retry": tuple(status for status in FAILURES if status != 408),
    "www-authenticate": (401,),
    "allow": (405,),
}

HEADERS: Schema = {
    "x-request-id": _must(text("The request's id in the log: yours, if you sent a valid one.")),
    "cache-control": _must(text("`no-store`; `no-cache` for a stream.")),
    "x-accel-buffering": _may(word("no", about="With a stream: tells proxies not to buffer it.")),
    "x-polychat-provider": _may(text("Who answered.")),
    "x-polychat-model": _may(text("The model that was requested from the backend.")),
    "x-polychat-attempts": _may(whole("The number of attempts for this reply.", minimum=1)),
    "x-polychat-overhead-ms": _may(number("Milliseconds spent in the gateway itself.", minimum=0)),
    "x-polychat-losses": _may(text("Request fields that were dropped or changed for the backend.")),
    "x-polychat-passed-over": _may(text("The targets of the route that were skipped in their turn, with the reasons.")),
    "x-polychat-cost": _may(number("The cost in US dollars, if the reply is complete and its price is known.", minimum=0)),
    "x-polychat-limit-warning": _may(text("The limits and budgets of the key that are nearly used up, and how much is used.")),
    "ratelimit-policy": _may(text("The limits of the key, as the IETF's draft on RateLimit header fields has them.")),
    "ratelimit": _may(text("What is left of each of these limits, and the seconds until it resets.")),
    "x-polychat-replayed": _may(word("true", about="The response to an earlier request with this `Idempotency-Key`.")),
    "x-polychat-estimated": _may(word("true", about="The count is an estimate: the backend does not count tokens.")),
    "retry-after": _may(count("Whole seconds.")),
    "retry-after-ms": _may(count("The same in milliseconds.")),
    "x-should-retry": _may(word("false", about="The same request would fail again: do not retry.")),
    "www-authenticate": _may(text("How to send an API key.")),
    "allow": _may(text("The allowed methods.")),
}
LIMIT_HEADERS = ("ratelimit-policy", "ratelimit")
CHAT_HEADERS = {
    name: {"$ref": f"#/components/headers/{name}"}
    for name in HEADERS
    if (name.startswith("x-polychat") and name != "x-polychat-estimated") or name in ("x-accel-buffering", *LIMIT_HEADERS)
}
"""Headers that answers of chats have in addition to the usual ones."""
COUNT_HEADERS = {"x-polychat-estimated": {"$ref": "#/components/headers/x-polychat-estimated"}}


def _setting(name: str, header: str) -> Schema:
    """A header by which a request sets a setting for itself."""
    key = keys_of(GatewaySettings)[name]
    return {"name": header, "in": "header", "required": False, "schema": word(*choices_of(key.type), about=meaning(key))}


_TAGS, _PRIORITY = TAGS.decode(), preferences.PRIORITY.decode()
PARAMETERS: Schema = {
    **{header.decode(): _setting(name, header.decode()) for name, header in preferences.HEADERS.items()},
    _TAGS: {
        **{"name": _TAGS, "in": "header", "required": False},
        "schema": text(
            "Tags that the conditions of a route's targets check, such as `region=eu, team=search`.", maxLength=1024
        ),
    },
    "idempotency-key": {
        **{"name": "Idempotency-Key", "in": "header", "required": False},
        "schema": text(
            "A new UUID for each new request: one that is sent again gets the same response.",
            pattern="^[!#-~]([ !#-~]{0,253}[!#-~])?$",
        ),
    },
    _PRIORITY: {
        **{"name": _PRIORITY, "in": "header", "required": False},
        "schema": word(
            *preferences.PRIORITIES,
            about="The priority in a target's queue; it can only lower the priority of the key.",
        ),
    },
}
CHAT_PARAMETERS = tuple({"$ref": f"#/components/parameters/{name}"} for name in PARAMETERS)
"""Headers that requests of chats may have."""
