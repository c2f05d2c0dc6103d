"""The files for operators of the gateway are accepted by those who read them."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from polychat import config
from polychat.cli import main
from polychat.http.server.listening import check

ROOT = Path(__file__).parent.parent.parent
FILES = ROOT / "examples" / "gateway"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def test_the_configuration_is_good() -> None:
    """The strict reader takes it, the gateway may be served by it, and the service waits longer than its grace."""
    read = config.read(FILES / "polychat.toml")
    check(read.gateway)
    assert read.gateway.keys
    assert set(read.aliases.values()) <= read.routes.keys()
    for name in ("polychat.service", "polychat@.service"):
        service = configparser.ConfigParser(strict=False, interpolation=None)
        service.optionxform = str  # type: ignore[assignment, method-assign]
        service.read(FILES / name, encoding="utf-8")
        assert int(service["Service"]["TimeoutStopSec"]) > read.gateway.grace + 5
        assert "/bin/kill -HUP" in service["Service"]["ExecReload"]


@pytest.mark.parametrize("name", ["polychat.service", "polychat@.service", "Containerfile"])
def test_the_command_that_is_started_is_ours(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each argument of ``polychat serve`` in these files is one that there is."""
    text = (FILES / name).read_text(encoding="utf-8")
    words = re.findall(r"--[a-z-]+", text[text.index('"serve"' if name == "Containerfile" else " serve ") :])
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    known = capsys.readouterr().out
    assert words
    assert all(word in known for word in words)


def test_limits_are_the_same_in_front_and_behind() -> None:
    """What nginx lets through the gateway takes, and nginx listens before the port where the gateway is."""
    read, text = config.read(FILES / "polychat.toml"), (FILES / "nginx.conf").read_text(encoding="utf-8")
    sizes = re.findall(r"client_max_body_size (\d+)m;", text)
    assert [int(size) << 20 for size in sizes] == [read.gateway.limits.body]
    assert f"server {read.gateway.host}:{read.gateway.port};" in text


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")
def test_nginx_accepts_its_file(tmp_path: Path) -> None:
    """Unchanged, but for where it writes."""
    assert NGINX is not None
    (tmp_path / "logs").mkdir()
    command = [NGINX, "-t", "-c", str(FILES / "nginx.conf"), "-p", str(tmp_path)]
    places = f"pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
    ran = subprocess.run([*command, "-g", places], capture_output=True, text=True, timeout=20, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "syntax is ok" in ran.stderr
