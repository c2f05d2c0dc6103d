"""Where a command finds the gateway that it talks to, and with which key."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from .. import config
from ..config.settings import GatewaySettings
from ..errors import BadInput


def configured_here(file: str | None) -> config.Config:
    """The configuration of ``file``, or the one that ``polychat serve`` uses here."""
    return config.load_here() if file is None else config.read(Path(file))


def gateway_url(gateway: GatewaySettings, url: str | None) -> str:
    """The origin of ``url``, or of where the gateway listens. Raises ``BadInput`` for what is no such URL, and for a socket."""
    if gateway.uds and not url:
        raise BadInput("the gateway listens on a Unix socket (gateway.uds): pass the URL of its proxy as --url", field="url")
    host = "127.0.0.1" if gateway.host in ("0.0.0.0", "::") else gateway.host  # noqa: S104  # where it listens
    scheme = "https" if gateway.tls_cert else "http"
    url = url or f"{scheme}://{f'[{host}]' if ':' in host else host}:{gateway.port or 8000}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise BadInput("--url must be a URL without a user, such as http://127.0.0.1:8000", field="url")
    return f"{parts.scheme}://{parts.netloc}"
