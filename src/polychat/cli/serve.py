"""``polychat serve``."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

OVER = ("host", "port", "workers", "uds", "tls_cert", "tls_key")
"""Arguments that go over the file's ``[gateway]``."""


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 when all that ran has ended."""
    from ..gateway.source import Source

    given = {name: getattr(arguments, name) for name in OVER if getattr(arguments, name) is not None}
    source = Source(Path(arguments.config) if arguments.config else None, given)
    configured = source.read()
    if configured.gateway.workers > 1:
        from ..gateway.workers import supervise

        return supervise(source, configured)
    gc.disable()  # until all is loaded: collections amid it find nothing
    from ..gateway.app import Gateway
    from ..gateway.serving import serve

    return serve(source, configured, Gateway)
