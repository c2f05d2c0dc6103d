"""Streams whose request is sent at once, and the beginning of their replies, read as it lies on the connection.

``direct.py`` tells when that is done. A usual reply has the status 200, is not compressed, and does not begin with an error.
Any other is left on the connection, unread, for ``Pool.send``, ``VendorReply`` and the router, which judge it as if they had
sent the request. Most short replies come whole in one read: then no other object is needed.

state       event                                             next      what holds
==========  ================================================  ========  ====================================================
new         it is read: all of a usual stream is there        answered  ``_rest`` gives what was not read of ``_answer``
new         it is read: any other reply                       ordinary  ``_call`` is continued, as of any stream
answered    more is asked than texts: ``events``, ``reply``…  ordinary  at the same place; there is nothing more to come
==========  ================================================  ========  ====================================================
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from operator import length_hint
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..backends.relay import rate_limits_on
from ..backends.vendor_reply import VendorReply
from ..calls.info import CallInfo
from ..calls.plain_conversation import PlainPrompt
from ..errors import PolychatError
from ..events import Event, Finish, Text, Usage
from ..redact import Redaction
from ..values import mypyc_attr
from ..wire.assembly import AssembledReply
from .direct import DirectCalls, SentRequest
from .prepared import PreparedCall
from .reply import Reply
from .streaming import BEING_READ, NO_MORE, NOTHING, Stream, StreamedCall

if TYPE_CHECKING:
    from ..backends.ready import ReadyRequest
    from ..http.pool.connection import PoolConnection
    from ..http.pool.pool import Pool
    from ..routing import Target
    from ..routing.constant import ConstantOutcome
    from ..types import ChatRequest
    from ..wire.contract import Reader
    from .routed import RoutedCall
    from .targets import Targets


class AnsweredCall:
    """A call of ``calls`` whose reply has come whole: what there was to record is recorded. A ``StreamedCall``."""

    __slots__ = ("_calls", "_events", "_prompt", "call_info")
    batches = NO_MORE
    seams: list[str] = []  # noqa: RUF012  # it stays empty: only one target answers

    def __init__(self, calls: DirectCalls, prompt: PlainPrompt, call_info: CallInfo, events: list[Event]) -> None:
        self._calls, self._prompt, self.call_info, self._events = calls, prompt, call_info, events

    @property
    def target(self) -> Target:
        return self._calls.target

    @property
    def request(self) -> ChatRequest:
        return self._calls.prepared.request(self._prompt)[0]

    async def begin(self) -> list[list[Event]]:
        return [self._events]

    def completed(self, usage: Usage | None) -> None: ...

    def end(self, error: PolychatError | None = None) -> None: ...


@mypyc_attr(native_class=False)  # callers may refer to it weakly
class DirectStream(Stream[Any]):
    """A stream of one of ``calls``, whose replies are streamed."""

    _sent: SentRequest | None = None
    """Where the request of ``_call`` was sent, if it has not begun."""

    def __init__(self, calls: DirectCalls, prompt: PlainPrompt) -> None:
        self._calls, self._prompt = calls, prompt
        self.provider, self.model = calls.name, calls.model
        self.verdict = self.shape = self._events = None
        self._is_ordinary = False
        """Whether it has a ``_call``."""
        self._rest: Iterator[Event] | None = None
        self._answer: list[Event]
        self._url: str
        self._limits: list[tuple[bytes, bytes]]
        """Of a usual stream: its events, and what is recorded of it."""

    def __anext__(self) -> Coroutine[Any, Any, str]:
        """As of any stream."""
        return (
            Stream.__anext__(self) if self._is_ordinary else self._next()
        )  # a coroutine more would cost a chunk as much again

    async def _next(self) -> str:
        rest = self._rest
        if rest is None:
            if self.verdict is not None or self._events is not None or self._unread is BEING_READ:
                return await Stream.__anext__(self)
            self._unread = BEING_READ
            try:
                is_answered = await self._is_answered()
            finally:
                self._unread = NOTHING
            if not is_answered:
                return await Stream.__anext__(self)
            rest = self._rest
            assert rest is not None  # it is answered
        for event in rest:
            if type(event) is Text:
                return event.text
        if self.verdict is None:
            self.verdict = "complete"
        raise StopAsyncIteration

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ordinary:
            await super().__aexit__(kind, error, trace)
            return
        if self._events is not None:
            await self._events.aclose()
        if self.verdict is None:
            self.verdict = "cancelled"

    async def _begin(self) -> list[list[Event]]:
        if not self._is_ordinary and await self._is_answered():
            self._become_ordinary()  # ``begin`` gives all of it
            self._unread = NOTHING
        sent, self._sent = self._sent, None
        try:
            return await super()._begin()
        finally:
            if sent is not None and (unused := sent.take()) is not None:
                self._calls.get_pool().give_back(unused)

    async def _is_answered(self) -> bool:
        """Send the request, and wait until the reply begins: whether all of it is there. If not, there is a ``_call``."""
        calls = self._calls
        sent = calls.send(self._prompt)
        if sent is None:
            self._continue_as(self._routed())
            return False
        outcome, called_at, pool, ready, connection = sent
        try:
            await connection.next_change()
            while not (connection.done or connection.holds_some or connection.error is not None):
                await connection.next_change()
            if connection.known_reply is not None or (
                connection.status == 200 and connection.error is None and not connection.coding
            ):
                is_answered = self._read_held(outcome, called_at, pool, ready, connection)
                if is_answered is not None:
                    return is_answered
        except BaseException:
            outcome.failed()
            pool.give_back(connection)
            raise
        routed, self._sent = self._routed(), SentRequest(connection)
        routed.resume(calls.straight.attempt_at(outcome, called_at), self._sent.take)
        self._continue_as(routed)
        return False

    def _read_held(
        self, outcome: ConstantOutcome, called_at: float, pool: Pool, ready: ReadyRequest, connection: PoolConnection
    ) -> bool | None:
        """Read what is held, and take it from the connection: as ``_is_answered``; ``None`` if it is left there."""
        data, limits, redaction = connection.held, rate_limits_on(connection), None
        if (secrets := ready.request.secrets) is not None:
            redaction, limits = Redaction(secrets), secrets.headers(limits)
            data = redaction.feed(data)
        compiled, reader = self._calls.compiled, None
        events = None if compiled.usual_stream is None else compiled.usual_stream(data)
        if events is None:
            reader = compiled.new_reader()
            events = reader.feed(data)
            if not reader.done:
                return self._read_on(reader, events, redaction, limits, outcome, called_at, pool, ready, connection)
            last = events[-1]
            if type(last) is not Finish or last.error is not None:
                return None
        connection.timer.stop()
        if connection.done:
            pool.give_back(connection)
        else:  # the end of the body is still to come
            pool.linger(connection)
        outcome.answered_whole(called_at, limits)
        if reader is not None:
            self._continue_as(AnsweredCall(self._calls, self._prompt, CallInfo(url=ready.base_url, limits=limits), events))
            return False
        self._answer, self._rest, self._url, self._limits = events, iter(events), ready.base_url, limits
        return True

    def _read_on(
        self,
        reader: Reader,
        events: list[Event],
        redaction: Redaction | None,
        limits: list[tuple[bytes, bytes]],
        outcome: ConstantOutcome,
        called_at: float,
        pool: Pool,
        ready: ReadyRequest,
        connection: PoolConnection,
    ) -> bool | None:
        """As ``_read_held``, where ``reader`` gave these ``events`` and expects more."""
        connection.timer.stop()
        response = ready.response_on(connection, pool)
        if not response.skip_held(redaction):
            return None
        routed = self._routed()
        batches = VendorReply.begun(reader, None, response, routed.call_info)
        routed.call_info.url, routed.call_info.limits = ready.base_url, limits
        routed.resume(self._calls.straight.attempt_at(outcome, called_at), begun=(batches, [events] if events else []))
        self._continue_as(routed)
        return False

    def _routed(self) -> RoutedCall:
        """The call, as of any stream. Raises ``BadInput``."""
        try:
            return self._calls.routed(self._prompt)
        except PolychatError as error:
            self.verdict, error.provider = "failed", error.provider or self.provider
            self._continue_as(AnsweredCall(self._calls, self._prompt, CallInfo(), []))
            raise

    def _continue_as(self, call: StreamedCall) -> None:
        self._call, self._targets, self._is_ordinary = call, self._calls.targets, True

    # What is asked of few streams

    def _become_ordinary(self) -> None:
        """From here on it is a stream like any other, at the same place."""
        rest = self._rest
        if rest is not None:
            events, self._rest, self._batches, self._unread = self._answer, None, NO_MORE, rest
            self._continue_as(AnsweredCall(self._calls, self._prompt, CallInfo(url=self._url, limits=self._limits), events))
            super()._assembly().take_all(events[: len(events) - length_hint(rest)])
        elif not self._is_ordinary:
            self._continue_as(self._routed())

    def _assembly(self) -> AssembledReply:
        if self._rest is not None:
            self._become_ordinary()
        return super()._assembly()

    @property
    def headers(self) -> dict[str, str]:
        """As of any stream."""
        if self._rest is not None:
            self._become_ordinary()
        return super().headers

    def reply(self) -> Reply[Any]:
        """As of any stream."""
        self._become_ordinary()
        return super().reply()

    async def whole(self) -> Reply[Any]:
        """As of any stream."""
        if self._rest is not None:
            self._become_ordinary()
        return await super().whole()

    def events(self) -> AsyncIterator[list[Event]]:
        """As of any stream."""
        if self._rest is not None:
            self._become_ordinary()
        return super().events()


def streaming(targets: Targets, prepared: PreparedCall, roles: tuple[str, ...] = ()) -> Callable[[Any], Stream[Any]]:
    """Gives the stream with a prompt, or a conversation whose messages have these ``roles``, of a call that is kept."""
    compiled = prepared.compiled(roles)
    if compiled is None:
        start: Callable[[Any], Stream[Any]] = partial(_routed, targets, prepared)
    else:
        start = partial(DirectStream, DirectCalls(targets, prepared, compiled, prepared.body(compiled, roles)))
    prepared.starts[roles] = start
    return start


def _routed(targets: Targets, prepared: PreparedCall, prompt: PlainPrompt) -> Stream[Any]:
    return Stream(targets, targets.prepared_call(prepared, None, prompt))
