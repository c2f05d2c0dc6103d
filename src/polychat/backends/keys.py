"""A vendor's address and key: the only module that reads its row and the environment for both.

A row from a file that was found in the current folder, and not named by the user, sends no secret anywhere: a key goes only to
an address that the built-in row, the environment or the person's own configuration names, and such a file names no secret.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..config.addresses import address_fault
from ..config.environment import Variables
from ..config.environment import variable as set_to
from ..config.vendor_spec import VendorSpec
from ..errors import BadInput, NotReady, PolychatError
from ..http.proxy import PROXY_VARIABLES, environment_proxy
from ..user.command_secret import command_secret
from ..user.secrets import secret
from ..user.vendor_keys import KEYRING, kept_key, kept_keys, key_file, key_file_stamp
from .builtin import known

if TYPE_CHECKING:
    from ..http.pool.connection import PoolConnection
    from ..http.pool.pool import PooledResponse

_SECRETS = ("api_key", "key", "params", "host_env")
"""Members of a table that say where a secret or an environment variable is."""
_ADDRESSES = ("base_url", "models")
_URLS = 256
"""Maximum number of a vendor's URLs whose proxies are kept: some wires have the model's name in theirs."""


class _EndpointState:
    """The result for one vendor while ``state`` is unchanged."""

    __slots__ = ("address", "headers", "proxies", "state")

    def __init__(self, state: object) -> None:
        self.state = state
        self.address: str | None = None
        self.headers: Mapping[str, str] | None = None
        self.proxies: dict[str, str | None] = {}


class VendorEndpoint:
    """One vendor's address, the headers with its key, and the proxy on the way there.

    They are kept until a variable that they depend on changes, or the file with the key. ``fixed``: they are kept
    permanently; a gateway makes new ones when it reloads its configuration.
    """

    __slots__ = ("_fixed", "_key_file", "_keys", "_last", "_last_without_key", "_may_be_kept", "_row", "_variables", "command")

    def __init__(self, row: VendorSpec, *, fixed: bool) -> None:
        self._row, self._fixed = row, fixed and not row.api_key.startswith("exec:")
        self._variables = Variables(_variables_of(row))
        self._keys, self._may_be_kept = 2 + len(row.key), bool(row.key) and not row.api_key
        kind, _, name = row.api_key.partition(":")
        self._key_file = os.path.expanduser(name) if kind == "file" else ""
        self.command = command_secret(name) if kind == "exec" else None
        """The command that gives the key, if one does; any other key needs no renewal."""
        self._last = self._last_without_key = _EndpointState(None)

    def address(self) -> str:
        """The base URL. Raises ``NotReady`` if a part of it is not set."""
        resolved = self.current()
        if resolved.address is None:
            resolved.address = address(self._row)
        return resolved.address

    def headers(self, api_key: str | None = None) -> Mapping[str, str]:
        """The headers of every request, with the caller's key or the configured one. Raises ``NotReady`` and ``BadInput``."""
        if api_key is not None:
            return self._headers(api_key)
        resolved = self.current()
        if resolved.headers is None:
            resolved.headers = self._headers(None)
        return resolved.headers

    def proxy(self, url: str) -> str | None:
        """The proxy that the environment names for ``url``."""
        proxies = self.current().proxies
        try:
            return proxies[url]
        except KeyError:
            if len(proxies) >= _URLS:
                proxies.clear()
            proxy = proxies[url] = environment_proxy(url)
            return proxy

    def current_without_key(self) -> _EndpointState:
        """As ``current``, for requests with a key of the caller: no file or command that gives one is looked at."""
        if self._fixed or self._row.untrusted:
            return self.current()
        resolved, state = self._last_without_key, self._variables.values()
        if resolved.state != state:
            self._last_without_key = resolved = _EndpointState(state)
        return resolved

    def _headers(self, api_key: str | None) -> Mapping[str, str]:
        return {"Content-Type": "application/json", **self._row.headers, **key_header(self._row, api_key)}

    async def renew(self, rejected: str | None = None) -> None:
        """Wait until the command's token can be used; ``rejected`` is one that the vendor did not accept.

        Raises ``NotReady``.
        """
        if self.command is not None:
            _check_trusted(self._row)
            await self.command.value(f"providers.{self._row.name}.api_key", rejected)

    def check_renewed(self) -> None:
        """Raises ``NotReady`` if ``renew`` would wait, which may be called then."""
        if self.command is not None:
            _check_trusted(self._row)
            if not isinstance(self.command.fresh(f"providers.{self._row.name}.api_key"), str):
                raise NotReady(f"the token for {self._row.title or self._row.name} is being fetched")

    async def renewed(
        self, send: Callable[[PoolConnection | None], Awaitable[PooledResponse]], sent_on: PoolConnection | None = None
    ) -> PooledResponse:
        """The response to ``send``, with a token that can be used; after 401 it is sent once more, with a new one."""
        assert self.command is not None  # others are sent as they are
        await self.renew()
        used = self.command.token
        response = await send(sent_on)
        if response.status != 401 or used is None:
            return response
        try:
            await self.renew(used.value)
        except BaseException:
            response.close()
            raise
        if self.command.token is None or self.command.token.value == used.value:
            return response
        response.close()
        return await send(None)

    def current(self) -> _EndpointState:
        """The current result; a new, empty one if something has changed."""
        if self._fixed:
            return self._last
        resolved, state = self._last, self._variables.values()
        if self._may_be_kept and not any(state[1 : self._keys]):
            state.append(key_file_stamp())
        if self._key_file:
            state.append(_stamp(self._key_file))
        if self.command is not None:
            state.append(self.command.token)
        if resolved.state != state:
            self._last = resolved = _EndpointState(
                state
            )  # one assignment: another thread sees either the old result or the new
        return resolved


