"""The gateway as an ASGI application: every dialect in front of every backend."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..config import Config
from ..errors import BadInput, PolychatError
from ..http.pool.pool import pool
from ..http.server.asgi import Receive, Scope, Send, lifespan
from ..http.server.cycle import FastPath
from ..http.server.known_head import IDENTIFYING
from ..routing import Health
from ..state.responses import ResponseStore
from .admission.bodies import Bodies
from .admission.guards import Guards, guards_of
from .admission.idempotency import IDEMPOTENCY_KEY, RepeatedRequests
from .admission.running import RunningRequests
from .chat.fast_path import ChatFastPath, IdentifiedFastPath
from .chat.run import Chats
from .context import RequestContext
from .endpoint import answer
from .observe.in_progress import SHARED, InProgress, running
from .observe.logs import Log
from .observe.metrics import Metrics
from .observe.paid_attempts import PaidAttempt
from .observe.recent import RecentRequests
from .observe.record import Observer, Record, UsualRequest
from .observe.route_states import RouteStates, route_states
from .observe.setup import SetupEvents
from .observe.shadows import TargetResult
from .observe.usual_requests import UsualRequests
from .paths import ENDPOINTS, endpoint_at, usual
from .runtime import Runtime
from .service import Service
from .tasks import BackgroundTasks

if TYPE_CHECKING:
    from .admission.accounting import Accounting
    from .admission.accounts import Account
    from .admission.people_keys import PeopleKeys
    from .admission.signed_accounts import SignedAccounts
    from .kept_texts import KeptTexts
    from .limit_reports import LimitReports
    from .observe.usage import UsageLog
    from .shared_rests import SharedRests

_REPORTING = 2.0
"""Seconds for reports to be sent at the end."""
_HEADS = 256
"""Maximum number of heads that are kept prepared: clients may send any number."""
_NOT_COMMON = IDENTIFYING | {b"content-length"}
"""Headers that may differ between requests with the same prepared head."""


class Gateway:
    """Serves ``configured`` until it is closed; for one event loop. ``shared`` is the folder for the metrics of all workers;
    ``guards`` returns the guards of a configuration, at the start and at each reload.

    Raises ``PolychatError`` for a configuration that cannot be served.
    """

    def __init__(
        self,
        configured: Config,
        *,
        shared: Path | None = None,
        guards: Callable[[Runtime, Service], Guards] = guards_of,
    ) -> None:
        self._guards_of = guards
        self.health = Health()
        self.runtime = Runtime(configured, self.health)
        self.responses = ResponseStore()
        self._repeated = RepeatedRequests()
        self.bodies = Bodies()
        self.shadows = BackgroundTasks()
        self.of_people = RunningRequests()
        self.running = 0
        """How many requests are in progress."""
        self.in_progress: InProgress | None = None
        """Their records; ``None`` if there is no admin key."""
        self.draining = False
        self.refused = ""
        """Why the configuration file was not taken over at the last start or reload; empty where it was."""
        self._idle: asyncio.Event | None = None
        self._ids = f"req_{secrets.token_hex(6)}", itertools.count(1)
        self.metrics = Metrics(
            lambda: self.running,
            shared,
            self._states,
            self.stores_away,
            lambda: bool(self.refused),
            lambda: running(self.in_progress or {}, SHARED),
        )
        self.log = Log(configured.gateway.log, configured.gateway.log_sample)
        self._news = SetupEvents(self.log.event)
        self._telemetry = self._tracing(configured)
        self.is_traced = self._telemetry is not None
        self.recent: RecentRequests | None = None
        """``None`` if there is no admin key."""
        self.usage = self._keeping(configured)
        """``None`` without ``[gateway.state]``."""
        self.accounting: Accounting | None = None
        """``None`` if no key has limits, and there is no database."""
        self.people: PeopleKeys | None = None
        self._reports: LimitReports | None = None
        """``None`` as ``accounting``."""
        self._keep_keys(configured)
        self._shared_rests = self._sharing_rests()
        self.texts = self._keeping_texts(configured)
        self._usual_observers: tuple[Observer, ...] = (self.log, self.metrics)
        """Those that take usual requests without records."""
        self._usual_requests = UsualRequests((self.log, self.metrics), self._log_defect)
        self._observers: tuple[Observer, ...] = self._observing()
        self._heads: dict[tuple[Any, ...], ChatFastPath] = {}
        """Heads of requests that may take the fast path; all connections share them."""
        self._prepared_heads: WeakSet[SharedFastPath] = WeakSet()
        """These, and those that only connections still have."""
        self._rest: Any = None
        self._sized: Runtime | None = None
        self._app = self._built()

    # For a server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        kind = scope["type"]
        if kind == "http":
            path: str = scope["path"]
            if root := scope.get("root_path", ""):
                path = path.removeprefix(root)
            if (endpoint := ENDPOINTS.get(path)) is None:
                path = usual(path)
                endpoint = endpoint_at(path, scope)
            if self._sized is not self.runtime:
                self._size()
            if endpoint is not None:
                return answer(endpoint, RequestContext(self, endpoint.dialect, path, scope, send), receive, self._guards)
        elif kind == "lifespan":
            return lifespan(receive, send, self.close)
        response: Awaitable[None] = self._other_paths()(scope, receive, send)
        return response

    def fast_path(self, scope: Scope) -> FastPath | None:
        """The fast path for requests with this head (see ``FastPath``)."""
        path: str = scope["path"]
        endpoint = ENDPOINTS.get(path) or endpoint_at(path, scope)
        fields = scope["polychat.fields"]
        if endpoint is None or not isinstance(endpoint.answer, Chats) or IDEMPOTENCY_KEY in fields:
            return None
        headers = tuple(header for header in scope["headers"] if header[0] not in _NOT_COMMON)
        head = scope["method"], path, scope["query_string"], headers
        prepared = self._heads.get(head)
        if prepared is None:
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            common = {**scope, "headers": list(headers), "polychat.fields": dict(headers)}
            prepared = self._heads[head] = SharedFastPath(self, endpoint, path, common, self._guards_now)
            self._prepared_heads.add(prepared)
        return prepared if IDENTIFYING.isdisjoint(fields) else IdentifiedFastPath(prepared)

    def _guards_now(self) -> Guards:
        if self._sized is not self.runtime:
            self._size()
        return self._guards

    def reload(self, configured: Config) -> None:
        """Use ``configured`` for later requests. If it raises ``PolychatError``, nothing has changed."""
        before = self.runtime
        try:
            self.runtime = Runtime(configured, self.health)
            texts = self._keeping_texts(configured)
            self.accounting = self._counting(configured)
            self._app = self._built()
        except PolychatError:
            self.runtime = before
            raise
        self.texts = texts
        for prepared in self._prepared_heads:
            prepared.forget()
        self.health.forget(self.runtime.registry.moved(before.registry))
        self.log.change(configured.gateway.log, configured.gateway.log_sample)
        self._observers = self._observing()

    def drain(self) -> None:
        """Accept no new requests; those in progress continue."""
        self.draining = True

    async def when_idle(self) -> None:
        """Returns when no request is in progress."""
        self._idle = asyncio.Event()
        if not self.running:
            return
        await self._idle.wait()

    async def close(self) -> None:
        """Write all pending output and release everything."""
        await self.shadows.close()
        if self.texts is not None:
            await self.texts.close()
        if self._telemetry is not None:
            await asyncio.to_thread(self._telemetry.shutdown)
        if self._shared_rests is not None:
            await self._shared_rests.close()
        if self._reports is not None:
            await self._reports.close(_REPORTING)
        if self.accounting is not None:
            await asyncio.to_thread(self.accounting.close)
        if self.usage is not None:
            await asyncio.to_thread(self.usage.close)
        self.metrics.close()
        self.log.close()

    # For a request

    def next_id(self) -> str:
        """A new unique id for a request."""
        prefix, counted = self._ids
        return f"{prefix}{next(counted):x}"

    def ended(self, record: Record) -> None:
        """See ``Service``: notify all observers."""
        self.running -= 1
        if self.in_progress is not None:
            self.in_progress.pop(record, None)  # one that began before a reload is not in it
        for observer in self._observers:
            try:
                observer(record)
            except Exception as error:  # noqa: BLE001  # the others get it, and the request is counted as over, all the same
                self._log_defect(error, record.request_id)
        if record.failures:
            self._news(record)
        if self._idle is not None and not self.running:
            self._idle.set()

    def ended_usually(self, request: UsualRequest) -> None:
        """See ``Service``."""
        if self._observers is not self._usual_observers:
            self.ended(request[0].record(request))
            return
        self.running -= 1
        self._usual_requests.add(request)
        if self._idle is not None and not self.running:
            self._idle.set()

    @property
    def requires_key(self) -> bool:
        """Whether requests need a key."""
        return self.runtime.guarded or (self.people is not None and self.people.has_keys)

    def is_limited(self, key: str) -> bool:
        """Whether requests with this key are counted."""
        return self.account(key) is not None

    @property
    def signed(self) -> SignedAccounts | None:
        """The accounts of signed keys; ``None`` if none are accepted."""
        return None if self.accounting is None else self.accounting.signed

    def account(self, key: str) -> Account | None:
        """What requests with this key may use; ``None`` for one without limits."""
        return None if self.accounting is None else self.accounting.account(key)

    def stores_away(self) -> dict[str, bool]:
        """Of each store of shared limits, whether it cannot be reached now."""
        return {} if self.accounting is None else self.accounting.away()

    def shadowed(self, answer: TargetResult, shadow: TargetResult, paid: PaidAttempt) -> None:
        """A mirrored request is over."""
        record = paid.record
        self.metrics.shadowed(record.route, answer, shadow)
        if record.meter is not None:
            record.meter.add(paid.tokens, paid.cost or 0.0)
        if self.usage is not None:
            self.usage.paid(paid)

    def bug(self, error: Exception, record: Record) -> None:
        """A defect of the gateway, for the log."""
        record.error = f"{type(error).__name__}: internal error"
        record.kind = None  # no others are like this one
        self._log_defect(error, record.request_id)

    def _log_defect(self, error: Exception, request_id: str | None = None) -> None:
        lines = "".join(traceback.format_exception(error))
        self.log.event("internal error; please report it", request_id=request_id, trace=lines)

    def _states(self) -> RouteStates:
        return route_states(self.runtime.configured.routes, self.health, self.runtime.router.clock())

    # Construction

    def _observing(self) -> tuple[Observer, ...]:
        more = () if self._telemetry is None else (self._telemetry,)
        if not (admin := self.runtime.gateway.admin).keys:
            self.recent = self.in_progress = None
        elif self.recent is None:
            self.recent, self.in_progress = RecentRequests(admin.requests), {}
        else:
            self.recent.resized(admin.requests)
        recent = () if self.recent is None else (self.recent,)
        counted = () if self.accounting is None else (self.accounting.settle,)
        usage = () if self.usage is None else (self.usage,)
        if not (counted or more or recent or usage):
            return self._usual_observers
        return (*counted, self.log, self.metrics, *more, *recent, *usage)

    def _keep_keys(self, configured: Config) -> None:
        self.accounting = self._counting(configured)
        self.people = None if self.accounting is None else self.accounting.people

    def _counting(self, configured: Config) -> Accounting | None:
        """What is counted from now on, going on from what was counted so far."""
        usage, gateway = self.usage, configured.gateway
        if usage is None and self.accounting is None and not gateway.key_settings and gateway.signed_keys is None:
            return None
        from .admission.accounting import accounting  # a twentieth of the time that a gateway without limits takes to start

        stores = () if usage is None else (usage.store, usage.shared, usage.tell)
        counted = accounting(configured, self.accounting, *stores)
        if counted is not None and self._reports is None:
            self._reports = self._reporting()
            counted.soft_limits.report = self._reports.add
        return counted

    def _reporting(self) -> LimitReports:
        from .limit_reports import LimitReports
        from .webhook import WebhookSender

        webhook = WebhookSender(
            lambda: self.runtime.gateway.webhook, self.log.event, lambda outcome: self.metrics.count(f"webhook_{outcome}")
        )
        store = None if self.usage is None else self.usage.store
        return LimitReports(store, self.log.event, webhook, lambda: self.metrics.count("limit_warnings"))

    def _sharing_rests(self) -> SharedRests | None:
        if self.usage is None or self.usage.shared is None:
            return None
        from .shared_rests import SharedRests  # only for several machines

        def domain_of(target: str) -> str:
            return self.runtime.registry.find(target.partition("/")[0]).quota_domain()

        return SharedRests(self.usage.shared, self.health, domain_of, self.runtime.router.clock)

    def _keeping(self, configured: Config) -> UsageLog | None:
        if configured.gateway.state is None:
            return None
        from .observe.usage import UsageLog  # SQLAlchemy takes as long to load as all the rest

        return UsageLog(configured.gateway.state, self.log.event, lambda: self.runtime.configured.prices)

    def _keeping_texts(self, configured: Config) -> KeptTexts | None:
        """Raises ``PolychatError``."""
        state = configured.gateway.state
        if state is None or not state.encryption_keys:
            keeping = [f"gateway.key_settings.{name}" for name, key in configured.gateway.key_settings.items() if key.keep_text]
            if keeping or (state is not None and state.keep_text):
                message = (
                    f"{(keeping or ['gateway.state'])[0]}.keep_text requires gateway.state.encryption_keys: texts are encrypted"
                )
                raise BadInput(message, field="gateway.state.encryption_keys")
            return None
        if self.usage is None:  # the table is new in a reload: a database is opened at the start
            return None
        from .kept_texts import KeptTexts, cipher_of  # only where texts are kept

        return KeptTexts(self.usage.store, cipher_of(state), self.log.event)

    def _tracing(self, configured: Config) -> Any:
        if not configured.gateway.telemetry:
            return None
        from .observe.otel import telemetry  # the extra `otel`

        return telemetry()

    def _built(self) -> Any:
        self._rest = None
        self._guards: Guards = self._guards_of(self.runtime, self)
        if self.runtime.gateway.idempotency.replies:
            self._guards = self._guards._replace(repeated=self._repeated)
        if self.accounting is not None:
            self._guards = self._guards._replace(model=(self.accounting.guard(self.runtime),))
        cors = list(self.runtime.gateway.cors)
        if not cors:
            return self._dispatch
        from starlette.middleware.cors import CORSMiddleware  # Starlette takes as long to load as all the dialects

        from .openapi.operation import HEADERS  # like Starlette, only if a configuration has origins

        exposed = ["x-request-id", "retry-after", *(name for name in HEADERS if name.startswith("x-polychat-"))]
        shared = CORSMiddleware(
            self._dispatch, allow_origins=cors, allow_methods=["*"], allow_headers=["*"], expose_headers=exposed
        )

        def app(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            # Browsers do not apply CORS to WebSockets; the middleware would hide the server from them.
            is_upgrade = scope.get("polychat.fields", {}).get(b"upgrade", b"").lower() == b"websocket"
            return self._dispatch(scope, receive, send) if is_upgrade else shared(scope, receive, send)

        return app

    def _size(self) -> None:
        """Make the running loop's pool as large as the number of requests that may be in progress, each of which may call a
        backend.
        """
        self._sized = self.runtime
        pool().allow(self.runtime.limits.concurrent)
        if self.usage is not None:
            self.usage.start()
        if self.accounting is not None:
            self.accounting.start(self.of_people.end)
        if self._shared_rests is not None:
            self._shared_rests.start()

    def _other_paths(self) -> Any:
        if self._rest is None:
            from .ops import rest

            self._rest = rest(self)
        return self._rest


class SharedFastPath(ChatFastPath):
    """The fast path of all connections whose requests have one head.

    A class of its own as its objects are referred to weakly, which those of a compiled class cannot be.
    """
