"""How TLS is verified: against the system's CAs, or those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name."""

from __future__ import annotations

import os
import ssl
from functools import cache


def named_tls() -> ssl.SSLContext | None:
    """The context for the CAs that the environment names; ``None`` if it names none."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    return _context(file, folder) if file or folder else None


def tls() -> ssl.SSLContext:
    """The context for those, or for the system's CAs."""
    return named_tls() or _context(None, None)


@cache
def _context(file: str | None, folder: str | None) -> ssl.SSLContext:
    """One context for each value of the environment, which OpenSSL reads itself: making one costs as much as many requests."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