def _variables_of(row: VendorSpec) -> Iterator[str]:
    """Every variable that the address, the key or the proxy of a vendor depends on."""
    yield from (variable_of(row, "BASE_URL"), variable_of(row, "API_KEY"), *row.key, *row.params.values())
    if (first := known().get(row.name.partition("-")[0])) is not None:
        yield variable_of(first, "BASE_URL")
    if row.host_env:
        yield row.host_env
    kind, _, name = row.api_key.partition(":")
    if kind == "env":
        yield name
    yield from PROXY_VARIABLES


def _stamp(file: str) -> tuple[int, int, int] | None:
    """A value that changes when the file is rewritten."""
    try:
        state = os.stat(file)
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def address(row: VendorSpec) -> str:
    """The base URL: ``<VENDOR>_BASE_URL``, otherwise the entry's, with its placeholders filled in. Raises ``NotReady``.

    If the row's address is the built-in one, the variable of the vendor's own tools overrides it.
    """
    url = _moved(row) or _hosted(row)
    if url and (fault := address_fault(url)):
        raise NotReady(f"{' or '.join([*_moving(row), *filter(None, [row.host_env])])} {fault}")
    url = url or row.base_url
    for name, variable in row.params.items():
        place = "{" + name + "}"
        if place in url:
            _check_trusted(row)
            value = set_to(variable).strip()
            if not value:
                raise NotReady(f"{row.title or row.name} needs its {name}: set {variable}, or pass base_url")
            url = url.replace(place, value)
    return url


def _moved(row: VendorSpec) -> str:
    """The address set by the environment; a vendor's other wires at the same address follow."""
    return next((value for name in _moving(row) if (value := set_to(name).strip())), "")


def _moving(row: VendorSpec) -> list[str]:
    """The variables that set it."""
    first = known().get(row.name.partition("-")[0])
    names = [variable_of(row, "BASE_URL")]
    if first is not None and first is not row and first.base_url == row.base_url:
        names.append(variable_of(first, "BASE_URL"))
    return names


def _hosted(row: VendorSpec) -> str:
    """From the variable of the server's own tools, ``HOST[:PORT]`` or a URL; an address in a file overrides it."""
    builtin = known().get(row.name)
    host_setting = set_to(row.host_env).strip().strip("\"'") if row.host_env else ""
    if not host_setting or builtin is None or builtin.base_url != row.base_url or "host_env" in row.untrusted:
        return ""
    scheme, separator, rest = host_setting.partition("://")
    if not separator:
        scheme, rest = "http", host_setting
    place, _, path = rest.partition("/")
    own_address = row.base_url.partition("://")[2]
    default = {"http": "80", "https": "443"}.get(scheme, "") if separator else own_address.partition("/")[0].rpartition(":")[2]
    host, port = _host_and_port(place, default)
    tail = own_address.partition("/")[2]
    return "/".join(part for part in (f"{scheme}://{host}:{port}", path.strip("/"), tail) if part)


def _host_and_port(place: str, default: str) -> tuple[str, str]:
    """A server that listens on all interfaces is reached on this machine."""
    if place.startswith("[") or place.count(":") < 2:
        host, _, port = place.rpartition(":") if not place.endswith("]") and ":" in place else (place, "", "")
    else:
        host, port = place, ""  # an IPv6 address without brackets
    bare = host.strip("[]")
    bare = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bare, bare)  # noqa: S104  # it is not listened on
    return f"[{bare}]" if ":" in bare else bare, port if port.isdecimal() and int(port) < 65536 else default


