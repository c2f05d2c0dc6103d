"""A stream's request that is sent at once, and the beginning of its reply, read as it lies on the connection.

``direct.py`` tells when that is done. A usual reply has the status 200, is not compressed, and does not begin with an error.
Any other is left on the connection, unread, for ``Pool.send``, ``VendorReply`` and the router, which judge it as if they had
sent the request. Most short replies come whole in one read: then no other object is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..backends.relay import rate_limits_on
from ..backends.vendor_reply import VendorReply
from ..calls.info import CallInfo
from ..calls.plain_conversation import PlainPrompt
from ..errors import PolychatError
from ..events import Event, Finish, Usage
from ..redact import Redaction
from .direct import DirectCalls, SentRequest
from .prepared import PreparedCall
from .streaming import NO_MORE, StreamedCall

if TYPE_CHECKING:
    from ..backends.ready import ReadyRequest
    from ..http.pool.connection import PoolConnection
    from ..http.pool.pool import Pool
    from ..routing import Target
    from ..routing.constant import ConstantOutcome
    from ..routing.straight import StraightAttempt
    from ..types import ChatRequest
    from .routed import RoutedCall
    from .targets import Targets


class DirectStream:
    """One stream of ``calls``, whose replies are streamed, with the members of ``RoutedCall`` that ``Stream`` uses."""

    __slots__ = ("_calls", "_prompt", "_routed", "call_info")
    batches = NO_MORE
    seams: list[str] = []  # noqa: RUF012  # it stays empty: only one target answers

    def __init__(self, calls: DirectCalls, prompt: PlainPrompt) -> None:
        self._calls, self._prompt = calls, prompt
        self._routed: RoutedCall | None = None
        """What the call is continued by, if not all of its reply came at once."""
        self.call_info = _NOTHING
        """What is recorded of the reply."""

    @property
    def target(self) -> Target:
        return self._calls.target

    @property
    def request(self) -> ChatRequest:
        return self._calls.prepared.request(self._prompt)[0]

    @property
    def answering(self) -> DirectStream | RoutedCall:
        """What gives the rest of the reply, once it has begun, or has failed to."""
        return self._routed or self

    async def begin(self) -> list[list[Event]]:
        """As ``RoutedCall.begin``."""
        calls = self._calls
        sent = None if self._routed is not None else calls.send(self._prompt)
        if sent is None:
            return await self._continued()
        outcome, called_at, pool, ready, connection = sent
        try:
            await connection.next_change()
            while not (connection.done or connection.holds_some or connection.error is not None):
                await connection.next_change()
            events = None
            if connection.status == 200 and connection.error is None and not connection.coding:
                events = self._read(outcome, called_at, pool, ready, connection)
        except BaseException:
            outcome.failed()
            pool.give_back(connection)
            raise
        if events is None:
            return await self._continued(calls.straight.attempt_at(outcome, called_at), pool, connection)
        return [events] if self._routed is None else await self._routed.begin()

    def _read(
        self, outcome: ConstantOutcome, called_at: float, pool: Pool, ready: ReadyRequest, connection: PoolConnection
    ) -> list[Event] | None:
        """The events of the data that are held, which are then taken from the connection; ``None`` if they are left there."""
        data, limits, redaction = connection.held, rate_limits_on(connection), None
        if (secrets := ready.request.secrets) is not None:
            redaction, limits = Redaction(secrets), secrets.headers(limits)
            data = redaction.feed(data)
        compiled = self._calls.compiled
        events = None if compiled.usual_stream is None else compiled.usual_stream(data)
        if events is None:
            reader = compiled.new_reader()
            events = reader.feed(data)
            if not reader.done:
                connection.timer.stop()
                response = ready.response_on(connection, pool)
                if not response.skip_held(redaction):
                    return None
                routed = self._calls.routed(self._prompt)
                batches = VendorReply.begun(reader, None, response, routed.call_info)
                routed.call_info.url, routed.call_info.limits = ready.base_url, limits
                routed.resume(self._calls.straight.attempt_at(outcome, called_at), begun=(batches, [events] if events else []))
                self._routed = routed
                return events
        last = events[-1]
        if type(last) is not Finish or last.error is not None:
            return None
        connection.timer.stop()
        if connection.done:
            pool.give_back(connection)
        else:  # the end of the body is still to come
            pool.linger(connection)
        outcome.answered_whole(called_at, limits)
        self.call_info = CallInfo(url=ready.base_url, limits=limits)
        return events

    async def _continued(
        self, attempt: StraightAttempt | None = None, pool: Pool | None = None, connection: PoolConnection | None = None
    ) -> list[list[Event]]:
        """As ``begin``, by a ``RoutedCall``, which continues the attempt if there is one, on ``connection``."""
        routed, sent = self._routed, SentRequest(connection)
        if routed is None:
            self._routed = routed = self._calls.routed(self._prompt)
        if attempt is not None:
            routed.resume(attempt, sent.take)
        try:
            return await routed.begin()
        finally:
            if pool is not None and (unused := sent.take()) is not None:
                pool.give_back(unused)

    def completed(self, usage: Usage | None) -> None:
        """What there was to record is recorded."""

    def end(self, error: PolychatError | None = None) -> None:
        """The reply is over, or not needed any more."""
        if self._routed is not None:
            self._routed.end(error)


_NOTHING = CallInfo()


def streaming(targets: Targets, prepared: PreparedCall, roles: tuple[str, ...] = ()) -> Callable[[Any], StreamedCall]:
    """Gives a stream's call with a prompt, or a conversation whose messages have these ``roles``, for a call that is kept."""
    compiled = prepared.compiled(roles)
    if compiled is None:
        start: Callable[[Any], StreamedCall] = partial(targets.prepared_call, prepared, None)
    else:
        start = partial(DirectStream, DirectCalls(targets, prepared, compiled, prepared.body(compiled, roles)))
    prepared.starts[roles] = start
    return start
