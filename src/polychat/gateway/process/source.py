"""The source of a gateway's configuration, which is read at the start and at each SIGHUP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ... import config
from ...config.settings import State
from ...errors import PolychatError
from ...http.server.listening import check
from ..storage import has_database


class EventLog(Protocol):
    def event(self, message: str, **facts: Any) -> None: ...


@dataclass(frozen=True)
class ConfigSource:
    """Where the configuration comes from."""

    file: Path | None = None
    """``None`` for ``./polychat.toml``, which is not trusted with keys, else the person's own file."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the command line, which override the file's ``[gateway]``."""

    def read(self) -> config.Config:
        """The file's settings; the usual database is used where it exists, also if the file does not name it.

        Raises ``BadInput`` if the file cannot be read, or if the gateway would be open to other machines without keys.
        """
        from_file = config.load_here() if self.file is None else config.read(self.file)
        settings = dict(self.given)
        if "uds" not in settings and {"host", "port"} & settings.keys():
            settings["uds"] = ""  # the file's socket is not where the command line wants to listen
        if from_file.gateway.state is None and has_database():
            settings["state"] = State()  # somebody made a key there
        configured = replace(from_file, gateway=from_file.gateway.replace(**settings))
        check(configured.gateway)
        return configured


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