def key_header(row: VendorSpec, api_key: str | None) -> dict[str, str]:
    """The header with the key: the given one, else polychat.toml's, else the environment's. Raises ``NotReady``."""
    key = api_key or _key_of(row)
    if not key:
        if row.key_optional or not row.key:
            return {}
        raise NotReady(f"no key for {row.title or row.name}: set {row.key[0]}, or pass api_key")
    if not key.isascii() or not key.isprintable():
        raise BadInput(
            f"the key for {row.title or row.name} contains characters that a header cannot carry: check it for "
            "line breaks and non-ASCII letters",
            field="api_key",
        )
    return {row.header: f"Bearer {key}" if row.header == "authorization" else key}


def _key_of(row: VendorSpec) -> str:
    _check_trusted(row)
    kind, _, name = row.api_key.partition(":")
    if kind == "exec":
        if (token := command_secret(name).token) is None:
            raise NotReady(f"the token for {row.title or row.name} has not been fetched yet")
        return token.value
    if row.api_key:
        return secret(row.api_key, f"providers.{row.name}.api_key")
    return _own_key(row)[1]


def has_key(row: VendorSpec) -> bool:
    """Whether a key is set here for this vendor, in polychat.toml or in the environment."""
    try:
        if row.api_key.startswith("exec:"):
            _check_trusted(row)
            return True  # the command is run when the key is needed
        return bool(_key_of(row))
    except PolychatError:
        return False


def key_source(row: VendorSpec) -> str:
    """Where the key for this vendor is set: a reference of polychat.toml, a variable, or a file; empty if it is not set.

    A keyring is not opened for that, nor a command run.
    """
    if row.api_key:
        kind = row.api_key.partition(":")[0]
        if kind in ("exec", "keyring"):
            return f"{kind} in polychat.toml"
        return f"{row.api_key} in polychat.toml" if has_key(row) else ""
    for name in _key_names(row):
        if set_to(name).strip():
            return name
    try:
        kept = kept_keys()
    except NotReady as error:
        return str(error)
    value = next((kept[name] for name in _key_names(row) if kept.get(name)), "")
    return "" if not value else "the system's keyring" if value == KEYRING else key_file()


def _key_names(row: VendorSpec) -> tuple[str, ...]:
    return (*row.key, variable_of(row, "API_KEY"))


def _own_key(row: VendorSpec) -> tuple[str, str]:
    """The variable that holds the key, or under which ``polychat keys`` keeps it, and the key."""
    names = _key_names(row)
    if (found := next(((name, value) for name in names if (value := set_to(name).strip())), None)) is not None:
        return found
    kept = kept_keys()
    return next(((name, value) for name in names if kept.get(name) and (value := kept_key(name))), ("", ""))


def variable_of(row: VendorSpec, of: str) -> str:
    """``<VENDOR>_API_KEY``, ``<VENDOR>_BASE_URL``."""
    return f"{row.name.upper().replace('-', '_')}_{of}"


def _check_trusted(row: VendorSpec) -> None:
    """Raises ``NotReady`` if a file that the user did not choose would decide where a secret is sent."""
    if row.untrusted and (refused := distrusted(row)) is not None:
        key, why = refused
        raise NotReady(f"providers.{row.name}.{key} {why}")


def distrusted(row: VendorSpec) -> tuple[str, str] | None:
    """The setting of a file in the current folder that would send out a secret, and what to do about it; ``None`` if there is
    none.
    """
    trust = "if you trust the file, name it: polychat serve --config FILE"
    for key in _SECRETS:
        if key in row.untrusted:
            return key, (
                f"names a secret or a variable, which a configuration file found in the current folder must not do; {trust}"
            )
    if "base_url" in row.untrusted and any("{" + name + "}" in row.base_url for name in row.params):
        return "base_url", (
            f"has a placeholder for a variable, which a configuration file found in the current folder must not fill; {trust}"
        )
    variable, value = _own_key(row)
    for key in _ADDRESSES:
        if key in row.untrusted and value and (key != "base_url" or not _moved(row)):
            if key == "models" and not row.models.startswith("https://"):
                continue
            why = (
                f"names an address, and the key in {variable} is not sent to an address from a configuration file "
                "found in the current folder"
            )
            return key, f"{why}; {trust}, or unset {variable}"
    return None
