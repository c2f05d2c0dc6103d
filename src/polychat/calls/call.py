"""How one request is sent: proxy, timeouts, address, cookies, headers, and the provider's own options."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..config import Config
from ..config.addresses import address_fault
from ..errors import BadInput
from ..http.timeouts import STEPS, Timeouts, are_seconds, with_total
from ..warn import warn_caller

if TYPE_CHECKING:
    from ..http.exchange import Exchange
    from ..http.pool.body import RequestBody
    from ..transport import StreamSession

TIMEOUT = 300.0
"""Seconds that a whole call may take by default."""

_COMMON = ("proxy", "timeout", "base_url", "cookies", "headers", "config")
_options: WeakKeyDictionary[Any, tuple[str, ...]] = WeakKeyDictionary()
_warned: set[tuple[str, str]] = set()
_warned_lock = threading.Lock()


class UnknownOption(UserWarning):
    """The provider does not know a keyword of the call, which has no effect."""


@dataclass(slots=True)
class Call:
    """How one request is sent. ``deadline`` is a moment on the running loop's clock. ``repr`` shows no credential."""

    provider: str
    base_url: str = field(repr=False)
    """The address of the service, without a slash at the end."""
    proxy: str | None = field(repr=False)
    timeout: float | None
    """Seconds for the whole request; ``None`` means no limit."""
    deadline: float | None
    cookies: Mapping[str, str] | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """The caller's headers, which override the provider's."""
    timeouts: Timeouts | None = None
    """The limits of each step, with ``timeout`` as their total; ``None`` means the transport's defaults."""
    own: dict[str, Any] = field(default_factory=dict, repr=False)
    """The provider's options by name: the keyword-only parameters of its ``reply``."""
    config: Config | None = field(default=None, repr=False)
    """The configuration for providers that use one; ``None`` means the user's own file."""

    @property
    def account(self) -> tuple[object, ...]:
        """A key of the caller's account at the service: equal for calls that may share a login."""
        cookies = tuple(sorted((self.cookies or {}).items()))
        return (self.base_url, self.proxy, cookies, tuple(sorted(self.headers.items())))

    def overlaid(self, headers: Mapping[str, str]) -> dict[str, str]:
        """These headers, overridden by the caller's."""
        return _overlaid(headers, self.headers)

    def session(self, headers: Mapping[str, str], cookies: Mapping[str, str] | None = None) -> StreamSession:
        """A session with these headers, overridden by the caller's, that uses the call's proxy and ends at its deadline."""
        from ..transport import StreamSession

        return StreamSession(
            headers=self.overlaid(headers),
            cookies=cookies if cookies is not None else self.cookies,
            timeout=self.timeout if self.timeouts is None else with_total(self.timeouts, self.timeout),
            proxy=self.proxy,
            deadline=self.deadline,
            provider=self.provider,
            # A connection may carry an identity: callers with cookies or headers of their own share none.
            keep_alive=not (cookies or self.cookies or self.headers),
        )

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: RequestBody | None,
        proxy_for: Callable[[str], str | None],
    ) -> Exchange:
        """One request to an API, with these headers, overridden by the caller's, that ends at the call's deadline.

        It uses the call's proxy, else the one that ``proxy_for(url)`` returns.
        """
        return _exchange()(
            method,
            url,
            self.overlaid(headers),
            body,
            proxy=self.proxy,
            proxy_for=proxy_for,
            timeouts=with_total(self.timeouts or STEPS, self.timeout),
            deadline=self.deadline,
            provider=self.provider,
        )


@cache
def _exchange() -> type[Exchange]:
    """The class, imported at the first request: importing a provider must not load an HTTP client."""
    from ..http.exchange import Exchange

    return Exchange


