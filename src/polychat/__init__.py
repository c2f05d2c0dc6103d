"""One async Python interface to every chat backend. The names below are loaded when they are touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Reply as Reply
    from .client import Stream as Stream
    from .client import ask as ask
    from .client import stream as stream
    from .errors import PolychatError as PolychatError

__version__ = "0.1.0"
__all__ = ["PolychatError", "Reply", "Stream", "__version__", "ask", "stream"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "PolychatError":
        from .errors import PolychatError

        return PolychatError
    from . import client

    return getattr(client, name)


def __dir__() -> list[str]:
    return sorted(__all__)
