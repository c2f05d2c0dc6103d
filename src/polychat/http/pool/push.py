"""The rest of a reply's body, pushed: each read is passed on in the call that receives it."""

from __future__ import annotations

from collections.abc import Callable

from ...redact import Redaction
from .connection import PoolConnection


class Push:
    """Gets each read of a body that is not compressed, and whose held part was taken, within the call that receives it.

    A waiter of the connection, or its ``listener``, is woken when it is over, and when the body is.
    """

    __slots__ = ("_connection", "_redaction", "error", "over")

    def __init__(self, connection: PoolConnection, redaction: Redaction | None) -> None:
        self._connection, self._redaction = connection, redaction
        self.error: Exception | None = None
        """The exception that ended it."""
        self.over = False
        """Whether no more is accepted."""

    @property
    def goes_on(self) -> bool:
        """Whether pushing has begun, and the connection may receive more."""
        connection = self._connection
        return connection.sink is not None and not connection.done and connection.error is None

    def start(self) -> None:
        """Push from here on."""
        connection = self._connection
        connection.sink = self._given
        if not connection.sink_paused:
            connection.timer.flow(connection.loop.time())

    def stop(self) -> None:
        """Push no more."""
        connection = self._connection
        if connection.sink is not None:
            connection.sink = None
            connection.timer.stop()

    def _given(self, data: bytes, chunk: bytes) -> None:
        """One read, as ``PoolConnection.sink`` gets it. It must not raise."""
        raise NotImplementedError

    def _ended(self) -> None:
        """No more is accepted."""
        self.over = True
        self.stop()
        self._connection.wake()


class SinkPush(Push):
    """Passes each read to a sink, without credentials, until the sink returns true or raises."""

    __slots__ = ("_sink",)

    def __init__(self, connection: PoolConnection, sink: Callable[[bytes], bool], redaction: Redaction | None) -> None:
        super().__init__(connection, redaction)
        self._sink = sink

    def _given(self, data: bytes, chunk: bytes) -> None:
        redaction = self._redaction
        if redaction is not None and not (data := redaction.feed(data)):
            return
        try:
            if not self._sink(data):
                return
        except Exception as error:  # noqa: BLE001  # it is raised where the pipe is awaited
            self.error = error
        self._ended()
