"""How bytes reach the services: HTTP for chat sites, and this user's cookies. Loaded when touched: no import pays for it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cookies import cookies_for as cookies_for
    from .cookies import get_cookies as get_cookies
    from .response import StreamResponse as StreamResponse
    from .session import StreamSession as StreamSession

_HOMES = {
    "StreamResponse": ".response",
    "StreamSession": ".session",
    "cookies_for": ".cookies",
    "get_cookies": ".cookies",
}
__all__ = ["StreamResponse", "StreamSession", "cookies_for", "get_cookies"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
