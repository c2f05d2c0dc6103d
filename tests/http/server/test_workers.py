"""``polychat serve --workers``: one port, several processes, and one that looks after them."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from ...support.gateway_processes import body_at, connected, several
from ...support.server_in_thread import request


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "polychat.toml"
    path.write_text('[gateway]\nworkers = 2\ngrace = 10\n[routes.fast]\ntargets = ["local/smollm2"]\n')
    return path


def _children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_workers_share_the_port_and_end_together(file: Path) -> None:
    with several(file) as gateway:
        port = gateway.settled(2)
        workers = _children(gateway.pid)
        assert len(workers) == 2
        served = {int(body_at(port, "/pid")) for _ in range(20)}
        assert served <= workers
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        assert "".join(gateway.lines).count("closed") == 2
        assert all(_gone(worker) for worker in workers)


def test_one_that_dies_is_replaced(file: Path) -> None:
    with several(file) as gateway:
        port = gateway.settled(2)
        before = _children(gateway.pid)
        with connected(port) as client:
            client.send(request("/die"))
            assert client.file.read() == b""
        assert "SIGKILL" in gateway.hears("starting a replacement")
        while len(after := _children(gateway.pid)) < 2 or after == before:
            pass
        assert len(before & after) == 1
        for _ in range(10):
            assert int(body_at(port, "/pid")) in after
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0


def test_workers_that_die_at_once_are_given_up(file: Path) -> None:
    """After a few tries, with the reason, and exit code 1: the service manager should know."""
    file.write_text(file.read_text() + '[routes.doomed]\ntargets = ["a/b"]\n')
    with several(file) as gateway:
        assert gateway.wait() == 1
        assert "5 times in a row" in gateway.lines[-1]
        assert "exited with code 7" in gateway.lines[-1]
        assert not any("listening" in line for line in gateway.lines)


def test_a_configuration_that_no_worker_can_serve_is_reported_once(file: Path) -> None:
    file.write_text(file.read_text() + '[routes.refused]\ntargets = ["a/b"]\n')
    with several(file) as gateway:
        assert gateway.wait() == 2
        assert [line for line in gateway.lines if "no such backend" in line] == [gateway.lines[-1]]


def test_sighup_reaches_every_worker_and_those_that_come_later(file: Path) -> None:
    """A broken file reaches none of them."""
    with several(file) as gateway:
        port = gateway.settled(2)
        file.write_text("[gateway]\nport = 'x'\n")
        gateway.signal(signal.SIGHUP)
        assert "gateway.port" in gateway.hears("configuration not reloaded")
        assert {body_at(port, "/routes") for _ in range(10)} == {b'["fast"]'}
        file.write_text('[routes.slow]\ntargets = ["local/smollm2"]\n')
        gateway.signal(signal.SIGHUP)
        for _ in range(2):
            gateway.hears("configuration reloaded")
        assert {body_at(port, "/routes") for _ in range(10)} == {b'["slow"]'}
        file.write_text("[gateway]\nport = 'x'\n")
        for worker in _children(gateway.pid):
            os.kill(worker, signal.SIGKILL)
            gateway.hears("starting a replacement")
        for _ in range(10):
            assert body_at(port, "/routes") == b'["slow"]'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_streams_end_in_peace_and_a_second_signal_ends_them_at_once(file: Path, number: int) -> None:
    """Also where the workers are signalled beside their supervisor, as a service manager does."""
    with several(file) as gateway:
        port = gateway.settled(2)
        with connected(port) as stream:
            stream.send(request("/stream"))
            while b"begun" not in stream.file.readline():
                pass
            gateway.signal(number)
            for worker in _children(gateway.pid):
                os.kill(worker, number)
            gateway.hears("closed")  # the worker that had nothing to do
            stream.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):  # it goes on
                stream.socket.recv(100)
            gateway.signal(number)
            stream.socket.settimeout(20)
            assert stream.socket.recv(100) == b""
            assert gateway.wait() == 0


def test_a_worker_that_will_not_end_is_killed(file: Path) -> None:
    file.write_text("[gateway]\nworkers = 2\ngrace = 0.1\n")
    with several(file) as gateway:
        port = gateway.settled(2)
        workers = _children(gateway.pid)
        with connected(port) as client:
            client.send(request("/block"))
            gateway.hears("blocking")
            gateway.signal(signal.SIGTERM)
            assert gateway.wait() == 0
        assert all(_gone(worker) for worker in workers)


def test_workers_whose_supervisor_was_killed_drain(file: Path) -> None:
    """What runs ends in peace, and nothing is left on the port."""
    with several(file) as gateway:
        port = gateway.settled(2)
        workers = _children(gateway.pid)
        with connected(port) as stream:
            stream.send(request("/stream"))
            while b"begun" not in stream.file.readline():
                pass
            gateway.process.kill()
            gateway.hears("closed")  # the worker that had nothing to do
            assert body_at(port, "/go") == b""
            assert stream.file.read() == b"5\r\nended\r\n0\r\n\r\n"
            assert gateway.wait() == -signal.SIGKILL
        while not all(_gone(worker) for worker in workers):
            pass
        with pytest.raises(ConnectionRefusedError):
            connected(port)


def test_the_directory_for_figures_is_made_and_removed(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with several(file) as gateway:
        gateway.settled(2)
        (shared,) = tmp_path.glob("polychat-*")
        assert stat.S_IMODE(shared.stat().st_mode) == 0o700
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        assert not shared.exists()
