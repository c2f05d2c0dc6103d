"""Public names for those who write providers: HTTP for chat sites, and this user's cookies. Loaded when touched."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..http.session.response import StreamResponse as StreamResponse
    from ..http.session.session import StreamSession as StreamSession
    from ..http.timeouts import Timeouts as Timeouts
    from ..user.cookies import cookies_for as cookies_for
    from ..user.cookies import get_cookies as get_cookies

_HOMES = {
    "StreamResponse": "..http.session.response",
    "StreamSession": "..http.session.session",
    "Timeouts": "..http.timeouts",
    "cookies_for": "..user.cookies",
    "get_cookies": "..user.cookies",
}
__all__ = ["StreamResponse", "StreamSession", "Timeouts", "cookies_for", "get_cookies"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
