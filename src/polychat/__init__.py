"""One async Python interface to every chat backend. The names below are loaded when they are touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .client import Client as Client
    from .client import Reply as Reply
    from .client import Stream as Stream
    from .client import ask as ask
    from .client import ask_sync as ask_sync
    from .client import embed as embed
    from .client import stream as stream
    from .client import stream_sync as stream_sync
    from .errors import PolychatError as PolychatError

__all__ = ["Client", "PolychatError", "Reply", "Stream", "__version__", "ask", "ask_sync", "embed", "stream", "stream_sync"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = import_module(".errors" if name == "PolychatError" else ".client", __name__)
    globals()[name] = value = getattr(home, name)  # the next time it is an attribute like any other
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
