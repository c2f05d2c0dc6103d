"""``polychat top`` as a person and a script use it, against a gateway of this process."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from polychat.config.access import Admin

from ...support.command import run
from ...support.running_gateway import Running, asking, configured, gateway, good, row
from ...support.scripted_server import Say, Seen
from ...support.terminal import Terminal, in_terminal

KEY = "an-admin-key"
LEFT = b"\x1b[?1049l"
"""The terminal leaves the alternate screen: what it showed before is there again."""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYCHAT_ADMIN_KEY", KEY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def settings(url: str) -> Any:
    admin = Admin(keys={"ops": "env:POLYCHAT_ADMIN_KEY"})
    return configured({"house": row("openai-chat", url)}, routes={"fast": ("house/small",)}, admin=admin)


def in_screen(running: Running, *options: str) -> Any:
    words = [sys.executable, "-m", "polychat", "top", "--url", running.url, "--interval", "0.5", *options]
    return in_terminal(*words, env={**os.environ, "TERM": "xterm", "NO_COLOR": "1", "PYTHONWARNINGS": ""})


async def test_keys_do_what_the_help_says_and_the_terminal_is_as_before(serve: Any) -> None:
    """Help, a filter, the order and the pause; and a resize is followed."""
    backend = await serve(good)
    async with gateway(settings(backend.url)) as running:
        assert (await running.ask(*asking("openai-chat", "fast"))).status == 200
        await running.app.recorded()
        async with in_screen(running) as terminal:
            terminal.resize(80, 24)
            await terminal.shows(b"house/small")
            terminal.press(b"?")
            await terminal.shows(b"Ctrl-C        leave")
            terminal.press(b"?")
            await terminal.shows(b"REQ/S")
            terminal.press(b"/nobody\r")
            await terminal.shows("with “nobody” in a name".encode())
            terminal.press(b"\x1b")
            await terminal.shows(b"house/small")
            terminal.press(b"\ts")
            await terminal.shows("▲".encode())
            terminal.press(b"r")
            await terminal.shows("▼".encode())
            terminal.resize(60, 12)
            await terminal.shows(b"q quit")
            terminal.press(b"p")
            await terminal.shows(b"paused")
            terminal.press(b"pq")
            await terminal.shows(LEFT)
            assert await terminal.ended() == 0


@pytest.mark.parametrize(("ending", "code"), [("\x03", 130), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_however_it_ends_the_terminal_is_as_before(ending: str | signal.Signals, code: int) -> None:
    """Ctrl-C, and signals."""
    async with gateway(configured({})) as running, in_screen(running) as terminal:
        await terminal.shows(b"in flight 0")
        if isinstance(ending, str):
            terminal.press(ending.encode())
        else:
            terminal.process.send_signal(ending)
        await terminal.shows(LEFT)
        assert await terminal.ended() == code


async def test_a_gateway_that_does_not_answer_is_told_of() -> None:
    """With the reason, and the keys work all the same."""
    async with gateway(configured({})) as running:
        url = running.url
    words = [sys.executable, "-m", "polychat", "top", "--url", url, "--interval", "0.5"]
    async with in_terminal(*words, env={**os.environ, "TERM": "xterm"}) as terminal:
        await terminal.shows(b"no answer yet")
        await terminal.shows(b"connection refused")
        await left(terminal)


async def left(terminal: Terminal) -> None:
    terminal.press(b"q")
    await terminal.shows(LEFT)
    assert await terminal.ended() == 0


async def test_a_script_gets_text_or_json(serve: Any) -> None:
    """Without a terminal; both of the same look, with no key in either."""
    backend = await serve(good)
    async with gateway(settings(backend.url)) as running:
        assert (await running.ask(*asking("openai-chat", "fast"))).status == 200
        await running.app.recorded()
        text = await run("top", "--url", running.url, "--interval", "0.5")
        values = await run("top", "--url", running.url, "--interval", "0.5", "--json")
    assert (text.code, text.err, values.code, values.err) == (0, "", 0, "")
    assert "\x1b" not in text.out
    assert "house/small" in text.out
    told = json.loads(values.out)
    (target,) = told["targets"]
    assert (target["target"], target["route"], target["state"]) == ("house/small", "fast", "closed")
    assert (told["running"], told["in_flight"], told["gateway"]) == ({"total": 0, "requests": []}, 0, running.url)
    assert list(told["problems"]) == ["spend"]
    assert KEY not in text.out + values.out


async def test_a_key_goes_only_where_its_owner_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that came with a folder names no other machine for it; a key of a configuration is for the address there."""
    Path("polychat.toml").write_text('[gateway]\nhost = "192.0.2.1"\nkeys = { a = "env:POLYCHAT_ADMIN_KEY" }\n')
    refused = await run("top", "--once")
    assert (refused.code, "./polychat.toml is not trusted with a key" in refused.err) == (2, True)
    async with gateway(settings("http://127.0.0.1:9")) as running:
        monkeypatch.delenv("POLYCHAT_ADMIN_KEY")
        monkeypatch.setenv("OTHER_NAME", KEY)
        port = running.url.rpartition(":")[2]
        own = tmp_path / "own.toml"
        own.write_text(f'[gateway]\nport = {port}\n[gateway.admin]\nkeys = {{ ops = "env:OTHER_NAME" }}\n')
        by_file = await run("top", "--json", "--interval", "0.5", "--config", str(own))
        elsewhere = await run(
            "top", "--json", "--interval", "0.5", "--config", str(own), "--url", running.url.replace("127.0.0.1", "localhost")
        )
        by_name = await run("top", "--json", "--interval", "0.5", "--url", running.url, "--key-variable", "OTHER_NAME")
    problems = [json.loads(ran.out)["problems"] for ran in (by_file, elsewhere, by_name)]
    assert ["running" in each for each in problems] == [False, True, False]


async def test_a_gateway_that_does_not_answer_is_an_error_of_a_script(serve: Any) -> None:
    """Exit code 1, and the next step; so is another server, whatever its JSON; an interval that is none is misuse."""

    async def other(seen: Seen, say: Say) -> None:
        await say.whole({"object": "list", "data": []})

    ran = await run("top", "--json", "--url", (await serve(other)).url)
    assert (ran.code, ran.out, "/metrics is not of a gateway of polychat" in ran.err) == (1, "", True)
    async with gateway(configured({})) as running:
        url = running.url
    ran = await run("top", "--once", "--url", url)
    assert (ran.code, ran.out) == (1, "")
    assert "connection refused. Is the server running?" in ran.err
    assert (await run("top", "--once", "--interval", "0")).code == 2


async def test_what_cannot_be_is_told_with_the_next_step(tmp_path: Path) -> None:
    """A gateway on a socket has no URL; without the extra, a terminal is offered it, and a script needs none."""
    own = tmp_path / "own.toml"
    own.write_text('[gateway]\nuds = "/run/polychat.sock"\n')
    ran = await run("top", "--once", "--config", str(own))
    assert (ran.code, "pass the URL of its proxy as --url" in ran.err) == (2, True)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['prompt_toolkit'] = None\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TERM": "xterm"}
    words = [sys.executable, "-m", "polychat", "top", "--url", "http://127.0.0.1:9"]
    async with in_terminal(*words, env=environment) as terminal:
        await terminal.shows(b'"polychat[chat]"')
        assert await terminal.ended() == 1
