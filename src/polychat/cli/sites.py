"""``polychat sites``."""

from __future__ import annotations

import argparse
import ipaddress
import socket

from ..backends.registry import user_registry
from ..config.settings import GatewaySettings as Settings
from ..errors import BadInput
from . import ANSWERED

GRACE = 5.0
"""Seconds that running streams are given to end."""


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; streams that run are let finish for a short while."""
    from ..gateway.admission.sites import Standalone
    from ..gateway.process.serving import Server, running
    from ..gateway.process.source import signals
    from ..gateway.sites import Sites, echo, services, target
    from ..http.server.listening import open_files

    app = Sites(echo if arguments.echo else target(arguments.model, user_registry()), services(arguments.era))
    settings = Settings(grace=GRACE)
    open_files()

    async def serve(listener: socket.socket) -> None:
        server = Server(Standalone(app, settings.limits), settings)
        signals(server.stop, lambda: None)
        await server.serve([listener])

    with _listening(arguments.host, arguments.port) as listener:
        host, port = listener.getsockname()[:2]
        print(f"answered by {'echo' if arguments.echo else arguments.model}; Ctrl-C ends it. Use as --base-url:")
        for name in app.sites:
            print(f"  http://{f'[{host}]' if ':' in host else host}:{port}/{name}", flush=True)
        running(serve(listener))
    return ANSWERED


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise BadInput(f"--port is {port}; it must be a number from 0 to 65535", field="port")
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise BadInput(f"--host is {host!r}; it must be an IP address such as 127.0.0.1", field="host") from None
    if not address.is_loopback:
        raise BadInput(
            f"--host is {host}; it must be a loopback address such as 127.0.0.1, as these sites have no keys", field="host"
        )
    listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
        listener.listen(128)  # from here on who connects is kept waiting, not refused
    except OSError as error:
        listener.close()
        raise BadInput(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port", field="port") from None
    return listener
