"""A connection that is being opened for one request, which is sent in the call that finds it open."""

from __future__ import annotations

from collections.abc import Callable

from .connection import PoolConnection
from .heads import Origin, URLParts
from .tunnel import opened


class Opening:
    """``connection``, while it is opened by a task of its own, and the request that waits for it."""

    __slots__ = ("_check", "_connection", "_request", "_task")

    def __init__(
        self, connection: PoolConnection, place: URLParts, origin: Origin, request: bytes, check: Callable[[], None]
    ) -> None:
        """``check`` is called before the request is sent: what it raises becomes the connection's ``error``."""
        self._connection, self._request, self._check = connection, request, check
        self._task = connection.loop.create_task(self._open(place, origin))

    async def _open(self, place: URLParts, origin: Origin) -> None:
        try:
            await opened(place, origin.proxy, origin.tls, self._connection)
        except Exception as error:  # noqa: BLE001  # it is raised again, where the reply is waited for
            self._connection.abort(error)

    def send(self) -> None:
        """The connection is open."""
        connection = self._connection
        try:
            self._check()
        except Exception as error:  # noqa: BLE001  # likewise
            connection.abort(error)
            return
        connection.send_opened(self._request)

    def cancel(self) -> None:
        """The connection is not needed any more."""
        self._task.cancel()
