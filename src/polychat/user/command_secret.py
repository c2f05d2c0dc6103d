"""Secrets that a command prints: ``exec:COMMAND``, for tokens that expire and for password managers.

The command is run without a shell, and its words are those that a shell would make of it. It prints a token, or JSON with one
and its expiry, as kubectl's and gcloud's helpers do. No output of it is shown.

A token is used until shortly before it expires. Some time before that a run begins in the background, and the old token is used
meanwhile. A token without an expiry is kept until a server rejects it. However many callers wait, in any loop or thread, one
run serves all of them; after a run that failed no other begins for ``_PAUSE`` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import lru_cache
from math import inf
from time import time
from typing import Any, NamedTuple

import msgspec

from ..errors import BadInput, NotReady

_SECONDS = 30.0
"""Seconds that a run may take."""
_MOST = 64 * 1024
"""Bytes that a command may print."""
_EARLY = 120.0
"""Seconds before a token expires when the next one is fetched, or a third of its lifetime where that is less."""
_LAST = 10.0
"""Seconds before it expires from which it is not used any more, or a tenth of its lifetime where that is less."""
_PAUSE = 5.0
"""Seconds after a run that failed until the next one."""
_PLACES = ("status", "credential")
"""Objects that hold the token in kubectl's output, and in gcloud's."""
_TOKENS = ("token", "access_token", "accessToken")
_EXPIRIES = ("expirationTimestamp", "expiration", "Expiration", "expires_at", "expires_on", "token_expiry", "expiry")


class Token(NamedTuple):
    """What a run gave. ``early`` and ``last`` are moments: when the next one is fetched, and from when it is not used."""

    value: str
    early: float
    last: float

    def __repr__(self) -> str:
        return "Token()"


class CommandSecret:
    """The token that one command prints, kept while it is good."""

    def __init__(self, command: str, *, clock: Callable[[], float] = time, seconds: float = _SECONDS) -> None:
        """Raises ``BadInput`` for a command that cannot be split into words."""
        self._words = words_of(command)
        self._clock, self._seconds = clock, seconds
        self._lock = threading.Lock()
        self._run: Future[Token] | None = None
        """The run that is under way."""
        self._failed: tuple[float, NotReady] | None = None
        self.token: Token | None = None
        """The latest token; it may have expired or been rejected."""

    def fresh(self, field: str, rejected: str | None = None) -> str | Future[Token]:
        """The token to use now, or the run that will give it. ``rejected`` is one that a server did not accept.

        Raises ``NotReady`` if the last run failed just now; ``field`` says where the command is configured.
        """
        token, now = self.token, self._clock()
        if token is None or now >= token.last or token.value == rejected:
            return self._begun(field, rejected, now)
        if now >= token.early:
            with contextlib.suppress(NotReady):  # there is time for another try
                self._begun(field, None, now)
        return token.value

    async def value(self, field: str, rejected: str | None = None) -> str:
        """The token to use now. Raises ``NotReady`` where the command gives none."""
        found = self.fresh(field, rejected)
        return found if isinstance(found, str) else (await asyncio.wrap_future(found)).value

    def wait(self, field: str) -> str:
        """As ``value``, for callers that have no event loop, or may stop it."""
        found = self.fresh(field)
        return found if isinstance(found, str) else found.result().value

    def _begun(self, field: str, rejected: str | None, now: float) -> str | Future[Token]:
        """The run under way, or a new one, or what has ended since the caller looked."""
        with self._lock:
            if self._run is not None:
                return self._run
            token = self.token
            if token is not None and now < token.early and token.value != rejected:
                return token.value
            if self._failed is not None and 0 <= now - self._failed[0] < _PAUSE:
                raise NotReady(str(self._failed[1]))
            run = self._run = Future()
            run.set_running_or_notify_cancel()  # one waiter that is cancelled cancels nobody else's run
        threading.Thread(target=self._fetch, args=(run, field), name="polychat-secret", daemon=True).start()
        return run

    def _fetch(self, run: Future[Token], field: str) -> None:
        error: NotReady | None = None
        try:
            token = _token(_output(self._words, self._seconds), self._clock())
        except NotReady as failure:
            error = NotReady(f"{field} runs {self._words[0]}, {failure}")
        except Exception:  # noqa: BLE001  # whatever it is, nobody may wait for ever, and its text may show the output
            error = NotReady(f"{field} runs {self._words[0]}, which could not be run: try it in a shell")
        with self._lock:
            self._run = None
            if error is None:
                self.token, self._failed = token, None
            else:
                self._failed = (self._clock(), error)
        if error is None:
            run.set_result(token)
        else:
            run.set_exception(error)


@lru_cache(maxsize=256)
def command_secret(command: str) -> CommandSecret:
    """The process's one ``CommandSecret`` of a command."""
    return CommandSecret(command)


