"""The library's calls: ``ask``, ``stream``, ``embed``, and ``Client``, which holds the defaults of many calls."""

from .calls import ask, ask_sync, embed, stream, stream_sync
from .client import Client
from .reply import Reply
from .streaming import Stream
from .targets import DEFAULT_MODEL

__all__ = ["DEFAULT_MODEL", "Client", "Reply", "Stream", "ask", "ask_sync", "embed", "stream", "stream_sync"]
