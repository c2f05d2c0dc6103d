"""The checks whether a client that ended its side is gone."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from polychat.http.server.reset_probe import ResetProbe
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.skipif(not hasattr(select, "poll"), reason="without poll nothing is probed")


class Calls:
    """A loop that runs what it is given when ``run`` is called, and notes the delays."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._next: Callable[[], object] | None = None

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> SimpleNamespace:
        self.delays.append(delay)
        self._next = lambda: callback(*arguments)
        return SimpleNamespace(cancel=lambda: None)

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> SimpleNamespace:
        return self.call_later(0, callback, *arguments)

    def run(self) -> None:
        while (call := self._next) is not None:
            self._next = None
            call()


class Client:
    """A connection whose client has ended its side, and which was probed."""

    def __init__(self, end: Callable[[socket.socket], None]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.create_connection(listening.getsockname())
            self.accepted, _ = listening.accept()
        end(self.client)
        self.aborted, self.loop = False, Calls()

    def abort(self) -> None:
        self.aborted = True

    def probe(self) -> None:
        transport = SimpleNamespace(get_extra_info=lambda _: self.accepted, is_closing=lambda: self.aborted, abort=self.abort)
        ResetProbe(self.loop, transport)  # type: ignore[arg-type]  # what it uses of both
        self.loop.run()


@pytest.fixture
def connection(request: pytest.FixtureRequest) -> Iterator[Client]:
    connection = Client(request.param)
    yield connection
    connection.client.close()
    connection.accepted.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_closed(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("connection", [reset], indirect=True)
def test_a_client_that_is_gone_already_is_noticed_at_once(connection: Client) -> None:
    """No timer is waited for, whose first step is a millisecond or two."""
    poll = select.poll()
    poll.register(connection.accepted.fileno(), 0)
    assert poll.poll(PATIENCE * 1000)
    connection.probe()
    assert (connection.aborted, connection.loop.delays) == (True, [0])


@pytest.mark.parametrize("connection", [half_closed], indirect=True)
def test_a_client_that_is_there_is_probed_ever_more_seldom(connection: Client) -> None:
    """At once, then after 1, 2, 4, … ms, for about four seconds: a reset is noticed within twice the time it takes to come."""
    connection.probe()
    assert (connection.aborted, connection.loop.delays) == (False, [0, *(0.001 * 2**number for number in range(12))])