def words_of(command: str) -> list[str]:
    """The command's words; ``~`` at the beginning of the first is the home folder. Raises ``BadInput``."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise BadInput("exec: must be followed by a command; its quotes must be closed", field="api_key")
    return [os.path.expanduser(words[0]), *words[1:]]


def _output(words: list[str], seconds: float) -> bytes:
    """What the command prints. Raises ``NotReady``, whose text continues "which runs COMMAND, "."""
    try:
        process = subprocess.Popen(  # noqa: S603  # the person's own configuration says it; there is no shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise NotReady(f"which cannot be run: {error.strerror}") from None
    assert process.stdout is not None
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        data = process.stdout.read(_MOST + 1)
        if len(data) > _MOST:
            raise NotReady(f"which printed more than {_MOST:,} bytes: it must print a token, or JSON with one")
        status = process.wait()
    finally:
        timer.cancel()
        process.stdout.close()
        if process.poll() is None:
            _kill(process)
            process.wait()
    if late.is_set():
        raise NotReady(f"which did not end within {seconds:g} s: try it in a shell")
    if status:
        raise NotReady(f"which ended with status {status}: try it in a shell")
    return data


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With what it has started, which may hold its output open."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _token(output: bytes, now: float) -> Token:
    """The token in what a command printed. Raises ``NotReady``."""
    try:
        text = output.decode().strip()
    except UnicodeDecodeError:
        raise NotReady("which did not print text") from None
    if not text.startswith("{"):
        if not text or len(text.split()) != 1:
            raise NotReady("which must print a token alone on one line, or JSON with one")
        return Token(text, inf, inf)
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise NotReady("which printed something that begins like JSON and is none") from None
    return _in_json(fields, now)


def _in_json(fields: Mapping[str, Any], now: float) -> Token:
    inner = next((fields[name] for name in _PLACES if isinstance(fields.get(name), dict)), fields)
    value = next((inner[name] for name in _TOKENS if inner.get(name)), None)
    if value is None and "SecretAccessKey" in inner:  # AWS's credential_process
        raise NotReady(
            "which printed AWS's access keys: they sign requests, and no backend here is signed for; "
            "print a token, such as an API key of Amazon Bedrock"
        )
    if not isinstance(value, str) or len(value.split()) != 1:
        raise NotReady(f"which printed JSON without a token: it must have {', '.join(_TOKENS[:-1])} or {_TOKENS[-1]}")
    end = _expiry(inner, now)
    if end <= now:
        raise NotReady("which printed a token that has expired")
    lifetime = end - now
    return Token(value.strip(), end - min(_EARLY, lifetime / 3), end - min(_LAST, lifetime / 10))


def _expiry(fields: Mapping[str, Any], now: float) -> float:
    """The moment when the token expires; never where that is not said. Raises ``NotReady``."""
    seconds = fields.get("expires_in")
    if seconds is not None:
        return now + _number(seconds, "expires_in")
    name = next((name for name in _EXPIRIES if fields.get(name) is not None), "")
    if not name:
        return inf
    value = fields[name]
    if isinstance(value, str) and not value.strip().replace(".", "", 1).isdigit():
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise NotReady(f"whose {name} is not a date and time with a time zone, such as 2030-01-31T12:00:00Z")
        return moment.timestamp()
    return _number(value, name)


def _number(value: object, name: str) -> float:
    """Seconds. Raises ``NotReady``."""
    if not isinstance(value, bool) and isinstance(value, (int, float, str)):
        with contextlib.suppress(ValueError):
            return float(value)
    raise NotReady(f"whose {name} is not a number of seconds")
