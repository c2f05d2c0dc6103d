"""What people call: ``ask``, ``stream``, ``embed``, and ``Client``, which keeps what many asks have in common."""

from .calls import DEFAULT_MODEL, ask, embed, stream
from .client import Client
from .reply import Reply
from .streaming import Stream

__all__ = ["DEFAULT_MODEL", "Client", "Reply", "Stream", "ask", "embed", "stream"]
