"""``polychat serve`` as one process: where it listens, what signals mean, how it ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from polychat import config
from polychat.config.settings import GatewaySettings, Limits, Route
from polychat.errors import BadInput
from polychat.gateway.process.serving import Server, take
from polychat.gateway.process.source import ConfigSource, later
from polychat.http.server.listening import check, encrypting, listen, renew, startup_line, unlisten

from ...support.gateway_processes import ROOT, body_at, connected, one, started
from ...support.patience import PATIENCE
from ...support.server_in_thread import App, Client, hosted, request
from ...support.tls import authority


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "polychat.toml"
    path.write_text('[gateway]\ngrace = 10\n[routes.fast]\ntargets = ["local/smollm2"]\n')
    return path


def _serve(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polychat", "serve", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "gateway.localhost", "", "localhost."])
def test_remote_clients_are_not_admitted_without_keys(tmp_path: Path, host: str) -> None:
    """Any address but loopback, and any name, is refused at the start, and the error says what to do."""
    ran = _serve("--host", host, cwd=tmp_path)
    assert ran.returncode == 2
    assert "gateway.keys" in ran.stderr
    assert "127.0.0.1" in ran.stderr
    with pytest.raises(BadInput):
        check(GatewaySettings(host=host))
    check(GatewaySettings(host=host, keys={"me": "env:KEY"}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    check(GatewaySettings(host=host))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "70000"], "gateway.port is 70000"),
        (["--workers", "0"], "gateway.workers is 0"),
        (["--tls-cert", "/nowhere"], "both gateway.tls_cert and gateway.tls_key"),
        (["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "/nowhere"),
        (["--config", "/nowhere.toml"], "/nowhere.toml"),
    ],
)
def test_what_cannot_be_served_is_reported_at_the_start(tmp_path: Path, arguments: list[str], says: str) -> None:
    ran = _serve(*arguments, cwd=tmp_path)
    assert (ran.returncode, says in ran.stderr) == (2, True), ran.stderr
    assert "Traceback" not in ran.stderr


def test_arguments_go_over_the_file(file: Path) -> None:
    """And an address on the command line over a Unix socket in the file."""
    file.write_text('[gateway]\nport = 1\nuds = "/tmp/x"\ngrace = 3\n')
    assert ConfigSource(file, {"port": 2}).read().gateway == GatewaySettings(port=2, uds="", grace=3)
    assert ConfigSource(file, {"workers": 2}).read().gateway == GatewaySettings(port=1, uds="/tmp/x", grace=3, workers=2)


def test_a_port_that_is_taken_is_reported(tmp_path: Path) -> None:
    (taken,) = listen(GatewaySettings(port=0))
    with taken, pytest.raises(BadInput, match="another process uses it"):
        listen(GatewaySettings(port=taken.getsockname()[1]))


def test_both_addresses_of_a_name_share_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [(family, socket.SOCK_STREAM, 6, "", (host, 0)) for family, host in [(2, "127.0.0.1"), (2, "127.0.0.2")]]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    listeners = listen(GatewaySettings(host="here", port=0))
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    assert [listener.getsockname()[0] for listener in listeners] == ["127.0.0.1", "127.0.0.2"]
    unlisten(GatewaySettings(), listeners)


def test_the_first_line_has_addresses_and_models(tmp_path: Path) -> None:
    """One line, for people and for programs."""
    (listener,) = listen(GatewaySettings(host="::1", port=0))
    with listener:
        configured = config.Config(routes={"fast": Route(("a/b",))}, aliases={"gpt": "fast"}, providers={"house": {}})
        line = startup_line(configured, [listener])
        assert line == f"listening on http://[::1]:{listener.getsockname()[1]}; models: fast, gpt, house/…, any provider/model"


def test_it_serves_until_sigterm_and_ends_well(file: Path) -> None:
    with one(file) as gateway:
        port = gateway.listening()
        assert int(body_at(port, "/pid")) == gateway.pid
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        assert "closed" in gateway.lines[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_ends_in_peace(file: Path, number: int) -> None:
    """New work is refused with 503 on connections that are still taken; what runs ends whole; then the exit code is 0."""
    with one(file) as gateway:
        port = gateway.listening()
        with connected(port) as stream, connected(port) as idle:
            idle.ask("/pid")
            stream.send(request("/stream"))
            while b"begun" not in stream.file.readline():
                pass
            gateway.signal(number)
            while (answer := idle.ask("/pid")).status == 200:  # until the signal has come
                pass
            assert (answer.status, answer.headers["connection"]) == (503, "close")
            assert idle.ended()
            with connected(port) as late:
                assert late.ask("/pid").status == 503
            assert body_at(port, "/go") == b""
            assert stream.file.read() == b"5\r\nended\r\n0\r\n\r\n"
            assert gateway.wait() == 0


def test_what_runs_beyond_the_grace_is_cut(file: Path) -> None:
    """The stream ends without its end, so that its reader can tell, and the exit code is 0."""
    file.write_text("[gateway]\ngrace = 0.2\n")
    with one(file) as gateway, connected(gateway.listening()) as stream:
        stream.send(request("/stream"))
        while b"begun" not in stream.file.readline():
            pass
        gateway.signal(signal.SIGTERM)
        assert stream.file.read() == b""
        gateway.hears("cut")
        gateway.hears("closed")  # what was cut could still be written down
        assert gateway.wait() == 0


def test_work_that_will_not_end_is_left(file: Path) -> None:
    """Not even an application that is deaf to its cancellation keeps the process from ending."""
    file.write_text("[gateway]\ngrace = 0.1\n")
    with one(file) as gateway, connected(gateway.listening()) as client:
        client.send(request("/hang"))
        gateway.hears("hanging")
        gateway.signal(signal.SIGTERM)
        gateway.hears("deaf")
        assert gateway.wait() == 0


def test_a_second_signal_ends_it_at_once(file: Path) -> None:
    file.write_text("[gateway]\ngrace = 1000\n")
    with one(file) as gateway:
        port = gateway.listening()
        with connected(port) as stream, connected(port) as idle:
            stream.send(request("/stream"))
            while b"begun" not in stream.file.readline():
                pass
            gateway.signal(signal.SIGINT)
            while idle.ask("/pid").status == 200:
                pass
            gateway.signal(signal.SIGINT)
            assert gateway.wait() == 0


def test_sighup_reads_the_file_anew_and_drops_no_stream(file: Path) -> None:
    with one(file) as gateway:
        port = gateway.listening()
        with connected(port) as stream:
            stream.send(request("/stream"))
            while b"begun" not in stream.file.readline():
                pass
            file.write_text('[gateway]\nport = 1\n[routes.slow]\ntargets = ["local/smollm2"]\n')
            gateway.signal(signal.SIGHUP)
            gateway.hears("configuration reloaded")
            assert body_at(port, "/routes") == b'["slow"]'
            body_at(port, "/go")
            assert b"ended" in stream.file.read(len(b"\r\n5\r\nended"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[gateway]\nport = 'x'\n", ":2: gateway.port"),
        ("[gateway]\nworkres = 2\n", "workers"),
        ("[gateway\n", ":1: "),
        ('[gateway]\nhost = "0.0.0.0"\n', "gateway.keys"),
        ('[gateway]\ntls_cert = "/nowhere"\ntls_key = "/nowhere"\n', "/nowhere"),
        ('[routes.refused]\ntargets = ["a/b"]\n', "no such backend"),
        (None, "polychat.toml"),
    ],
)
def test_a_broken_file_changes_nothing(file: Path, content: str | None, says: str) -> None:
    """The error says what is wrong with it and where; a corrected file is used."""
    with one(file) as gateway:
        port = gateway.listening()
        file.unlink()
        if content is not None:
            file.write_text(content)
        gateway.signal(signal.SIGHUP)
        line = gateway.hears("configuration not reloaded")
        assert says in line
        assert str(file) in line or "/nowhere" in line or "no such backend" in line or "gateway.keys" in line
        assert body_at(port, "/routes") == b'["fast"]'
        file.write_text('[routes.again]\ntargets = ["local/smollm2"]\n')
        gateway.signal(signal.SIGHUP)
        gateway.hears("configuration reloaded")
        assert body_at(port, "/routes") == b'["again"]'


def test_what_the_application_refuses_changes_nothing() -> None:
    """Neither does the server go by it."""

    class Refusing(App):
        def reload(self, configured: config.Config) -> None:
            raise BadInput("no", field="routes")

    before = config.Config(gateway=GatewaySettings(grace=1))
    server = Server(Refusing(), before.gateway)
    with pytest.raises(BadInput):
        take(server, before, config.Config(gateway=GatewaySettings(grace=2)), None)
    assert server.grace == 1


def test_what_cannot_change_while_serving_is_reported() -> None:
    before, after = config.Config(), config.Config(gateway=GatewaySettings(port=1, workers=2, grace=3))
    assert later(before, after) == {"at_the_next_start": "port, workers"}
    assert later(before, before) == {}


def test_limits_change_with_the_file(file: Path) -> None:
    with one(file) as gateway:
        port = gateway.listening()
        file.write_text("[gateway.limits]\nhead = 1024\n")
        gateway.signal(signal.SIGHUP)
        gateway.hears("configuration reloaded")
        with connected(port) as client:
            assert client.ask("/pid", b"", b"x: " + b"a" * 2000).status == 431


def test_a_unix_socket_is_its_owners(tmp_path: Path) -> None:
    """Nobody else may connect; what a killed server left is replaced, what another server uses is not, and no other file."""
    path = tmp_path / "gateway.sock"
    settings = GatewaySettings(uds=str(path), host="0.0.0.0")
    check(settings)
    (listener,) = listen(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(BadInput, match="another process uses it"):
        listen(settings)
    listener.close()
    (listener,) = listen(settings)  # the file was left there by the one before
    unlisten(settings, [listener])
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(BadInput, match="not a socket"):
        listen(settings)
    assert path.read_text() == "mine"


def test_a_unix_socket_serves(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "gateway.sock"
    file.write_text(f'[gateway]\nuds = "{path}"\n')
    with started("-c", _uds_script(), str(file), "as it says") as gateway:
        assert f"listening on unix:{path};" in gateway.hears("listening")
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        with Client(connection) as client:
            assert client.ask("/pid").body == str(gateway.pid).encode()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
    assert not path.exists()


def _uds_script() -> str:
    from ...support import gateway_processes

    return gateway_processes._ONE


def _certified(folder: Path, *names: str) -> GatewaySettings:
    issued = authority().issue_cert(*names)
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return GatewaySettings(tls_cert=str(folder / "cert.pem"), tls_key=str(folder / "key.pem"))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls(tmp_path: Path, loop: str) -> None:
    """Requests come in over TLS; a certificate that was renewed is shown to the next client."""
    settings = _certified(tmp_path, "127.0.0.1")
    trust = ssl.create_default_context()
    authority().configure_trust(trust)
    app, context = App(), encrypting(settings)
    assert context is not None
    with hosted(app, tls=context, loop=loop) as here:
        with here.client(trust) as client:
            assert client.ask("/", b"hello").json["body"] == "hello"
            assert app.seen[0]["scheme"] == "https"
            first = client.socket.getpeercert()
        _certified(tmp_path, "127.0.0.1", "renewed.example")
        here.call(renew, context, settings)
        with here.client(trust) as client:
            assert client.ask("/").status == 200
            assert client.socket.getpeercert() != first


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_sends_no_tls_handshake_is_cut_off(tmp_path: Path, loop: str) -> None:
    """A handshake has no more time than a request's head."""
    context = encrypting(_certified(tmp_path, "127.0.0.1"))
    with hosted(App(), Limits(head_seconds=0.3), tls=context, loop=loop) as here, here.client() as silent:
        assert silent.ended()


