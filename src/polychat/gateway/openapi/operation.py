"""What an operation of a dialect is: its request, its answers, and its ways to fail, told in the dialect's own shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ...wire._json import decoded
from ...wire.faults import Fault, kind_of
from ...wire.wires import wire
from .schema import Schema, count, number, ref, text, whole, word

FAILURES = {
    400: "The request is not what it must be; the message names the field, and what to do.",
    401: "No key that is known here; or the backend refuses the gateway's own.",
    403: "The origin of its page is not allowed (`gateway.cors`), the `Host` is not this gateway's, or the backend forbids it.",
    404: "Nobody here has this model, and the message names those that come closest; or there is no such object.",
    405: "Another method is for this path: `allow` says which.",
    408: "The body stopped coming (`gateway.limits.body_seconds`).",
    413: "The body is too large (`gateway.limits.body`), here or for the backend.",
    415: "The body is not said to be `application/json`.",
    429: "The backend's limit is reached, or the gateway's own (`gateway.limits.concurrent`). See `retry-after`.",
    500: "A defect of the gateway; its log says more, under the same `x-request-id`.",
    502: "The backend failed, could not be reached, or broke off. Nothing is made up to look like an answer.",
    503: "The backend is overloaded or not set up, or the gateway is about to stop.",
    504: "One of the route's clocks ran out.",
    529: "Overloaded, as this API says it.",
}
_PHRASES = {529: "Overloaded"}


@dataclass(frozen=True)
class DialectInfo:
    """One vendor's API: how it is tagged, and how it tells of failures."""

    tag: str
    about: str
    wire: str
    error: str
    """The component that its failures are."""
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
    """The content type of its streams, where it has them."""
    stream: Schema = field(default_factory=text)
    """One event of such a stream; all of it where it is not of events."""
    parameters: tuple[Schema, ...] = ()
    headers: dict[str, Schema] = field(default_factory=dict)
    """Of a good answer, beside the usual."""
    links: dict[str, Schema] = field(default_factory=dict)
    """What a good answer leads to."""

    def described(self) -> Schema:
        """As the document has it."""
        said: Schema = {"tags": [self.dialect.tag], "operationId": self.name, "summary": self.summary}
        if self.about:
            said["description"] = self.about
        if self.parameters:
            said["parameters"] = list(self.parameters)
        if self.request is not None:
            content: Schema = {"schema": self.request}
            if self.example is not None:
                content["examples"] = {"plain": {"value": self.example}}
            said["requestBody"] = {"required": True, "content": {"application/json": content}}
        return {**said, "responses": {"200": self._good(), **failures(self.dialect, body=self.request is not None)}}

    def _good(self) -> Schema:
        content: Schema = {}
        if self.answer is not None:
            content["application/json"] = {"schema": self.answer}
        if self.streams:
            content[self.streams] = {"schema": self.stream}
        links = {"links": self.links} if self.links else {}
        named = {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-request-id", "cache-control")}
        return {"description": "The answer.", "headers": {**named, **self.headers}, "content": content, **links}


def failures(dialect: DialectInfo, *, body: bool) -> Schema:
    """The answers that are none, by status."""
    without_body = {408, 413, 415}
    statuses = [
        status for status in FAILURES if (body or status not in without_body) and status in (dialect.overloaded, *_ALWAYS)
    ]
    return {str(status): {"$ref": f"#/components/responses/{dialect.error}{status}"} for status in statuses}


_ALWAYS = tuple(status for status in FAILURES if status != 529)


def responses(operation: Operation) -> Schema:
    """The components that ``failures`` names, each with the very bytes that the gateway would write."""
    dialect, told = operation.dialect, failures(operation.dialect, body=operation.request is not None)
    return {f"{dialect.error}{status}": _failure(dialect, int(status)) for status in told}


def _failure(dialect: DialectInfo, status: int) -> Schema:
    fault = Fault(_PHRASES.get(status) or HTTPStatus(status).phrase, kind_of(status), status)
    example = decoded(wire(dialect.wire).write_fault(fault))
    headers = {"x-request-id": {"$ref": "#/components/headers/x-request-id"}}
    for name, statuses in _TOLD_WITH.items():
        if status in statuses:
            headers[name] = {"$ref": f"#/components/headers/{name}"}
    content = {"application/json": {"schema": ref(dialect.error), "example": example}}
    return {"description": FAILURES[status], "headers": headers, "content": content}


def _must(schema: Schema) -> Schema:
    return {"required": True, "schema": schema}


def _may(schema: Schema) -> Schema:
    return {"schema": schema}


_TOLD_WITH = {
    "retry-after": (429, 503, 529),
    "retry-after-ms": (429, 503, 529),
    "x-should-retry": (429, 500, 502, 503, 504, 529),
    "www-authenticate": (401,),
    "allow": (405,),
}

HEADERS: Schema = {
    "x-request-id": _must(text("The request's name in the log: yours, where you sent a sane one.")),
    "cache-control": _must(text("`no-store`; `no-cache` for a stream.")),
    "x-accel-buffering": _may(word("no", about="With a stream: no proxy is to hold it back.")),
    "x-polychat-provider": _may(text("Who answered.")),
    "x-polychat-model": _may(text("The model that was asked for there.")),
    "x-polychat-attempts": _may(whole("How often a backend was asked for this answer.", minimum=1)),
    "x-polychat-overhead-ms": _may(number("Milliseconds that were the gateway's own.", minimum=0)),
    "x-polychat-losses": _may(text("Fields of the request that did not reach the backend as they were meant.")),
    "x-polychat-cost": _may(number("US dollars, of an answer that is whole and has a known price.", minimum=0)),
    "x-polychat-estimated": _may(word("true", about="The count is a guess: the backend has none.")),
    "retry-after": _may(count("Whole seconds.")),
    "retry-after-ms": _may(count("The same in milliseconds.")),
    "x-should-retry": _may(word("false", about="The gateway has retried already.")),
    "www-authenticate": _may(text("How to send a key.")),
    "allow": _may(text("The methods there are.")),
}
CHAT_HEADERS = {
    name: {"$ref": f"#/components/headers/{name}"}
    for name in HEADERS
    if (name.startswith("x-polychat") and name != "x-polychat-estimated") or name == "x-accel-buffering"
}
