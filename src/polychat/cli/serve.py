"""``polychat serve``."""

from __future__ import annotations

import argparse
import gc
import signal
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ..errors import MissingPackage
from . import complain

OVERRIDES = ("host", "port", "workers", "uds", "tls_cert", "tls_key")
"""Arguments that override the file's ``[gateway]``."""


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 when all that ran has ended."""
    with _hangups_held():
        return _run(arguments)


@contextmanager
def _hangups_held() -> Generator[None]:
    """SIGHUP, whose default is to end the process, waits until the server runs and can reload the configuration."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(arguments: argparse.Namespace) -> int:
    from ..gateway.process.source import ConfigSource

    require()
    overrides = {name: getattr(arguments, name) for name in OVERRIDES if getattr(arguments, name) is not None}
    source = ConfigSource(Path(arguments.config) if arguments.config else None, overrides, arguments.keep_last_good)
    configured, refused = source.start()
    if refused:
        complain(f"{refused}; serving by the last good configuration (see polychat config last-good)", "warning")
    if configured.gateway.workers > 1:
        from ..gateway.process.workers import supervise

        return supervise(source, configured, refused=refused)
    gc.disable()  # until all is loaded: collections meanwhile find nothing
    from ..gateway.app import Gateway
    from ..gateway.process.serving import serve

    return serve(source, configured, Gateway, refused)


def require() -> None:
    """Raises ``MissingPackage`` where a package of the extra ``gateway`` is not installed; loads none of them."""
    for name in ("starlette", "prometheus_client"):
        if find_spec(name) is None:
            raise MissingPackage(name.replace("_", "-"), extra="gateway", purpose="polychat serve")
