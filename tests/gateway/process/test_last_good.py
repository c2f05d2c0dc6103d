"""A bad configuration file: at a reload the running one stays, at a start the last good one is used if it was kept."""

from __future__ import annotations

import signal
import stat
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.request import urlopen

import pytest

from polychat.errors import BadInput
from polychat.gateway.process.last_good import keep, kept_text, place_of
from polychat.gateway.process.source import ConfigSource

from ...support.command import run
from ...support.gateway_processes import started
from ...support.patience import PATIENCE

GOOD = """
[gateway]
port = 0
sites = ""
log = "off"
[routes.{name}]
targets = ["house/small"]
[providers.house]
wire = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
headers = {{ x-token = "a-literal-secret" }}
serves = ["small"]
"""


class Events:
    """A log that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def event(self, message: str, **facts: Any) -> None:
        self.said.append(message)


def body_at(port: int, path: str) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as response:
        return bytes(response.read())


def becomes(read: Callable[[], object], wanted: object) -> None:
    """Returns when ``read`` returns what is wanted."""
    end = monotonic() + PATIENCE
    while (seen := read()) != wanted and monotonic() < end:
        pass
    assert seen == wanted


def test_a_folder_whose_links_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Kubernetes ConfigMap is a link to a folder that each change replaces: what was kept before a bad change is found after
    it, by the same path, whether it is relative or not."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "polychat.toml").write_text(name)
    (tmp_path / "data").symlink_to("first")
    (tmp_path / "polychat.toml").symlink_to("data/polychat.toml")
    keep(tmp_path / "polychat.toml", "first")
    (tmp_path / "data").unlink()
    (tmp_path / "data").symlink_to("second")
    assert kept_text(Path("polychat.toml")) == "first"


@pytest.mark.parametrize("later", [None, "", "[aliases]\n", "no TOML"])
async def test_only_a_file_that_stays_as_it_was_read_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str | None
) -> None:
    """One that was read while it was being written may be valid where a table ends, and lack what comes next: it is kept when
    it is the same a moment later, or at the gateway's end; otherwise the log says so, and what was kept before stays."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file, log = tmp_path / "polychat.toml", Events()
    file.write_text(GOOD.format(name="first"))
    keep(file, "before")
    source = ConfigSource(file, keeps_last_good=True)
    source.keep(source.read(), log)
    assert kept_text(file) == "before"
    match later:
        case None:
            pass
        case "":
            file.unlink()
        case _:
            file.write_text(f"{file.read_text()}{later}")
    source.settle()
    source.settle()
    assert (kept_text(file) == "before", len(log.said)) == ((False, 0) if later is None else (True, 1))


@pytest.mark.parametrize("content", ["", "\n", None])
async def test_a_file_that_is_empty_for_a_moment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """Where it had settings before, as ``None`` where it is the folder's own and is gone: routes and keys would go with it.

    At a start it is taken, and at a reload if it holds just a comment; also where the last good file is served.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "polychat.toml"
    place = file if content is not None else None

    def lost() -> None:
        file.write_text(content) if content is not None else file.unlink()

    for begin in (GOOD.format(name="first"), "no TOML"):
        file.write_text(begin)
        keep(file, GOOD.format(name="kept"))
        source = ConfigSource(place, keeps_last_good=True)
        source.start()
        lost()
        with pytest.raises(BadInput, match=r"is (empty|gone), and had settings before"):
            source.read()
        file.write_text("# nothing\n")
        assert source.read().routes == {}
    lost()
    assert ConfigSource(place).read().routes == {}


REFUSED = b"configuration: the file was refused; the last good one is in force"


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """A gateway that serves keeps the text of its file, for its user alone. With a bad file, a start needs the option: then
    the kept one is served, and standard error, the log, ``/ready`` and the metrics say so, until a reload finds a good file,
    which is kept in its place. A bad reload is told likewise, and replaces nothing."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "polychat.toml"
    serve = ("-m", "polychat", "serve", "--config", str(file), "--workers", str(workers))
    file.write_text(GOOD.format(name="first"))
    kept = place_of(file)

    with started(*serve) as running:
        running.listening()
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    assert not kept.exists(), "it was not asked for"

    with started(*serve, "--keep-last-good") as running:
        assert body_at(running.listening(), "/ready") == b"ready\n"
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    assert kept.read_text() == file.read_text()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (kept, kept.parent)] == [0o600, 0o700]

    file.write_text("[gateway]\nport = 'none'\n")
    with started(*serve) as running:
        assert running.wait() == 2

    with started(*serve, "--keep-last-good") as running:
        assert "warning" in running.hears("polychat.toml:2: gateway.port")
        port = running.listening()
        running.hears("the last good one is in force")
        assert REFUSED in body_at(port, "/ready")
        assert b"polychat.toml" not in body_at(port, "/ready")
        assert b"polychat_config_refused 0.0" not in body_at(port, "/metrics")
        assert b'"first"' in body_at(port, "/v1/models")

        file.write_text(GOOD.format(name="second"))
        running.signal(signal.SIGHUP)
        for _ in range(workers):
            running.hears("configuration reloaded")
        becomes(lambda: [body_at(port, "/ready") for _ in range(2)], [b"ready\n"] * 2)
        becomes(kept.read_text, file.read_text())  # by the supervisor, when it knows that all workers have reloaded

        file.write_text("nonsense")
        running.signal(signal.SIGHUP)
        assert "polychat.toml:1" in running.hears("configuration not reloaded")
        becomes(lambda: REFUSED in body_at(port, "/ready"), True)  # workers learn of it from their supervisor
        assert b'"second"' in body_at(port, "/v1/models")
        running.signal(signal.SIGTERM)
        assert running.wait() == 0

    shown = await run("config", "last-good", str(file))
    assert "second" in shown.out
    assert "a-literal-secret" not in shown.out + shown.err
    written = await run("config", "last-good", str(file), "-o", str(tmp_path / "good.toml"))
    assert (written.code, (tmp_path / "good.toml").read_text()) == (0, GOOD.format(name="second"))
    assert stat.S_IMODE((tmp_path / "good.toml").stat().st_mode) == 0o600
    again = await run("config", "last-good", str(file), "-o", str(tmp_path / "good.toml"))
    assert (again.code, "good.toml cannot be written: File exists" in again.err) == (2, True)


async def test_a_kept_file_that_is_bad_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kept configuration cannot be served either, as its secret is gone, the start fails and says both; where none is
    kept it fails as without the option, and ``last-good`` says how one is kept."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "polychat.toml"
    file.write_text("nonsense")
    none = await run("serve", "--config", str(file), "--keep-last-good")
    assert (none.code, "polychat.toml:1" in none.err) == (2, True)
    shown = await run("config", "last-good", str(file))
    assert (shown.code, "polychat serve --keep-last-good keeps it" in shown.err) == (2, True)
    kept = place_of(file)
    kept.parent.mkdir(parents=True)
    kept.write_text('[gateway.keys]\nada = "env:GONE"\n')
    both = await run("serve", "--config", str(file), "--keep-last-good")
    assert both.code == 2
    assert "polychat.toml:1" in both.err
    assert "the last good configuration cannot be served either: gateway.keys.ada refers to env:GONE" in both.err
