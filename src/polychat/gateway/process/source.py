"""The source of a gateway's configuration, which is read at the start and at each SIGHUP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ... import config
from ...config.settings import State
from ...errors import BadInput, PolychatError
from ...http.server.listening import check
from ..storage import has_database
from . import last_good
from .checking import check_start

_MOMENT = 1.0
"""Seconds after which a file that was read is taken to be written to its end, if it is the same."""


class EventLog(Protocol):
    def event(self, message: str, **facts: Any) -> None: ...


@dataclass
class ConfigSource:
    """Where the configuration comes from."""

    file: Path | None = None
    """``None`` for ``./polychat.toml``, which is not trusted with keys, else the person's own file."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the command line, which override the file's ``[gateway]``."""
    keeps_last_good: bool = False
    """Whether the text of a file that the gateway serves by is kept, for a start at which the file is bad."""
    _latest: tuple[config.Config, Path, str] | None = field(default=None, init=False, repr=False)
    """What was read last, with its file and its text."""
    _had_text: bool = field(default=False, init=False, repr=False)
    """Whether there was anything in the file that the gateway serves by."""
    _unsettled: tuple[Callable[[], None], asyncio.TimerHandle] | None = field(default=None, init=False, repr=False)
    """Keeps the text that the gateway serves by; ``None`` where that was done."""

    def read(self) -> config.Config:
        """The file's settings; the usual database is used where it exists, also if the file does not name it.

        Raises ``BadInput`` if the file cannot be read, or if the gateway would be open to other machines without keys; and
        if it is empty or gone where it was not before, as while an editor writes it.
        """
        place = self._place()
        text = "" if place is None else config.text_of(place)
        if self._had_text and not text.strip():
            state = "the configuration file is gone" if place is None else f"{place} is empty"
            raise BadInput(f"{state}, and had settings before; one with just a comment is taken", field="config")
        if place is None:
            return self._overridden(config.Config())
        configured = self._parsed(text, place)
        self._latest, self._had_text = (configured, place, text), bool(text.strip())
        return configured

    def start(self) -> tuple[config.Config, str]:
        """What to serve by, and why it is the last good configuration and not the file; empty where it is the file.

        Raises ``PolychatError`` if neither can be served.
        """
        if not self.keeps_last_good:
            return self.read(), ""
        try:
            configured = self.read()
            check_start(configured)
        except PolychatError as error:
            return self._last_good(error), str(error)
        return configured, ""

    def keep(self, configured: config.Config, log: EventLog) -> None:
        """The gateway serves by ``configured``, as read from the file: ``settle`` it in a moment, if that is asked for."""
        if not self.keeps_last_good or self._latest is None or self._latest[0] is not configured:
            return
        if self._unsettled is not None:
            self._unsettled[1].cancel()
        _, place, text = self._latest
        self._unsettled = partial(_keep, place, text, log), asyncio.get_running_loop().call_later(_MOMENT, self.settle)

    def settle(self) -> None:
        """Keep what the gateway serves by, if it is not kept yet and the file has not changed: also called when it ends."""
        if self._unsettled is not None:
            (keep, timer), self._unsettled = self._unsettled, None
            timer.cancel()
            keep()

    def _last_good(self, error: PolychatError) -> config.Config:
        place = self._place()
        text = None if place is None else last_good.kept_text(place)
        if place is None or text is None:
            raise error
        try:
            configured = self._parsed(text, place)
            check_start(configured)
        except PolychatError as other:
            raise BadInput(
                f"{error}; and the last good configuration cannot be served either: {other}", field="config"
            ) from None
        self._had_text = True
        return configured

    def _place(self) -> Path | None:
        return config.file_here() if self.file is None else self.file

    def _parsed(self, text: str, place: Path) -> config.Config:
        from_file = config.parsed(text, place)
        is_foreign = self.file is None and config.is_in_folder()
        return self._overridden(replace(from_file, from_folder=True) if is_foreign else from_file)

    def _overridden(self, from_file: config.Config) -> config.Config:
        settings = dict(self.given)
        if "uds" not in settings and {"host", "port"} & settings.keys():
            settings["uds"] = ""  # the file's socket is not where the command line wants to listen
        if from_file.gateway.state is None and has_database():
            settings["state"] = State()  # somebody made a key there
        configured = replace(from_file, gateway=from_file.gateway.replace(**settings))
        check(configured.gateway)
        return configured


def _keep(place: Path, text: str, log: EventLog) -> None:
    """Keep the text, unless the file has another one by now.

    A file that was read while it was written may end where a table ends: it is valid, and not what somebody wrote.
    """
    try:
        if config.text_of(place) == text:
            last_good.keep(place, text)
        else:
            log.event("the configuration file has changed since it was read; what was read is not kept", file=str(place))
    except (OSError, PolychatError) as error:
        reason = error.strerror or "" if isinstance(error, OSError) else str(error)
        log.event("the configuration could not be kept", file=str(last_good.place_of(place)), error=reason)


def signals(stop: Callable[[], None], reread: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT, ``reread`` on SIGHUP, where the platform has these signals.

    A SIGHUP that arrived while it was blocked is handled now.
    """
    loop = asyncio.get_running_loop()
    for name, call in (("SIGTERM", stop), ("SIGINT", stop), ("SIGHUP", reread)):
        with suppress(NotImplementedError, AttributeError):
            loop.add_signal_handler(getattr(signal, name), call)
    with suppress(AttributeError):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


_AT_START = ("host", "port", "workers", "uds", "tls_cert", "tls_key", "state")


def later(before: config.Config, after: config.Config) -> dict[str, str]:
    """The settings that differ and take effect only at the next start, as facts for the log."""
    changed = [name for name in _AT_START if getattr(before.gateway, name) != getattr(after.gateway, name)]
    return {"at_the_next_start": ", ".join(changed)} if changed else {}


def stays(log: EventLog, error: PolychatError) -> None:
    """Log why the configuration was not reloaded."""
    log.event("configuration not reloaded; the previous one stays in force", error=str(error))


def begin(source: ConfigSource, configured: config.Config, log: EventLog, refused: str) -> None:
    """It serves: keep the file's text, or log why the last good configuration is in force."""
    if refused:
        log.event("configuration file refused; the last good one is in force", error=refused)
    else:
        source.keep(configured, log)