def test_a_key_with_a_password_is_reported_and_not_asked_for(tmp_path: Path) -> None:
    settings = _certified(tmp_path, "127.0.0.1")
    key = serialization.load_pem_private_key(Path(settings.tls_key).read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x1234")
    )
    (tmp_path / "key.pem").write_bytes(locked)
    with pytest.raises(BadInput, match="password"):
        encrypting(settings)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_no_more_files_may_be_opened(file: Path, loop: str) -> None:
    """A server that is out of file descriptors does not spin, and serves again when there are some."""
    script = _EMFILE.replace("@loop", loop)
    with started("-c", script) as gateway:
        port = gateway.listening()
        with ExitStack() as held:
            connections = [held.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(100)]
            spent, since = _cpu(gateway.pid), time.monotonic()
            with suppress(OSError, EOFError), connected(port) as client:  # it waits in vain, or is closed
                client.socket.settimeout(2)
                client.ask("/pid")
                pytest.fail("there was a file descriptor left for it")
            # Refused at once or after two seconds: both are watched for two seconds, in which no held client hears anything.
            assert not select.select(connections[:1], [], [], max(0.0, since + 2 - time.monotonic()))[0]
            # One that spins has a core to itself; asyncio tells of each client that it cannot accept, which takes its time.
            assert _cpu(gateway.pid) - spent < 0.75 * (time.monotonic() - since)
        for _ in range(50):
            try:
                with connected(port) as client:
                    assert client.ask("/pid").status == 200
                    break
            except (OSError, EOFError):
                continue
        else:
            pytest.fail("it never took a connection again")


_EMFILE = """
import asyncio, resource
import time
from polychat.config.settings import GatewaySettings
from polychat.http.server.listening import listen
from polychat.gateway.process.serving import Server
from tests.support.server_in_thread import LOOPS, App

async def main():
    settings = GatewaySettings(port=0)
    listeners = listen(settings)
    server = Server(App(), settings)
    task = asyncio.create_task(server.serve(listeners))
    await server.ready.wait()
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    print(f"listening on :{listeners[0].getsockname()[1]};", flush=True)
    await task

with asyncio.Runner(loop_factory=LOOPS["@loop"]) as runner:
    runner.run(main())
"""


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_importing_the_command_line_loads_no_server() -> None:
    code = "import sys, polychat.cli.serve; print([n for n in ('starlette', 'asyncio') if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout.strip() == "[]"
