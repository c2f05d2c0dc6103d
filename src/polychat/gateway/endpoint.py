"""An endpoint, and how a request to it is answered in every case."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import NamedTuple

from ..errors import PolychatError, redact
from ..http.server.asgi import Left, Receive, TooLarge, TooSlow, body_of, patient
from ..http.server.inflating import UnknownCoding, inflated
from ..routing.router import failure_of
from ..wire.faults import Fault, fault_of, is_of_the_setup
from .admission.bodies import NoRoom, Share
from .admission.guards import Guards
from .context import RequestContext, reason_of
from .responder import ClientDialect, Refused

_JSON = (b"application/json", b"application/x-www-form-urlencoded")  # the latter is what curl -d says of any body


class Endpoint(NamedTuple):
    """``answer`` sends through the context's responder; what it raises is sent as the dialect's error."""

    dialect: ClientDialect
    method: str
    answer: Callable[[RequestContext], Awaitable[None]]


async def answer(endpoint: Endpoint, context: RequestContext, receive: Receive, guards: Guards) -> None:
    """Answer one request."""
    service, record, responder = context.service, context.record, context.responder
    share: Share | None = None
    service.running += 1
    context.guards = guards.chat
    try:
        if endpoint.method == "POST":
            share = Share(service.bodies, context.runtime.limits.body_total)
        await _answered(endpoint, context, receive, share, guards)
    except asyncio.CancelledError:
        if not responder.takes_back():
            raise
    finally:
        responder.close()
        if share is not None:
            share.release()
        if responder.left and record.verdict is None:
            record.verdict = "cancelled"
        record.over = monotonic()
        if guards.over:
            _after(guards, context)
        service.ended(record)


def _after(guards: Guards, context: RequestContext) -> None:
    """Tell each guard; one that fails is a defect for the log, and no other misses its turn for it."""
    for guard in guards.over:
        try:
            guard.after(context)
        except Exception as error:  # noqa: BLE001  # the answer is out, and the request must still be counted as over
            context.service.bug(error, context.record)


async def _answered(endpoint: Endpoint, context: RequestContext, receive: Receive, share: Share | None, guards: Guards) -> None:
    responder = context.responder
    closing = [(b"connection", b"close")]
    try:
        for guard in guards.head:
            if (waiting := guard.before(context)) is not None:
                await waiting
        _check(endpoint, context)
        await _read(context, receive, share)
        responder.listen(receive, context.runtime.drain_seconds)
        await endpoint.answer(context)
    except Refused as refused:
        await responder.refuse(refused.fault, refused.headers)
    except TooLarge as error:
        await responder.refuse(Fault(str(error), "too_large", 413), closing)
    except NoRoom as error:
        await responder.refuse(Fault(str(error), "overloaded", 503, retry_after=1.0), closing)
    except UnknownCoding as error:
        await responder.refuse(Fault(str(error), "invalid_request", 415), [(b"accept-encoding", error.known.encode())])
    except TooSlow as error:
        await responder.refuse(Fault(str(error), "timeout", 408), closing)
    except Left:
        responder.left = True
    except PolychatError as error:
        _note(context, error)
        await responder.refuse(fault_of(error))
    except OSError as error:  # of no backend: those are errors of ours
        if error.errno not in (errno.EMFILE, errno.ENFILE) or responder.started:
            await _failed(context, error)
            return
        context.record.error = "the process has reached its limit of open files: raise it (ulimit -n)"
        fault = Fault("the gateway has reached its limit of open files: retry later", "overloaded", 503, retry_after=1.0)
        await responder.refuse(fault)
    except Exception as error:  # noqa: BLE001  # a defect of ours, reported as 500
        await _failed(context, error)


def _note(context: RequestContext, error: PolychatError) -> None:
    record = context.record
    record.error = record.error or reason_of(error)
    if not record.failures and is_of_the_setup(error):  # before any target was asked
        record.failures = (failure_of(record.model, error),)


async def _failed(context: RequestContext, error: Exception) -> None:
    """A defect of the gateway: the client gets a general error, the log all of it."""
    context.service.bug(error, context.record)
    if context.responder.started:
        raise error
    fault = Fault("internal error; see the gateway's log for this request id", "server", 500)
    await context.responder.refuse(fault)


async def _read(context: RequestContext, receive: Receive, share: Share | None) -> None:
    """The body, unpacked where it came packed; none where it has no share."""
    if share is None:
        return
    limits = context.runtime.limits
    waiting = patient(receive, limits.body_seconds, limits.upload_seconds)
    context.body = await body_of(waiting, limits.body, share.take)
    if (coding := context.headers.get(b"content-encoding")) is not None:
        context.body = await inflated(context.body, coding.decode("latin-1"), limits.body)
        share.take(len(context.body) - share.size)


def _check(endpoint: Endpoint, context: RequestContext) -> None:
    """Raises ``Refused`` for a wrong method or content type."""
    headers = context.headers
    if context.method != endpoint.method:
        if headers.get(b"upgrade", b"").lower() == b"websocket":  # clients that get 426 retry over HTTP at once
            message = f"{redact(context.path, 80)} does not support WebSockets: use {endpoint.method}"
            raise Refused(Fault(message, "invalid_request", 426), [(b"upgrade", b"HTTP/1.1")])
        message = f"{context.method} is not allowed for {redact(context.path, 80)}: use {endpoint.method}"
        raise Refused(Fault(message, "invalid_request", 405), [(b"allow", endpoint.method.encode())])
    kind = headers.get(b"content-type")
    if kind is not None and kind != b"application/json" and endpoint.method == "POST" and not _is_json(kind):
        raise Refused(Fault(f"the body is {redact(kind, 60)}; send application/json", "invalid_request", 415))


def _is_json(kind: bytes) -> bool:
    named = kind.partition(b";")[0].strip().lower()
    return named in _JSON or named.endswith(b"+json")