def _overlaid(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Both sets of headers in one; a header of ``theirs`` replaces that of ``ours``, in any case of letters."""
    if not theirs:
        return dict(ours)
    replaced = {name.lower() for name in theirs}
    return {**{name: value for name, value in ours.items() if name.lower() not in replaced}, **theirs}


def call_of(provider: type[Any], proxy: str | None, options: dict[str, Any]) -> Call:
    """The keywords of a call to a provider's class, checked.

    Raises ``BadInput`` for an invalid value. Warns of an unknown name, once in a process.
    """
    timeout = getattr(provider, "timeout", TIMEOUT)
    return call_to(provider.__name__, provider.address, options_of(provider), timeout, proxy, options)


def call_to(
    provider: str,
    address: Callable[[], str],
    takes: tuple[str, ...],
    timeout: float | None,
    proxy: str | None,
    options: dict[str, Any],
) -> Call:
    """The keywords of a call, checked, to the provider of this name, with its address, its own options and its default timeout.

    ``timeout`` is in seconds. Raises and warns as ``call_of``.
    """
    own_options = _own_options(provider, takes, options)
    option = options.get
    timeout, timeouts = _timeouts(option("timeout", timeout))
    proxy, cookies, headers, config = proxy or option("proxy"), option("cookies"), option("headers"), option("config")
    return Call(
        provider,
        _base_url(option("base_url") or (own_options and _origin(own_options.get("page"))) or address()),
        # Most of these are absent from most calls: nothing is called for them.
        None if proxy is None else _proxy(proxy),
        timeout,
        None if timeout is None else asyncio.get_running_loop().time() + timeout,
        None if cookies is None else _pairs(cookies, "cookies"),
        (None if headers is None else _pairs(headers, "headers")) or {},
        timeouts,
        own_options,
        None if config is None else _config(config),
    )


def _origin(page: object) -> str:
    """The scheme and host of a page's URL; empty if ``page`` is no URL."""
    if not isinstance(page, str) or not page.startswith(("http://", "https://")):
        return ""
    scheme, _, rest = page.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}"


def _own_options(provider: str, takes: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    own_options = {}
    for name, value in options.items():
        if name in _COMMON:
            continue
        if name in takes:
            own_options[name] = value
        else:
            _warn_of(provider, name, takes)
    return own_options


def options_of(provider: Any) -> tuple[str, ...]:
    """The options of a provider beyond the common ones: its ``options``, else the keyword-only parameters of its ``reply``."""
    if provider not in _options and getattr(provider, "options", None) is not None:
        _options[provider] = provider.options
    elif provider not in _options:
        parameters = inspect.signature(provider.reply).parameters.values()
        _options[provider] = tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)
    return _options[provider]


def _warn_of(provider: str, name: str, own_options: tuple[str, ...]) -> None:
    with _warned_lock:
        if (provider, name) in _warned:
            return
        _warned.add((provider, name))
    takes = ", ".join([*_COMMON, *own_options])
    warn_caller(f"{provider} has no option {name!r}; it takes {takes}", UnknownOption)


def key_of(value: object) -> str | None:
    """The key in ``value``, which is text or holds it (pydantic's ``SecretStr``), without blanks at its ends.

    ``None`` if there is none. Raises ``BadInput``, whose text does not show it.
    """
    if value is None:
        return None
    api_key = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    if api_key is None:
        return None
    if not isinstance(api_key, str):
        raise BadInput(f"api_key is {type(api_key).__name__}; it must be text", field="api_key")
    return api_key.strip() or None


def _config(value: object) -> Config | None:
    if value is None or isinstance(value, Config):
        return value
    raise BadInput(f"config is {type(value).__name__}; it must be a polychat.config.Config", field="config")


def _timeouts(value: object) -> tuple[float | None, Timeouts | None]:
    """The seconds of the whole call, and the limits of its steps if ``value`` is ``Timeouts``. Raises ``BadInput``."""
    if value is None or are_seconds(value):
        return value, None  # type: ignore[return-value]
    timeouts = Timeouts.of(value, STEPS)
    return timeouts.total, timeouts if timeouts is value else None


def _proxy(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise BadInput(f"proxy is {type(value).__name__}; it must be a URL as text", field="proxy")


def _base_url(value: object) -> str:
    return _checked_url(value) if isinstance(value, str) else _checked_url("no text")


@lru_cache(maxsize=256)
def _checked_url(value: str) -> str:
    if value == "":
        return ""  # a provider without a server: the embedded model
    fault = address_fault(value)
    if fault:
        raise BadInput(f"base_url {fault}", field="base_url")
    return value.rstrip("/")


def _pairs(value: object, name: str) -> Mapping[str, str] | None:
    if value is None:
        return None
    if isinstance(value, Mapping) and all(isinstance(key, str) and isinstance(item, str) for key, item in value.items()):
        return value
    raise BadInput(f"{name} must map names to values, both text", field=name)
