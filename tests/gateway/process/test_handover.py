"""An upgrade that refuses nobody: a new process listens on the port of the old one, which then ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from polychat.config.settings import GatewaySettings
from polychat.errors import BadInput
from polychat.http.server import handover
from polychat.http.server.handover import give_way
from polychat.http.server.listening import check, listen

from ...support.gateway_processes import Running, at_its_port, body_at, connected, one
from ...support.server_in_thread import Client

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process choose among the sockets of a port")


@pytest.fixture
def none_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the sockets of a test, which is long enough to see that nobody accepts."""
    monkeypatch.setattr(handover, "_ACCEPT_SECONDS", 0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def until(client: Client, mark: bytes) -> None:
    """Read as far as ``mark``."""
    got = b""
    while mark not in got:
        data = client.file.read1(65536)
        assert data, got
        got += data


class Load:
    """Clients that ask ``/pid`` again and again, each time by a new connection."""

    def __init__(self, port: int) -> None:
        self._port, self._over = port, threading.Event()
        self.pids: list[int] = []
        self.failures: list[Exception] = []
        self._change = threading.Condition()
        self._threads = [threading.Thread(target=self._ask) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._over.is_set() and not self.failures:
            try:
                pid = int(body_at(self._port, "/pid"))
            except Exception as error:
                self.failures.append(error)
                pid = 0
            with self._change:
                self.pids.append(pid)
                self._change.notify_all()

    def more(self, count: int) -> list[int]:
        """Who answers the next requests."""
        with self._change:
            begin = len(self.pids)
            assert self._change.wait_for(lambda: len(self.pids) >= begin + count or self.failures, 60)
            return self.pids[begin:]

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_new_process_takes_over_without_a_refused_connection(tmp_path: Path, workers: int) -> None:
    """Under load: every request is answered, a stream that runs in the old process ends whole, and so does a request on a
    connection that was open before.
    """
    file, port = tmp_path / "polychat.toml", free_port()
    file.write_text(f'[gateway]\nport = {port}\nreuse_port = true\nworkers = {workers or 1}\nlog = "off"\n')
    with at_its_port(file, workers=bool(workers)) as old:
        assert (old.settled(workers) if workers else old.listening()) == port
        load = Load(port)
        try:
            before = set(load.more(20))
            with connected(port) as stream, connected(port) as idle:
                before.add(int(idle.ask("/pid").body))  # of two workers, one may have had all of the load
                stream.send(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
                until(stream, b"begun")
                with at_its_port(file, workers=bool(workers)) as new:
                    assert (new.settled(workers) if workers else new.listening()) == port
                    old.signal(signal.SIGTERM)
                    while before & set(load.more(50)):  # of two workers, one may still get some when the other has none
                        pass
                    if not workers:  # else another worker may have the stream
                        assert idle.ask("/go").headers["connection"] == "close"
                        until(stream, b"ended")
                        assert old.wait() == 0
                        load.more(20)
                    load.end()
                    assert not load.failures
        finally:
            load.end()


@pytest.mark.parametrize("workers", [0, 2])
def test_two_may_end_while_a_third_goes_on(tmp_path: Path, workers: int) -> None:
    """Under load: of three on the port the two older end at the same time, and every request is answered, in the end by the
    third; it ends for a fourth.
    """
    file, port = tmp_path / "polychat.toml", free_port()
    file.write_text(f'[gateway]\nport = {port}\nreuse_port = true\nworkers = {workers or 1}\nlog = "off"\n')
    with ExitStack() as processes:

        def start() -> Running:
            process: Running = processes.enter_context(at_its_port(file, workers=bool(workers)))
            assert (process.settled(workers) if workers else process.listening()) == port
            return process

        older = [start(), start()]
        load = Load(port)
        try:
            load.more(20)
            third = start()
            for process in older:
                process.signal(signal.SIGTERM)
            assert [process.wait() for process in older] == [0, 0]
            load.more(20)
            start()
            third.signal(signal.SIGTERM)
            assert third.wait() == 0
            load.more(20)
            load.end()
            assert not load.failures
        finally:
            load.end()


def test_alone_it_ends_as_always(tmp_path: Path) -> None:
    """Without another process on the port, new connections are accepted until it has ended what runs."""
    file = tmp_path / "polychat.toml"
    file.write_text('[gateway]\nreuse_port = true\nlog = "off"\n')
    with one(file) as gateway:
        port = gateway.listening()
        with connected(port) as stream:
            stream.send(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
            until(stream, b"begun")
            gateway.signal(signal.SIGTERM)
            assert body_at(port, "/go") == b""
            until(stream, b"ended")
        assert gateway.wait() == 0


def test_a_port_is_shared_only_if_both_say_so() -> None:
    """Else the second is told that the port is taken; a Unix socket cannot be shared."""
    with pytest.raises(BadInput, match="reuse_port"):
        check(GatewaySettings(reuse_port=True, uds="/tmp/there"))
    (first,) = listen(GatewaySettings(port=0, reuse_port=True))
    port = first.getsockname()[1]
    (second,) = listen(GatewaySettings(port=port, reuse_port=True))
    with pytest.raises(BadInput, match="another process uses it"):
        listen(GatewaySettings(port=port))
    first.close()
    second.close()


def test_systemd_is_told_when_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``Type=notify`` a start returns when the gateway answers, so the old one can be stopped after it."""
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place))
        manager.settimeout(60)
        monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", str(place))
        file = tmp_path / "polychat.toml"
        file.write_text('[gateway]\nlog = "off"\n')
        with one(file):
            assert manager.recv(100) == b"READY=1"


@pytest.mark.usefixtures("none_accepts")
def test_whichever_of_two_ends_leaves_new_connections_to_the_other() -> None:
    """Also the younger, after a version that turns out to be wrong: the older one goes on, and a third one begins anew."""
    settings = GatewaySettings(port=free_port(), reuse_port=True)

    def all_go(to: socket.socket) -> None:
        clients = [socket.create_connection(("127.0.0.1", settings.port)) for _ in range(32)]
        to.settimeout(60)
        for client in clients:
            to.accept()[0].close()
            client.close()

    (first,), (second,) = listen(settings), listen(settings)
    give_way([second])
    all_go(first)
    second.close()
    (third,) = listen(settings)
    give_way([first])
    all_go(third)
    first.close()
    (fourth,) = listen(settings)
    give_way([third])
    all_go(fourth)
    for opened in (third, fourth):
        opened.close()


@pytest.mark.usefixtures("none_accepts")
def test_one_that_gives_way_needs_not_know_its_place() -> None:
    """The system puts the youngest of three into the place of the oldest, when that is closed."""
    settings = GatewaySettings(port=free_port(), reuse_port=True)
    (first,), (second,), (third,) = (listen(settings) for _ in range(3))
    give_way([first])
    first.close()
    give_way([second])
    clients = [socket.create_connection(("127.0.0.1", settings.port)) for _ in range(32)]
    third.settimeout(60)
    for client in clients:
        third.accept()[0].close()
        client.close()
    second.close()
    third.close()


@pytest.mark.usefixtures("none_accepts")
def test_after_a_handover_a_third_process_takes_only_its_share() -> None:
    """The next one may fail before it serves: the one that serves still gets connections."""
    settings = GatewaySettings(port=free_port(), reuse_port=True)
    (first,), (second,) = listen(settings), listen(settings)
    give_way([first])
    first.close()
    (third,) = listen(settings)
    clients = [socket.create_connection(("127.0.0.1", settings.port)) for _ in range(64)]
    second.setblocking(False)
    accepted = []
    with pytest.raises(BlockingIOError):
        while True:
            accepted.append(second.accept()[0])
    assert accepted
    for opened in (*clients, *accepted, second, third):
        opened.close()
