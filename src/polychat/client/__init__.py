"""What people call: ``request``, ``stream``, ``embed``, and ``Client``, which keeps what many asks have in common."""

from .calls import ask, ask_sync, embed, stream, stream_sync
from .client import Client
from .reply import Reply
from .streaming import Stream
from .targets import DEFAULT_MODEL

__all__ = ["DEFAULT_MODEL", "Client", "Reply", "Stream", "ask", "ask_sync", "embed", "stream", "stream_sync"]
