"""Proxies: the parts of their URLs, and which proxy a request uses."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from ..config.environment import variable
from ..errors import BadInput, MissingPackage

if TYPE_CHECKING:
    from socket import socket

    from aiohttp import TCPConnector

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_ALSO = {"socks": "socks5h"}
"""Desktops set ``all_proxy=socks://…`` and mean SOCKS5; the proxy resolves names, as for browsers there."""
_SHAPE = "a URL like http://user:password@host:port, with http, https, socks5 or socks5h before the colon"


@dataclass(slots=True, frozen=True)
class Proxy:
    """One proxy. ``str`` shows no credentials."""

    scheme: str
    host: str
    port: int
    user: bytes | None = field(default=None, repr=False)
    password: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        return self.url

    @property
    def url(self) -> str:
        """Its URL, without credentials."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def headers(self) -> dict[str, str]:
        """The headers with our credentials for an HTTP proxy."""
        if self.user is None:
            return {}
        return {"Proxy-Authorization": f"Basic {base64.b64encode(self.user + b':' + self.password).decode()}"}


def proxy_of(url: object, name: str = "proxy") -> Proxy:
    """The parts of a proxy's URL. Raises ``BadInput`` that names the field and shows nothing of the URL and its password."""
    proxy = _parsed(url) if isinstance(url, str) else None
    if proxy is None:
        raise BadInput(f"{name} must be {_SHAPE}", field=name)
    if proxy.is_socks and proxy.user is not None and not (_fits_socks(proxy.user) and _fits_socks(proxy.password)):
        raise BadInput(
            f"{name} names a SOCKS proxy: its user and password must have 1 to 255 ASCII characters each", field=name
        )
    return proxy


def _fits_socks(word: bytes) -> bool:
    """SOCKS5 stores the length of user and password in one byte; the encoding of non-ASCII text is not defined."""
    return 0 < len(word) <= 255 and word.isascii()


def _parsed(url: str) -> Proxy | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None  # its message shows the port, which is the password if the URL lacks an "@"
    scheme = _ALSO.get(parts.scheme, parts.scheme)
    if scheme not in _PORTS or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        return None
    if any(ord(letter) <= 0x20 for letter in url):
        return None
    user = None if parts.username is None else unquote_to_bytes(parts.username)
    return Proxy(scheme, host, port or _PORTS[scheme], user, unquote_to_bytes(parts.password or ""))


class Proxies:
    """The proxy of a request: its scheme's, else that of ``all``, else ``proxy``; ``None`` is no proxy.

    The environment (``HTTP_PROXY`` and the like) is not read: a proxy is used only if the caller passes one.
    """

    def __init__(self, proxy: str | None, proxies: Mapping[str, str | None] | None) -> None:
        for name in proxies or {}:
            if name not in ("http", "https", "all"):
                raise BadInput("proxies has an unknown key; it maps http, https or all to the URL of a proxy", field="proxies")
        every = proxy_of(proxy) if proxy else None
        by_scheme = {name: proxy_of(url, "proxies") for name, url in (proxies or {}).items() if url}
        every = by_scheme.get("all", every)
        self._by_scheme = {scheme: by_scheme.get(scheme, every) for scheme in ("http", "https")}
        if any(proxy is not None and proxy.is_socks for proxy in self._by_scheme.values()):
            _aiohttp_socks()

    def of(self, scheme: str) -> Proxy | None:
        return self._by_scheme[scheme]


def socks_connector(proxy: Proxy) -> TCPConnector:
    """aiohttp's connector for a SOCKS5 proxy."""
    connector: TCPConnector = _aiohttp_socks().ProxyConnector(**_socks_options(proxy), limit=0)
    return connector


async def socks_socket(proxy: Proxy, host: str, port: int) -> socket:
    """A connection through a SOCKS5 proxy to ``host``. Raises ``OSError``, ``MissingPackage``. The caller sets timeouts."""
    try:
        from python_socks import ProxyError, ProxyType
        from python_socks.async_.asyncio import Proxy as Socks
    except ImportError:
        raise _no_socks("python-socks") from None
    through = Socks(ProxyType.SOCKS5, **_socks_options(proxy))
    try:
        return await through.connect(host, port, timeout=_A_DAY)
    except ProxyError as error:
        refused = ConnectionRefusedError(str(error))
    raise refused


_A_DAY = 86_400.0


def _socks_options(proxy: Proxy) -> dict[str, Any]:
    """Options by python-socks' names. Names are resolved by the proxy for ``socks5h``, locally for ``socks5``."""
    return {
        "host": proxy.host,
        "port": proxy.port,
        "username": None if proxy.user is None else proxy.user.decode(),
        "password": proxy.password.decode(),
        "rdns": proxy.scheme == "socks5h",
    }


def socks_errors() -> tuple[type[Exception], ...]:
    """Exceptions of a SOCKS connection besides ``OSError``."""
    socks = _aiohttp_socks()
    return (socks.ProxyConnectionError, socks.ProxyError, socks.ProxyTimeoutError, EOFError)


def _aiohttp_socks() -> ModuleType:
    try:
        import aiohttp_socks
    except ImportError:
        raise _no_socks("aiohttp-socks") from None
    return aiohttp_socks


def _no_socks(package: str) -> MissingPackage:
    return MissingPackage(package, extra="socks", purpose="a SOCKS proxy")


_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
PROXY_VARIABLES = (*_VARIABLES, *(name.upper() for name in _VARIABLES), "REQUEST_METHOD")
"""All variables that ``environment_proxy`` reads."""


def environment_proxy(url: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The proxy that ``https_proxy`` or ``http_proxy`` (by the URL's scheme) or ``all_proxy`` names, or these in capitals.

    ``None`` for loopback, as in Go, and for entries of ``no_proxy``: hosts with their subdomains, addresses, networks
    (``10.0.0.0/8``), each with or without a port, or ``*``.
    """
    value_of = variable if environment is None else partial(_value_in, environment)
    scheme = url.partition(":")[0].lower()
    proxy = _variable(value_of, f"{scheme}_proxy") or _variable(value_of, "all_proxy")
    if not proxy:
        return None
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(scheme, 0)
    except ValueError:
        return None  # the request will fail with the reason
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return None
    entries = _variable(value_of, "no_proxy").replace(",", " ").split()
    if any(_is_exempt(entry.lower(), host, port) for entry in entries):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _value_in(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, "")


def _variable(value_of: Callable[[str], str], name: str) -> str:
    if name == "http_proxy" and value_of("REQUEST_METHOD"):
        return value_of(name)  # under CGI, HTTP_PROXY is a header that a visitor sent
    return value_of(name) or value_of(name.upper())


def _is_exempt(entry: str, host: str, port: int) -> bool:
    name, colon, its_port = entry.rpartition(":")
    if colon and its_port.isdigit() and (":" not in name or name.endswith("]")):
        if int(its_port) != port:
            return False
        entry = name
    address, entry = _address(host), entry.strip("[]")
    if address is not None:
        try:
            return entry == "*" or address in ip_network(entry, strict=False)
        except ValueError:
            return False
    name = entry.removeprefix("*").lstrip(".")
    return entry == "*" or (bool(name) and (host == name or host.endswith(f".{name}")))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
