"""Converts errors of aiohttp, and of the layers below it, to polychat's errors, without secrets that they may contain."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from dataclasses import dataclass

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from ..errors import (
    BackendError,
    BadInput,
    BadReply,
    CertificateRefused,
    ConnectionFailed,
    NotReady,
    PolychatError,
    ProxyFailed,
    TimedOut,
    Truncated,
    WrongAddress,
    redact,
)
from .proxy import Proxy

FOREIGN: tuple[type[Exception], ...] = (aiohttp.ClientError, HttpProcessingError, OSError, RuntimeError, ValueError)
"""Exceptions of sending a request or reading its reply. ``ValueError``: a value that cannot be written into a head."""


@dataclass(slots=True, frozen=True)
class FailedRequest:
    """The state of a request when it failed."""

    url: URL
    proxy: Proxy | None
    connected: bool
    at_proxy: bool = False
    """Whether it failed between us and the proxy, if that is known."""


def failure_of(error: Exception, place: FailedRequest) -> PolychatError:
    """The polychat error for a request that failed before its reply began; its cause is the error below aiohttp's.

    The caller raises it outside its ``except``: aiohttp's errors contain whole requests with their credentials, and must not be
    attached as context.
    """
    if isinstance(error, PolychatError) and not place.at_proxy:
        return error
    failure = _failure_of(error, place)
    failure.__cause__ = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    return failure


def _failure_of(error: Exception, place: FailedRequest) -> PolychatError:
    if _number_of(error) in (errno.EMFILE, errno.ENFILE):
        return NotReady("cannot open a connection: the process has reached its limit of open files; raise it (ulimit -n)")
    if (certificate := _certificate_error(error)) is not None:
        return _refused(certificate, error, place)
    if place.proxy is not None and not place.connected:
        return _proxy_failed(error, place.proxy, place.url)
    if isinstance(error, (aiohttp.ClientResponseError, HttpProcessingError)):
        return BadReply(f"{place.url.host} did not send HTTP: {redact(_reason_of(error))}")
    if isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
        return BadInput("url is not valid: its host is neither a name nor an IP address", field="url")
    if isinstance(error, ValueError) and not isinstance(error, (aiohttp.ClientError, OSError)):
        return BadInput(f"the request cannot be sent: {redact(str(error))}", field="headers")
    kind = WrongAddress if not place.connected and _is_misaddressed(error) else ConnectionFailed
    return kind(_no_connection(error, place))


_UNKNOWN_HOST = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""OpenSSL's reasons if the server does not speak TLS."""


def _is_misaddressed(error: Exception) -> bool:
    """Whether retrying this URL would not help, as it may after a DNS timeout or an interrupted handshake."""
    below = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(below, socket.gaierror):
        return below.errno in _UNKNOWN_HOST
    return isinstance(below, ssl.SSLError) and below.reason in _NO_TLS


def _number_of(error: BaseException) -> int | None:
    below = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return below.errno if isinstance(below, OSError) else None


def _shared_number(error: BaseException) -> int | None:
    """The number that the attempts at all addresses of a host failed with, such as ``localhost``'s two."""
    numbers = set(re.findall(r"\[Errno (\d{1,4})\]", str(error)[:1000]))
    return int(numbers.pop()) if len(numbers) == 1 else None


def _no_connection(error: Exception, place: FailedRequest) -> str:
    address = f"{place.url.host}:{place.url.port}"
    if place.connected:
        return f"{address} closed the connection before replying"
    below = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(below, socket.gaierror) or isinstance(error, aiohttp.ClientConnectorDNSError):
        reason = below.strerror.lower() if isinstance(below, OSError) and below.strerror else str(below)
        return f"cannot resolve {place.url.host}: {redact(reason)}"
    if isinstance(error, ssl.SSLError):
        return f"TLS handshake with {address} failed: {redact(error.strerror or str(error))}; does it use https at all?"
    number = _number_of(error) or _shared_number(below)
    reason = _reason_of(error) if number is None or number <= 0 else os.strerror(number).lower()
    question = ". Is the server running?" if number == errno.ECONNREFUSED else ""
    return f"cannot connect to {address}: {redact(reason)}{question}"


def _certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The certificate error, at any depth: for TLS in TLS, Python 3.11 fails on it and raises a ``TypeError``."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, aiohttp.ClientConnectorCertificateError):
            link = link.certificate_error
        elif isinstance(link, ssl.SSLCertVerificationError):
            return link
        else:
            link = link.__cause__ or link.__context__
    return None


def _refused(certificate: ssl.SSLCertVerificationError, error: Exception, place: FailedRequest) -> ConnectionFailed:
    why = redact(certificate.verify_message)
    proxy = place.proxy
    if proxy is not None and (place.at_proxy or _is_of_proxy(error, proxy)):
        return ProxyFailed(f"the TLS certificate of the proxy {proxy} is not valid: {why}; nothing was sent")
    return CertificateRefused(
        f"the TLS certificate of {place.url.host} is not valid: {why}; nothing was sent. If the server is "
        "your own, or a proxy that you trust inspects TLS, name its CA's PEM file in SSL_CERT_FILE; "
        "otherwise do not use it"
    )


def _is_of_proxy(error: Exception, proxy: Proxy) -> bool:
    return isinstance(error, aiohttp.ClientConnectorError) and (error.host, error.port) == (proxy.host, proxy.port)


def _proxy_failed(error: Exception, proxy: Proxy, url: URL) -> ProxyFailed:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_answered(error.status, proxy, url)
    if isinstance(error, (aiohttp.ClientResponseError, HttpProcessingError, BadReply)):
        return ProxyFailed(f"the proxy {proxy} did not send HTTP: check that it is a proxy of this kind")
    return ProxyFailed(f"cannot connect through the proxy {proxy} to {url.host}:{url.port}: {redact(_reason_of(error))}")


def proxy_answered(status: int, proxy: Proxy, url: URL) -> ProxyFailed:
    """The proxy's own error response."""
    if status == 407:
        what = "requires a user and a password" if proxy.user is None else "rejected the user and password"
        return ProxyFailed(f"the proxy {proxy} {what}: http://user:password@host:port", status=status)
    return ProxyFailed(f"the proxy {proxy} did not connect to {url.host}:{url.port}: it answered {status}", status=status)


def _reason_of(error: Exception) -> str:
    """An error's own reason, without the request it belongs to."""
    match error:
        case aiohttp.ClientConnectorError():
            return str(error.os_error)
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return error.message
    return str(error) or type(error).__name__


def loss_of(error: Exception) -> BackendError:
    """The polychat error for a reply that failed midway: ``TimedOut``, or ``Truncated`` with the kind of failure."""
    if isinstance(error, TimedOut):
        return error
    return Truncated(f"the reply ended early: {_kind(error)}")


def _kind(error: Exception) -> str:
    below = error.__cause__
    if isinstance(below, HttpProcessingError) and not below.message.startswith("Not enough data"):
        return redact(below.message)
    return "the connection was lost"
