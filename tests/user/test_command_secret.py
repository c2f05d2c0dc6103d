"""Secrets that a command prints: what it may print, when it is run again, and who waits for one run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from polychat.errors import BadInput, NotReady
from polychat.user.command_secret import CommandSecret
from polychat.user.secrets import secret

Command = Callable[..., str]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``command(code)`` is a command that runs Python; before that it adds a letter to the file ``runs``."""

    def make(code: str) -> str:
        file = tmp_path / "it's a command.py"
        file.write_text(f"import sys, time\nwith open({str(tmp_path / 'runs')!r}, 'a') as f: f.write('x')\n{code}")
        return f'{sys.executable} -S -E "{file}" one'

    (tmp_path / "runs").write_text("")
    return make


def runs(tmp_path: Path) -> int:
    return len((tmp_path / "runs").read_text())


@pytest.mark.parametrize(
    ("printed", "early", "last"),
    [
        ("to-ken\n", None, None),
        ({"token": "to-ken"}, None, None),
        ({"kind": "ExecCredential", "status": {"token": "to-ken", "expirationTimestamp": "1970-01-01T01:00:00Z"}}, 3480, 3590),
        ({"credential": {"access_token": "to-ken", "token_expiry": "1970-01-01T02:00:00+01:00"}}, 3480, 3590),
        ({"accessToken": "to-ken", "expires_on": 3600}, 3480, 3590),
        ({"access_token": "to-ken", "expires_in": 60}, 40, 54),
        ({"token": "to-ken", "expiration": "3600"}, 3480, 3590),
    ],
)
async def test_tokens_and_their_expiry(command: Command, printed: object, early: float | None, last: float | None) -> None:
    """A bare token, or the JSON of the usual helpers; a next one is due before it expires."""
    text = printed if isinstance(printed, str) else json.dumps(printed)
    held = CommandSecret(command(f"print({text!r})"), clock=lambda: 0.0)
    assert await held.value("api_key") == "to-ken"
    assert held.token is not None
    if early is not None:
        assert held.token[1:] == (early, last)
    assert "to-ken" not in repr(held.token)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('SECRET SECRET')", "alone on one line"),
        ("print()", "alone on one line"),
        ("print('{SECRET')", "is none"),
        ("print('{\"SECRET\": 1}')", "without a token"),
        ('print(\'{"Version": 1, "AccessKeyId": "SECRET", "SecretAccessKey": "SECRET"}\')', "print a token, such as"),
        ('print(\'{"token": "SECRET", "expiration": "2030-01-01T00:00:00"}\')', "time zone"),
        ('print(\'{"token": "SECRET", "expires_in": true}\')', "number of seconds"),
        ('print(\'{"token": "SECRET", "expires_in": -1}\')', "has expired"),
        ("print('SECRET'); sys.stderr.write('SECRET'); sys.exit(3)", "status 3"),
        ("print('SECRET' * 20_000)", "more than 65,536 bytes"),
        ("sys.stdout.buffer.write(bytes([255]))", "did not print text"),
        ("print('SECRET', flush=True); time.sleep(60)", "did not end within 0.5 s"),
    ],
)
async def test_what_is_no_token_is_an_error_without_the_output(command: Command, code: str, message: str) -> None:
    """It names the setting, the program and the reason; the next caller gets it without another run."""
    held = CommandSecret(command(code), clock=lambda: 0.0, seconds=0.5 if "sleep" in code else 30.0)
    for _ in range(2):
        with pytest.raises(NotReady) as caught:
            await held.value("providers.house.api_key")
        assert message in str(caught.value)
        assert str(caught.value).startswith(f"providers.house.api_key runs {sys.executable}")
        assert "SECRET" not in str(caught.value)


def test_one_run_serves_all_who_wait(command: Command, tmp_path: Path) -> None:
    """In two loops and a thread, though one of those who wait is cancelled; later callers have the same token."""
    held = CommandSecret(command(f"open({str(tmp_path / 'go')!r}).read(); print('to-ken')"))
    os.mkfifo(tmp_path / "go")
    waiting = threading.Barrier(3)
    tokens: list[str] = []

    async def several() -> None:
        tasks = [asyncio.create_task(held.value("api_key")) for _ in range(5)]
        await asyncio.sleep(0)
        waiting.wait()
        tasks[0].cancel()
        tokens.extend(await asyncio.gather(*tasks[1:]))

    def alone() -> None:
        waiting.wait()
        tokens.append(held.wait("api_key"))

    def in_a_loop() -> None:
        asyncio.run(several())

    threads = [threading.Thread(target=work) for work in (in_a_loop, in_a_loop, alone)]
    for thread in threads:
        thread.start()
    (tmp_path / "go").write_text("")
    for thread in threads:
        thread.join(10)
    assert (tokens, runs(tmp_path)) == (["to-ken"] * 9, 1)


async def test_a_token_is_renewed_before_it_expires_and_when_it_is_rejected(command: Command, tmp_path: Path) -> None:
    """Meanwhile the old one is used; a rejected one is not, and is not asked for again by a second who was rejected."""
    now = 0.0
    code = f'n = len(open({str(tmp_path / "runs")!r}).read()); print(\'{{"token": "t%d", "expires_in": 3000}}\' % n)'
    held = CommandSecret(command(code), clock=lambda: now)
    assert await held.value("api_key") == "t1"
    now = 2879.0
    assert held.fresh("api_key") == "t1"
    assert runs(tmp_path) == 1
    now = 2880.0
    assert held.fresh("api_key") == "t1"  # the next one is fetched now
    while held.token is None or held.token.value != "t2":
        await asyncio.sleep(0.001)
    assert [await held.value("api_key", "t2"), await held.value("api_key", "t2")] == ["t3", "t3"]
    now = 2880.0 + 2990.0
    assert await held.value("api_key") == "t4"
    assert runs(tmp_path) == 4


def test_commands_that_cannot_be(tmp_path: Path) -> None:
    """No command, a quote that is open, no such program; no shell reads what is in it."""
    for reference in ("exec: ", "exec:print 'x"):
        with pytest.raises(BadInput, match="exec:"):
            secret(reference, "api_key")
    with pytest.raises(NotReady, match="No such file"):
        secret("exec:/no/such/program", "api_key")
    assert secret("exec:echo $HOME;", "gateway.keys.x".replace("x", "y")) == "$HOME;"
