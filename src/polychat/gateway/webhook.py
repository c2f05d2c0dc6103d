"""Events for an operator's own program: each is sent to the address of ``[gateway.webhook]``, and no request waits for it.

Events wait in a queue, and one at a time is sent, in the form of Standard Webhooks (https://www.standardwebhooks.com):

header               holds
===================  =====================================================================================
webhook-id           the event's id, which stays the same when it is sent again: a receiver that has seen it ignores it
webhook-timestamp    when it was sent, in seconds since 1970
webhook-signature    ``v1,`` and the HMAC-SHA256, in base64, of ``ID.TIMESTAMP.BODY`` with the secret, if there is one

an attempt                                        next
================================================  =========================================================
a status from 200 to 299                          sent
no connection, no answer in ``_SECONDS``          again after each of ``_PAUSES``, then failed
408, 429, or a status from 500                    again after each of ``_PAUSES``, then failed
any other status; a setting that cannot be used   failed
================================================  =========================================================
"""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from secrets import token_hex
from time import time
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from msgspec import json

from ..config.settings import Webhook
from ..errors import BadInput, PolychatError
from ..http.exchange import Exchange
from ..http.request import url_of
from ..http.timeouts import Timeouts
from ..user.secrets import secret
from ..worker_threads import in_thread

Outcome: TypeAlias = Literal["sent", "failed", "dropped"]
_QUEUED = 1000
"""Events that wait; what comes when there are so many is dropped."""
_SECONDS = 10.0
_PAUSES = (1.0, 5.0, 25.0)
"""Seconds before an event is sent again."""
_SHORTEST = 24
"""Characters of a secret."""
_ENCODED = "whsec_"
"""Begins a secret whose bytes are in base64."""


class _Event(NamedTuple):
    id: str
    kind: str
    body: bytes


class _Destination(NamedTuple):
    """Where an event goes, with the secret to sign it; ``repr`` shows neither."""

    url: str
    secret: bytes | None

    def __repr__(self) -> str:
        return f"<{self.host}>"

    @property
    def host(self) -> str:
        """For errors: the rest of the URL may be secret."""
        return urlsplit(self.url).hostname or ""


class WebhookSender:
    """Sends events while its loop runs. ``settings`` gives those in force, ``None`` for no webhook.

    ``log`` reports an event that could not be sent; ``count`` gets the outcome of each.
    """

    def __init__(
        self,
        settings: Callable[[], Webhook | None],
        log: Callable[..., None],
        count: Callable[[Outcome], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time,
    ) -> None:
        self._settings, self._log, self._count = settings, log, count
        self._sleep, self._clock = sleep, clock
        self._queue: deque[_Event] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, kind: str, moment: str, data: Mapping[str, Any]) -> None:
        """Send an event, in the running loop, if there is a webhook. ``moment`` is when it happened, as text."""
        if self._settings() is None:
            return
        if len(self._queue) >= _QUEUED:
            self._count("dropped")
            return
        body = json.encode({"type": kind, "timestamp": moment, "data": data})
        self._queue.append(_Event(f"evt_{token_hex(12)}", kind, body))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self, seconds: float) -> None:
        """Wait at most ``seconds`` until all is sent; the rest is dropped."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=max(seconds, 0.0))
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        event = None
        try:
            while self._queue:
                event = self._queue.popleft()
                await self._deliver(event)
                event = None
        finally:
            for _ in range(len(self._queue) + (event is not None)):
                self._count("dropped")
            self._queue.clear()

    async def _deliver(self, event: _Event) -> None:
        for pause in (*_PAUSES, None):
            fault, is_final = await self._fault(event)
            if not fault:
                self._count("sent")
                return
            if pause is None or is_final:
                self._count("failed")
                self._log("a webhook event could not be sent", type=event.kind, id=event.id, error=fault)
                return
            await self._sleep(pause)

    async def _fault(self, event: _Event) -> tuple[str, bool]:
        """Why the event could not be sent now, empty if it was; and whether it is of no use to try again."""
        settings = self._settings()
        if settings is None:
            return "there is no [gateway.webhook] any more", True
        try:
            destination = await in_thread(destination_of, settings)  # a command may run for it
            async with asyncio.timeout(_SECONDS):
                status = await self._status(event, destination)
        except TimeoutError:
            return f"no answer within {_SECONDS:.0f} s", False
        except PolychatError as error:
            return str(error), isinstance(error, BadInput)
        if 200 <= status < 300:
            return "", False
        return f"{destination.host} responded with {status}", status < 500 and status not in (408, 429)

    async def _status(self, event: _Event, destination: _Destination) -> int:
        headers = {"content-type": "application/json", **signed(event.id, int(self._clock()), event.body, destination.secret)}
        timeouts = Timeouts(_SECONDS, _SECONDS, _SECONDS, _SECONDS)
        async with Exchange("POST", destination.url, headers, event.body, timeouts=timeouts) as response:
            return response.status


def signed(event_id: str, at: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """The headers of an event; with the signature, if there is a key."""
    headers = {"webhook-id": event_id, "webhook-timestamp": str(at)}
    if key is not None:
        digest = hmac.digest(key, f"{event_id}.{at}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{b64encode(digest).decode()}"
    return headers


def destination_of(settings: Webhook) -> _Destination:
    """The address and the secret that the settings mean. Raises ``BadInput``, or ``NotReady`` for a missing secret. Blocks."""
    field = "gateway.webhook.url"
    is_reference = not settings.url.lower().startswith("http")
    url = secret(settings.url, field) if is_reference else settings.url
    try:
        url_of(url, None)
    except BadInput:
        raise BadInput(f"{field} must be a URL that begins with https:// or http:// and names a host", field=field) from None
    return _Destination(url, None if settings.secret is None else _key_of(secret(settings.secret, "gateway.webhook.secret")))


def _key_of(text: str) -> bytes:
    field = "gateway.webhook.secret"
    if len(text) < _SHORTEST:
        raise BadInput(f"{field} has fewer than {_SHORTEST} characters: make one with `openssl rand -base64 32`", field=field)
    if not text.startswith(_ENCODED):
        return text.encode()
    try:
        return b64decode(text.removeprefix(_ENCODED), validate=True)
    except binascii.Error:
        raise BadInput(f"{field} begins with {_ENCODED}, and what follows is not base64: copy it again", field=field) from None
