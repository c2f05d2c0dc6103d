"""The gateway's chat sites: which requests are admitted, how many at a time, and what is recorded of each.

Their protocols have neither keys nor limits, so both are checked here, for the gateway and for ``polychat sites``.
"""

from __future__ import annotations

import asyncio
import itertools
from time import monotonic
from typing import Any, NamedTuple, Protocol

from ...config import Config
from ...config.settings import Limits
from ...http.server.asgi import Receive, Scope, Send, respond
from ..observe.logs import Log
from ..observe.record import Record
from ..responder import marking_final
from ..sites import Sites
from .bodies import Bodies, BodyMemoryFull, Share
from .keys import Keys
from .origins import OriginPolicy

PLAIN = [(b"content-type", b"text/plain; charset=utf-8")]


class AdmissionRules(Protocol):
    """Which requests are admitted, and how many at a time."""

    @property
    def keys(self) -> Keys: ...
    @property
    def origins(self) -> OriginPolicy: ...
    @property
    def limits(self) -> Limits: ...


class FixedRules(NamedTuple):
    """Rules that do not change."""

    keys: Keys
    origins: OriginPolicy
    limits: Limits


class Host(Protocol):
    """The server of the sites. ``running`` counts current requests; ``ended`` gets the record of each."""

    running: int
    draining: bool
    bodies: Bodies

    @property
    def runtime(self) -> AdmissionRules: ...
    def next_id(self) -> str: ...
    @property
    def requires_key(self) -> bool: ...
    def is_limited(self, key: str) -> bool: ...
    def ended(self, record: Record) -> None: ...


class Admission:
    """The sites, protected by keys, origins and limits. The key is in the header ``x-api-key``, separate from a site's own."""

    def __init__(self, host: Host, app: Sites) -> None:
        self._host, self._app = host, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = self._host
        record = Record(host.next_id(), "sites", scope["method"], scope["path"], monotonic())

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                record.first = monotonic()
            await send(message)

        share = Share(host.bodies, host.runtime.limits.body_total)

        async def received() -> Any:
            message = await receive()
            share.take(len(message.get("body", b"")))
            return message

        host.running += 1
        try:
            await self._answer(scope, received, sent, record)
        finally:
            share.release()
            record.over = monotonic()
            host.ended(record)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, record: Record) -> None:
        """Answer or refuse; ``receive`` may raise ``BodyMemoryFull``."""
        refused = self._refused(scope, record)
        try:
            if refused is None:
                await self._app(scope, receive, send)
        except BodyMemoryFull as error:
            refused = 503, str(error), [(b"retry-after", b"1"), (b"connection", b"close")]
        if refused is not None:
            status, record.error, headers = refused
            await respond(send, status, [*PLAIN, *headers], f"{record.error}\n".encode())

    def _refused(self, scope: Scope, record: Record) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        """Status, message and headers of a refusal; ``None`` if the request is admitted."""
        runtime, headers = self._host.runtime, dict(scope["headers"])
        if self._host.requires_key:  # one of the configuration: what the sites answer is counted for nobody
            record.key = runtime.keys.name_of(headers, scope["query_string"])
            if not record.key:
                return 401, "missing or unknown API key: send a valid one in x-api-key", []
            if self._host.is_limited(record.key):
                return 403, f"the key {record.key} has limits, which the chat sites do not count: use another endpoint", []
        if (wrong := runtime.origins.wrong(headers)) is not None:
            return 403, wrong, []
        again = [(b"retry-after", b"1")]
        if self._host.draining:
            return 503, "stopping", [*again, (b"connection", b"close")]
        if self._host.running > runtime.limits.concurrent:
            return (
                429,
                (
                    f"the limit of {runtime.limits.concurrent:,} concurrent requests (gateway.limits.concurrent) is "
                    "reached: retry later"
                ),
                again,
            )
        return None


class Standalone:
    """The application of ``polychat sites``: the sites, with the gateway's rules without keys."""

    refused = ""
    """As in ``Application``."""

    def __init__(self, app: Sites, limits: Limits | None = None) -> None:
        self.runtime: AdmissionRules = FixedRules(Keys({}), OriginPolicy((), (), guarded=False), limits or Limits())
        self.log = Log("off", 1.0)  # events only, no line for each request
        self.requires_key = False
        self.running = 0
        self.draining = False
        self.bodies = Bodies()
        self._idle: asyncio.Event | None = None
        self._ids = itertools.count(1)
        self._admission = Admission(self, app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._admission(scope, receive, marking_final(send))

    def next_id(self) -> str:
        return f"{next(self._ids)}"

    def is_limited(self, key: str) -> bool:
        """Whether a key has limits: there are no keys."""
        return False

    def ended(self, record: Record) -> None:
        self.running -= 1
        if self._idle is not None and not self.running:
            self._idle.set()

    def reload(self, configured: Config) -> None:
        """Does nothing: the sites have no configuration."""

    def drain(self) -> None:
        self.draining = True

    async def when_idle(self) -> None:
        """Returns when no request is in progress."""
        self._idle = asyncio.Event()
        if self.running:
            await self._idle.wait()

    async def close(self) -> None:
        self.log.close()
