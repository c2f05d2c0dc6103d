"""A stream without a task: each read of the backend's connection is passed or translated to the client in the same call.

A ``FastStream`` begins with the first piece, which ``FastChat`` has found (see ``fast_path.py``), and ends with the last one if
the reply is complete, or, where it is translated, with the failure that it reports. Anything else is continued in a task, with
the pieces that were sent and the reply as it is:

event                                                   next
======================================================  =======================================================================
a read                                                  what becomes of it is pushed to the client
the reply is complete                                   its end is sent, and the request is recorded
the client reads slowly                                 the backend's connection is paused (``RequestCycle.couple``)
another end, an error, a loss, a timeout                ``continue_in_task``
no piece for the interval of heartbeats                 ``continue_in_task``, which sends heartbeats from then on
the client leaves, the server ends                      ``continue_in_task``
the reply is complete and the client reads slowly       ``continue_in_task``, which waits for the client
======================================================  =======================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ...http.pool.push import Push
from ...http.server.cycle import CHUNK
from ..responder import MOST_OF_END, end_of

if TYPE_CHECKING:
    from ...errors import PolychatError
    from ...http.pool.connection import PoolConnection
    from ...http.server.cycle import RequestCycle
    from ...http.server.timeout_queue import TimeoutQueue
    from .beginnings import Beginning
    from .heartbeat import Ringing
    from .replies import Outcome

MAX_TRIES = 8
"""How many reads are looked at for the beginning of a reply before a task waits for it."""


class BegunChat(Protocol):
    """The chat whose reply a stream is."""

    def ended(self, outcome: Outcome) -> None:
        """Record how the reply ended."""

    def over(self, error: PolychatError | None) -> None:
        """The request is over. ``error``: what cut its stream off."""

    def broken_off(self, error: Exception) -> None:
        """A defect came up while the end of the response was sent."""

    def continue_stream(self, stream: FastStream, *, is_silent: bool) -> None:
        """A task continues the stream. ``is_silent``: a heartbeat is due."""


class FastStream(Push):
    """Created with the first piece of the reply; ``begin`` sends it."""

    __slots__ = (
        *("latest", "reply"),
        *("_chat", "_counting", "_cycle", "_ending", "_heartbeats", "_passing", "_rung", "_write"),
    )

    def __init__(
        self,
        chat: BegunChat,
        cycle: RequestCycle,
        connection: PoolConnection,
        reply: Beginning,
        heartbeats: TimeoutQueue[Ringing] | None,
        counting: Callable[[bytes], bytes] | None,
    ) -> None:
        """``counting`` gets each piece that is sent: see ``RequestMeter.reader``."""
        super().__init__(connection, reply.response.redaction)
        self.reply, self.latest = reply, reply.first[-MOST_OF_END:]
        self._chat, self._cycle, self._heartbeats = chat, cycle, heartbeats
        self._ending = reply.ending
        passing = reply.passing()
        self._counting = counting
        self._passing = passing if counting is None else lambda data: counting(passing(data))
        self._write: Callable[[bytes], object] | None = None
        """Writes a chunk of HTTP to the client, once the head is sent; ``None`` if the response is not in chunks."""
        self._rung = b""
        """The latest piece at the last look for a heartbeat."""

    def begin(self, lines: bytes) -> None:
        """Send the head, of these ``header_lines``, and the first piece."""
        cycle, reply, connection = self._cycle, self.reply, self._connection
        first, reply.first = reply.first, b""
        if self._counting is not None:
            self._counting(first)
        cycle.start(200, lines)
        if self._ending.finish is not None:
            self._complete(first)  # a short reply is complete: it is sent with its head and its end in one write
            return
        cycle.push(first)
        if cycle.chunked:
            self._write = cycle.connection.transport.write
        cycle.fast_run = self
        cycle.on_disconnect(self.continue_in_task)
        if self._heartbeats is not None:
            self._rung = self.latest
            self._heartbeats.start(self)
        connection.listener = self._changed
        self.start()
        cycle.couple(reply.response)

    def _given(self, data: bytes, chunk: bytes) -> None:
        redaction = self._redaction
        passed = data if redaction is None else redaction.feed(data)
        if not passed:
            return
        try:
            if passed := self._passing(passed):
                self.latest = passed if len(passed) >= MOST_OF_END else end_of(self.latest, passed)
                if chunk and (write := self._write) is not None:  # it comes straight from the backend: the client is there
                    write(chunk if passed is data else CHUNK % (len(passed), passed))
                else:
                    self._cycle.push(passed)
            if self._ending.finish is None:
                return
        except Exception as error:  # noqa: BLE001  # it is raised in the task, where the client is told, and defects logged
            self.error = error
        self._ended()

    def _changed(self) -> None:
        if self.over:
            if self.error is not None or self._cycle.connection.write_paused or not self.reply.can_end():
                self.continue_in_task()
            else:
                self._let_go()
                self._cycle.couple(None)
                self._complete(b"")
        elif not (self._connection.sink_paused or self.goes_on):
            self.continue_in_task()

    def _complete(self, first: bytes) -> None:
        """The reply is over: send its end after ``first``."""
        reply = self.reply
        try:
            rest = reply.last(first or self.latest)
            if self._counting is not None:
                self._counting(rest)
            outcome = reply.outcome
            self._chat.ended(outcome)
        except Exception as error:  # noqa: BLE001  # as in ``_given``: it is raised in the task
            self.error = error
            self._chat.continue_stream(self, is_silent=False)
            return
        try:
            self._cycle.push_last(first + rest)
        except Exception as broken:  # noqa: BLE001  # the request must still be counted as over
            self._chat.broken_off(broken)
        self._chat.over(None if outcome.finish is None else outcome.finish.error)
        reply.response.finish()

    def ring(self) -> None:
        """See ``Ringing``: it checks whether a piece was sent since the last time."""
        if self.latest is self._rung:
            self.continue_in_task(is_silent=True)
        elif self._heartbeats is not None:
            self._rung = self.latest
            self._heartbeats.start(self)

    def continue_in_task(self, *, is_silent: bool = False) -> None:
        """A task continues the stream."""
        if self._cycle.fast_run is self:
            self._let_go()
            self._chat.continue_stream(self, is_silent=is_silent)

    def _let_go(self) -> None:
        """Stop all callbacks to this object but those of the client's pace, which the task sets anew."""
        self._cycle.fast_run = None
        self._cycle.off_disconnect()
        if self._heartbeats is not None:
            self._heartbeats.stop(self)
        self._connection.listener = None
        self.stop()
