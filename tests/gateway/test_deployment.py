"""The files for operators of the gateway are accepted by those who read them."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
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


def test_the_documented_commands_make_what_the_service_reads(tmp_path: Path) -> None:
    """Those before ``systemctl``: the configuration, and every key that it names, in a file that only its owner reads."""
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    _, installed, rest = page.partition('pip install ".[gateway]"   # in a checkout\n')
    commands = rest.partition("cp examples/gateway/polychat.service")[0]
    assert installed
    assert "config check" in commands
    for name, here in (("/etc/polychat", tmp_path), ("/opt/polychat/bin/polychat", f"{sys.executable} -m polychat")):
        commands = commands.replace(name, str(here))
    environment = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_CI", "_ALICE"))}
    ran = subprocess.run(["sh", "-ec", commands], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ": good: " in ran.stdout
    assert (tmp_path / "keys.env").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "polychat.toml").read_bytes() == (FILES / "polychat.toml").read_bytes()


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
