"""Where a server listens: addresses, a Unix socket, TLS, and the check of unsafe settings."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...config import Config
from ...config.decoding import misfit
from ...config.settings import GatewaySettings
from ...errors import BadInput
from .handover import share_port, take_share

BACKLOG = 2048


def check(settings: GatewaySettings) -> None:
    """Raises ``BadInput`` for invalid settings, and if other machines could connect without a key."""
    for name in ("port", "workers"):
        if fault := misfit(GatewaySettings, name, getattr(settings, name)):
            raise BadInput(f"gateway.{name} {fault}", field=f"gateway.{name}")
    if settings.reuse_port and settings.uds:
        raise BadInput(
            "gateway.reuse_port shares a port, and a Unix socket has none: leave one of them out", field="gateway.uds"
        )
    has_keys = settings.keys or settings.state is not None or settings.signed_keys is not None
    if settings.uds or has_keys or is_loopback(settings.host):
        return
    raise BadInput(
        f"gateway.host is {settings.host!r}, which other machines can reach, but gateway.keys is empty: add a "
        'key to polychat.toml ([gateway.keys] me = "env:MY_GATEWAY_KEY"), keep keys in a database ([gateway.state]), or '
        "listen on 127.0.0.1",
        field="gateway.host",
    )


def is_loopback(host: str) -> bool:
    # Any other name may resolve to a different address tomorrow.
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(settings: GatewaySettings) -> list[socket.socket]:
    """Sockets that listen from now on. Raises ``BadInput``."""
    if settings.uds:
        return [_unix(Path(settings.uds))]
    listeners: list[socket.socket] = []
    try:
        for family, address in _addresses(settings.host, settings.port):
            # The second address of a name gets the port that was chosen for the first.
            port = listeners[0].getsockname()[1] if listeners else address[1]
            listeners.append(_bound(family, (address[0], port, *address[2:]), shared=settings.reuse_port))
    except OSError as error:
        for listener in listeners:
            listener.close()
        hint = "another process uses it; choose another --port" if error.errno == errno.EADDRINUSE else error.strerror
        raise BadInput(f"cannot listen on {settings.host} port {settings.port}: {hint}", field="gateway.port") from None
    return listeners


def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    name = "127.0.0.1" if host == "localhost" else host
    try:
        entries = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise BadInput(f"gateway.host is {host!r}, which is not an address of this machine", field="gateway.host") from None
    return list(dict.fromkeys((int(family), tuple(address)) for family, _, _, _, address in entries))


def _bound(family: int, address: tuple[Any, ...], *, shared: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            share_port(listener)
        listener.bind(address)
        listener.listen(BACKLOG)  # clients that connect from now on wait and are not refused
        if shared:
            take_share(listener)
    except OSError:
        listener.close()
        raise
    return listener


def _unix(path: Path) -> socket.socket:
    """Only its owner may connect. A socket that a killed server left is removed, and nothing else."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # from its creation on, not by a chmod after it
    try:
        _clear(path)
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise BadInput(f"cannot listen on {path}: {error.strerror or error}", field="gateway.uds") from None
    finally:
        os.umask(mask)
    return listener


def _clear(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "a file exists there that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another process uses it")


def unlisten(settings: GatewaySettings, listeners: Sequence[socket.socket]) -> None:
    """Close them, and remove the Unix socket's file if it is still ours."""
    for listener in listeners:
        listener.close()
    if settings.uds:
        Path(settings.uds).unlink(missing_ok=True)


def encrypting(settings: GatewaySettings) -> ssl.SSLContext | None:
    """The TLS of the settings. Raises ``BadInput``."""
    if not settings.tls_cert and not settings.tls_key:
        return None
    if not (settings.tls_cert and settings.tls_key):
        raise BadInput("TLS requires both gateway.tls_cert and gateway.tls_key", field="gateway.tls_key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    renew(context, settings)
    return context


def renew(context: ssl.SSLContext, settings: GatewaySettings) -> None:
    """New connections get the certificate that is in the files now. Raises ``BadInput``."""
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BadInput(
            f"gateway.tls_cert {settings.tls_cert} and gateway.tls_key {settings.tls_key} are not a certificate "
            f"and its key (PEM, without a password): {error.strerror if isinstance(error, OSError) else error}",
            field="gateway.tls_cert",
        ) from None


def _no_password() -> str:
    raise ValueError("the key has a password")


def open_files() -> None:
    """Raise the limit of open files as far as the system allows; the usual limit of a shell is a thousand."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def announce(configured: Config, listeners: Sequence[socket.socket]) -> None:
    """Print on standard output that the server is ready; in one write, because other processes may write there too."""
    sys.stdout.write(f"{startup_line(configured, listeners)}\n")
    sys.stdout.flush()
    _notify(b"READY=1")


def _notify(message: bytes) -> None:
    """Tell systemd, where it started this process with ``Type=notify``."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(message, "\0" + place[1:] if place.startswith("@") else place)


def startup_line(configured: Config, listeners: Sequence[socket.socket]) -> str:
    """The line that reports that the server is ready: ``listening on ADDRESS[, ADDRESS]; models: …[; configuration: FILE]``."""
    scheme = "https" if configured.gateway.tls_cert else "http"
    places = ", ".join(_place(scheme, listener) for listener in listeners)
    own = [*configured.routes, *configured.aliases, *(f"{name}/…" for name in configured.providers)]
    shown = [*own[:12], f"{len(own) - 12} more"] if len(own) > 12 else own
    file = f"; configuration: {configured.file}" if configured.file is not None else ""
    return f"listening on {places}; models: {', '.join([*shown, 'any provider/model'])}{file}"


def _place(scheme: str, listener: socket.socket) -> str:
    name = listener.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host, port = name[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
