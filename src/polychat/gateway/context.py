"""One request under way: who comes, whether they may, what they are told, and what is written down of it."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Awaitable, Callable, Mapping
from math import ceil
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from ..errors import PolychatError, shown
from ..http.server.asgi import Headers, Leaving, Left, Receive, Scope, Send, TooLarge, TooSlow, body_of, patient, respond
from ..http.server.inflating import UnknownCoding, inflated
from ..routing.router import failure_of
from ..wire.faults import Fault, fault_of, helps_to_retry, is_of_the_setup
from .admission.bodies import NoRoom, Share
from .dialects.dialect import Dialect
from .observe.record import Record

if TYPE_CHECKING:
    from ..routing import Target
    from ..routing.router import Attempts
    from .app import Gateway
    from .runtime import Runtime

_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_JSON = (b"application/json", b"application/x-www-form-urlencoded")  # the latter is what curl -d says of any body
_NO_STORE = (b"cache-control", b"no-store")


class Endpoint(NamedTuple):
    """What is at a path."""

    dialect: Dialect
    method: str
    answer: Callable[[RequestContext], Awaitable[None]]


class RequestContext:
    """Made for one request. ``answer`` of its endpoint sends through it; whatever that raises is told in its dialect."""

    __slots__ = (
        "_draining",
        "_leaving",
        "_receive",
        "_scope",
        "_send",
        "_share",
        "_task",
        "body",
        "dialect",
        "gateway",
        "headers",
        "latest",
        "left",
        "more",
        "path",
        "record",
        "runtime",
        "started",
    )

    def __init__(self, gateway: Gateway, dialect: Dialect, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.gateway = gateway
        self.runtime: Runtime = gateway.runtime
        """What was in force when it came; a configuration read since is for later requests."""
        self.dialect = dialect
        self.path = path
        self._scope, self._receive, self._send = scope, receive, send
        self.headers: Mapping[bytes, bytes] = scope.get("polychat.fields") or dict(scope["headers"])
        inbound = self.headers.get(b"x-request-id")
        name = inbound.decode() if inbound is not None and _SANE_ID.fullmatch(inbound) else gateway.next_id()
        self.record = Record(name, dialect.name, scope["method"], path, monotonic())
        if gateway.is_traced:
            self.record.traceparent = self.headers.get(b"traceparent", b"").decode("latin-1")
        self.started = self.left = False
        self._task: asyncio.Task[None] | None = None
        self._leaving: Leaving | None = None
        self._draining: asyncio.TimerHandle | None = None
        self._share: Share | None = None
        self.body = b""
        self.latest = b""
        """The piece that was sent last."""
        self.more: Headers = []
        """Headers of the answer beside the usual."""

    async def run(self, endpoint: Endpoint) -> None:
        """Answer it, whatever happens."""
        gateway, record = self.gateway, self.record
        gateway.running += 1
        try:
            await self._answered(endpoint)
        except asyncio.CancelledError:
            if not self.left or self._task is None:
                raise
            self._task.uncancel()
        finally:
            self.stop_listening()
            if self._share is not None:
                self._share.release()
            if self._draining is not None:
                self._draining.cancel()
            if self.left and record.verdict is None:
                record.verdict = "cancelled"
            record.over = monotonic()
            gateway.ended(record)

    async def _answered(self, endpoint: Endpoint) -> None:
        try:
            self._admit(endpoint)
            limits = self.runtime.limits
            if endpoint.method == "POST":
                self._share = share = Share(self.gateway.bodies, limits.body_total)
                receive = patient(self._receive, limits.body_seconds, limits.upload_seconds)
                self.body = await body_of(receive, limits.body, share.take)
                if (coding := self.headers.get(b"content-encoding")) is not None:
                    self.body = await inflated(self.body, coding.decode("latin-1"), limits.body)
                    share.take(len(self.body) - share.size)
            self._listen()
            await endpoint.answer(self)
        except Refused as refused:
            await self.refuse(refused.fault, refused.headers)
        except TooLarge as error:
            await self.refuse(Fault(str(error), "too_large", 413), [(b"connection", b"close")])
        except NoRoom as error:
            fault = Fault(str(error), "overloaded", 503, retry_after=1.0)
            await self.refuse(fault, [(b"connection", b"close")])
        except UnknownCoding as error:
            await self.refuse(Fault(str(error), "invalid_request", 415), [(b"accept-encoding", error.known.encode())])
        except TooSlow as error:
            await self.refuse(Fault(str(error), "timeout", 408), [(b"connection", b"close")])
        except Left:
            self.left = True
        except PolychatError as error:
            self._note(error)
            await self.refuse(fault_of(error))
        except OSError as error:  # of no backend: those are errors of ours
            if error.errno not in (errno.EMFILE, errno.ENFILE) or self.started:
                await self._failed(error)
                return
            self.record.error = "the process has as many open files as it may: raise its limit (ulimit -n)"
            await self.refuse(Fault("the gateway has no room for this request: ask again", "overloaded", 503, retry_after=1.0))
        except Exception as error:  # noqa: BLE001  # ours, and told as such
            await self._failed(error)

    def _note(self, error: PolychatError) -> None:
        record = self.record
        record.error = record.error or self.reason(error)
        if not record.failures and is_of_the_setup(error):  # before any target was asked
            record.failures = (failure_of(record.model, error),)

    async def _failed(self, error: Exception) -> None:
        """A defect of ours: the client is told that much, and the log all of it."""
        self.gateway.bug(error, self.record)
        if self.started:
            raise error
        await self.refuse(Fault("the gateway failed; its log says more, under this request's id", "server", 500))

    def _admit(self, endpoint: Endpoint) -> None:
        """Raises ``Refused``."""
        gateway, runtime, headers = self.gateway, self.runtime, self.headers
        if runtime.guarded:
            self.record.key = runtime.keys.name_of(headers, self._scope["query_string"])
            if not self.record.key:
                said = "no key, or one that is not known here: send it as Authorization: Bearer …"
                raise Refused(Fault(said, "authentication", 401), [(b"www-authenticate", b"Bearer")])
        if not (runtime.guarded and b"origin" not in headers) and (wrong := runtime.origins.wrong(headers)) is not None:
            raise Refused(Fault(wrong, "permission", 403))
        if self._scope["method"] != endpoint.method:
            if headers.get(b"upgrade", b"").lower() == b"websocket":  # clients that are told so go on over HTTP at once
                said = f"there are no WebSockets at {shown(self.path, 80)}: use {endpoint.method}"
                raise Refused(Fault(said, "invalid_request", 426), [(b"upgrade", b"HTTP/1.1")])
            said = f"{self._scope['method']} is not for {shown(self.path, 80)}: use {endpoint.method}"
            raise Refused(Fault(said, "invalid_request", 405), [(b"allow", endpoint.method.encode())])
        if gateway.draining:
            said = "the gateway is about to stop: ask again, and another will answer"
            raise Refused(Fault(said, "overloaded", 503, retry_after=1.0), [(b"connection", b"close")])
        if gateway.running > runtime.limits.concurrent:
            said = f"{runtime.limits.concurrent:,} requests are being answered, which is the limit here: try again"
            raise Refused(Fault(said, "rate_limit", 429, retry_after=1.0))
        kind = headers.get(b"content-type")
        if kind is not None and kind != b"application/json" and endpoint.method == "POST" and not _is_json(kind):
            said = f"the body is {shown(kind, 60)}; send application/json"
            raise Refused(Fault(said, "invalid_request", 415))

    @property
    def repeated(self) -> int:
        """How many times the client sent this request before, as OpenAI's and Anthropic's clients tell."""
        count = self.headers.get(b"x-stainless-retry-count", b"")
        return int(count) if count.isdigit() and len(count) < 4 else 0

    def credit(self, attempts: Attempts) -> Target | None:
        """Write down who answers, or was asked last and did not, and what became of each attempt."""
        record, target = self.record, attempts.target
        record.attempts, record.failures = attempts.count, attempts.failures
        if target is not None:
            record.provider, record.served = target.label, target.model
            if attempts.answered:
                record.answered = target.name
        return target

    def reason(self, error: PolychatError) -> str:
        """What went wrong, for the log: it may name variables and files of the gateway's operator."""
        if len(error.failures) > 1:
            return "; ".join(f"{failure.target}: {failure.reason}" for failure in error.failures)
        return str(error)

    @property
    def query(self) -> str:
        query: bytes = self._scope["query_string"]
        return query.decode("latin-1")

    # What is sent

    @property
    def streams(self) -> bool:
        """Whether an answer has begun that is not over, and the client is there."""
        return self.started and not self.left and self._leaving is not None

    def stream_headers(self, content_type: str) -> Headers:
        """Of every answer that comes in pieces: none of them is to wait in a proxy's buffer."""
        said = [
            (b"x-request-id", self.record.request_id.encode()),
            (b"content-type", content_type.encode("latin-1")),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        if self.dialect.id_header:
            said.append((self.dialect.id_header, said[0][1]))
        return said

    def whole_headers(self, content_type: str) -> Headers:
        said = [
            (b"x-request-id", self.record.request_id.encode()),
            (b"content-type", content_type.encode("latin-1")),
            _NO_STORE,
        ]
        if self.dialect.id_header:
            said.append((self.dialect.id_header, said[0][1]))
        return said

    async def start(self, status: int, headers: Headers) -> None:
        """The head of an answer that comes in pieces."""
        self.started = True
        self.record.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, data: bytes) -> None:
        self.latest = data
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def beat(self, data: bytes) -> None:
        """A sign of life, which is no piece."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def last(self, data: bytes = b"") -> None:
        self.stop_listening()
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """An answer in one piece."""
        self.started = True
        self.record.status = status
        self.stop_listening()
        await respond(self._send, status, headers, body)

    async def json(self, body: bytes, status: int = 200) -> None:
        """A whole answer that is JSON and nobody's to keep."""
        await self.whole(status, [*self.whole_headers("application/json"), *self.more], body)

    async def refuse(self, fault: Fault, headers: Headers | None = None) -> None:
        """The failure in the request's dialect; nothing where an answer has begun: that one tells of its end itself."""
        record = self.record
        record.error = record.error or shown(fault.message, 400)
        if self.started or self.left:
            return
        status, body = self.dialect.refusal(fault, self)
        said = [*self.whole_headers("application/json"), *(headers or [])]
        if fault.retry_after is not None:
            said += retry_after(fault.retry_after)
        if not helps_to_retry(fault):
            said.append((b"x-should-retry", b"false"))  # OpenAI's and Anthropic's clients obey it, whatever the status
        await self.whole(status, said, body)

    # The client's leaving

    def _listen(self) -> None:
        self._task = asyncio.current_task()
        self._leaving = Leaving(self._receive, self._has_left)

    def stop_listening(self) -> None:
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            leaving.stop()

    def _has_left(self) -> None:
        if self.left or self._leaving is None:
            return  # a server may tell it twice, and late
        self.left = True
        assert self._task is not None
        if self.runtime.drain_seconds:
            # What was asked goes on to its end, unheard: for backends that bill it anyway, and for what is to be stored.
            self._draining = asyncio.get_running_loop().call_later(self.runtime.drain_seconds, self._task.cancel)
        else:
            self._task.cancel()


class Refused(Exception):  # a request is
    """Not answered by any backend, and why."""

    def __init__(self, fault: Fault, headers: Headers | None = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.headers = headers or []


def retry_after(seconds: float) -> Headers:
    """In whole seconds, as HTTP has it, and in the milliseconds that OpenAI's and Anthropic's clients look for first."""
    left = max(0.0, seconds)
    return [(b"retry-after", b"%d" % ceil(left)), (b"retry-after-ms", b"%d" % ceil(left * 1000))]


def _is_json(kind: bytes) -> bool:
    named = kind.partition(b";")[0].strip().lower()
    return named in _JSON or named.endswith(b"+json")
