"""An endpoint, and how a request to it is answered in every case."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import NamedTuple

from ..errors import PolychatError, redact
from ..http.server.asgi import ClientLeft, Receive, TooLarge, TooSlow, body_of, received_body, with_read_limits
from ..http.server.inflating import UnknownCoding, inflated
from ..routing.policy import failure_of
from ..wire.faults import Fault, fault_of, is_misconfiguration
from .admission.bodies import BodyMemoryFull, Share
from .admission.guards import Guards
from .admission.idempotency import IDEMPOTENCY_KEY
from .context import RequestContext, reason_of
from .responder import ClientDialect, Refused

_JSON = (b"application/json", b"application/x-www-form-urlencoded")  # the latter is what curl -d sends with any body


class Endpoint(NamedTuple):
    """An endpoint: ``answer`` sends through the context's responder; an exception is sent as the dialect's error."""

    dialect: ClientDialect
    method: str
    answer: Callable[[RequestContext], Awaitable[None]]
    upgrade: Callable[[RequestContext], Awaitable[None]] | None = None
    """Switches to WebSocket, if the endpoint supports that."""


async def answer(
    endpoint: Endpoint, context: RequestContext, receive: Receive, guards: Guards, share: Share | None = None
) -> None:
    """Answer one request. ``share``: of a request that was admitted and counted already; its body is in the context."""
    service, responder = context.service, context.responder
    is_new = share is None
    _begin(context, is_new=is_new)
    context.guards, context.model_guards = guards.chat, guards.model
    try:
        if endpoint.method == "POST" and share is None:
            share = Share(service.bodies, context.runtime.limits.body_total)
        try:
            reply = endpoint.answer
            if is_new:
                for guard in guards.head:
                    if (waiting := guard.before(context)) is not None:
                        await waiting
                reply = handler_of(endpoint, context)
                if share is not None and not _took_body(context, receive, share):
                    await _read(context, receive, share)
            _listen(context, receive)
            if is_new and guards.repeated is not None and IDEMPOTENCY_KEY in context.headers and context.method == "POST":
                await guards.repeated.answer(context, reply)
            else:
                await reply(context)
        except Exception as error:  # noqa: BLE001  # each becomes the dialect's error
            await _refuse(context, error)
    except asyncio.CancelledError:
        if not responder.absorbs_cancellation():
            raise
        await _stopped(context)
    finally:
        responder.close()
        if share is not None:
            share.release()
        _over(context, guards)


def failing(endpoint: Endpoint, error: Exception) -> Endpoint:
    """The endpoint for a request that has met this defect already."""

    async def fail(context: RequestContext) -> None:
        raise error

    return endpoint._replace(answer=fail)


def _begin(context: RequestContext, *, is_new: bool) -> None:
    """From here on a new request is in progress."""
    service = context.service
    service.running += is_new
    if is_new and service.in_progress is not None:
        service.in_progress[context.record] = None


def _listen(context: RequestContext, receive: Receive) -> None:
    """From here on the request ends with its client, and with its key if that is revoked so."""
    context.responder.listen(receive, context.runtime.drain_seconds)
    if context.record.ownership is not None:
        context.service.of_people.add(context.record.key, context.responder)


async def _stopped(context: RequestContext) -> None:
    """The client left, or the gateway ended the request: one whose response had not begun is refused then."""
    record, error = context.record, context.responder.stopped
    if error is not None:
        record.verdict = record.verdict or "cancelled"
        await context.responder.refuse(fault_of(error))


def _over(context: RequestContext, guards: Guards) -> None:
    """Notify each guard and the service that the request is over."""
    record = context.record
    if context.responder.left and record.verdict is None:
        record.verdict = "cancelled"
    if record.ownership is not None:
        context.service.of_people.discard(record.key, context.responder)
    record.over = monotonic()
    if guards.over:
        _after(guards, context)
    context.service.ended(record)


def _after(guards: Guards, context: RequestContext) -> None:
    """Notify each guard; an exception is logged as a defect, and the other guards are notified all the same."""
    for guard in guards.over:
        try:
            guard.after(context)
        except Exception as error:  # noqa: BLE001  # the answer is out, and the request must still be counted as over
            context.service.bug(error, context.record)


async def _refuse(context: RequestContext, error: Exception) -> None:
    """Send the error that ended a request."""
    responder = context.responder
    closing = [(b"connection", b"close")]
    match error:
        case Refused():
            await responder.refuse(error.fault, error.headers)
        case TooLarge():
            await responder.refuse(Fault(str(error), "too_large", 413), closing)
        case BodyMemoryFull():
            await responder.refuse(Fault(str(error), "overloaded", 503, retry_after=1.0), closing)
        case UnknownCoding():
            await responder.refuse(Fault(str(error), "invalid_request", 415), [(b"accept-encoding", error.known.encode())])
        case TooSlow():
            await responder.refuse(Fault(str(error), "timeout", 408), closing)
        case ClientLeft():
            responder.left = True
        case PolychatError():
            _note(context, error)
            await responder.refuse(fault_of(error))
        case OSError(errno=errno.EMFILE | errno.ENFILE) if not responder.started:  # without a backend: those are errors of ours
            context.record.error = "the process has reached its limit of open files: raise it (ulimit -n)"
            fault = Fault("the gateway has reached its limit of open files: retry later", "overloaded", 503, retry_after=1.0)
            await responder.refuse(fault)
        case _:  # a defect of ours, reported as 500
            await _failed(context, error)


def _note(context: RequestContext, error: PolychatError) -> None:
    record = context.record
    record.error = record.error or reason_of(error)
    if not record.failures and is_misconfiguration(error):  # before any target was called
        record.failures = (failure_of(record.model, error),)


async def _failed(context: RequestContext, error: Exception) -> None:
    """A defect of the gateway: the client gets a general error, the log the details."""
    record, responder = context.record, context.responder
    context.service.bug(error, record)
    if record.called_at is not None and (responder.streams or not responder.started):
        record.verdict = "failed"
    if responder.started:
        responder.break_off(error)
        return
    fault = Fault("internal error; see the gateway's log for this request id", "server", 500)
    await responder.refuse(fault)


def _took_body(context: RequestContext, receive: Receive, share: Share) -> bool:
    """Take the body if it has arrived completely and is uncompressed; returns whether it was. Raises ``BodyMemoryFull`` and
    ``TooLarge``.
    """
    if b"content-encoding" in context.headers:
        return False
    body = received_body(receive)
    if body is None:
        return False
    share.take(len(body))
    limit = context.runtime.limits.body
    if len(body) > limit:
        raise TooLarge(limit)
    context.body = body
    return True


async def _read(context: RequestContext, receive: Receive, share: Share) -> None:
    """Receive the body, decompressed if it is compressed. Raises what ``body_of`` and ``inflated`` raise."""
    limits = context.runtime.limits
    waiting = with_read_limits(receive, limits.body_seconds, limits.upload_seconds)
    context.body = await body_of(waiting, limits.body, share.take)
    if (coding := context.headers.get(b"content-encoding")) is not None:
        context.body = await inflated(context.body, coding.decode("latin-1"), limits.body)
        share.take(len(context.body) - share.size)


def handler_of(endpoint: Endpoint, context: RequestContext) -> Callable[[RequestContext], Awaitable[None]]:
    """The handler of the request. Raises ``Refused`` for a wrong method or content type."""
    headers = context.headers
    if context.method != endpoint.method:
        if headers.get(b"upgrade", b"").lower() == b"websocket":
            if endpoint.upgrade is not None and context.method == "GET" and context.runtime.gateway.websocket.enabled:
                return endpoint.upgrade
            raise no_websocket(context, f"use {endpoint.method}")
        message = f"{context.method} is not allowed for {redact(context.path, 80)}: use {endpoint.method}"
        raise Refused(Fault(message, "invalid_request", 405), [(b"allow", endpoint.method.encode())])
    kind = headers.get(b"content-type")
    if kind is not None and kind != b"application/json" and endpoint.method == "POST" and not _is_json(kind):
        raise Refused(Fault(f"the body is {redact(kind, 60)}; send application/json", "invalid_request", 415))
    return endpoint.answer


def no_websocket(context: RequestContext, hint: str) -> Refused:
    """The refusal of an upgrade with 426, after which clients use HTTP at once."""
    message = f"{redact(context.path, 80)} does not support WebSockets: {hint}"
    return Refused(Fault(message, "invalid_request", 426), [(b"upgrade", b"HTTP/1.1")])


def _is_json(kind: bytes) -> bool:
    named = kind.partition(b";")[0].strip().lower()
    return named in _JSON or named.endswith(b"+json")
