"""Certificates of a CA that is made for the test run."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

import trustme


@cache
def authority() -> trustme.CA:
    """The tests' own CA, which nobody trusts by default."""
    return trustme.CA()


def server_context(*names: str) -> ssl.SSLContext:
    """What a server with a certificate of that CA for these names (or addresses) needs; by default for loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
    return context


def ca_file(folder: Path) -> Path:
    """The CA's certificate as a file, for ``SSL_CERT_FILE``."""
    path = folder / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return path
