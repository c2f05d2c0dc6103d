"""A last check before a request is written: it may have waited for its connection, and the decision to send may be outdated.

The router sets ``last_check`` for the attempt of the running task. The pool, and a chat site's session for each of its
requests, call it once a connection is available.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

last_check: ContextVar[Callable[[], None] | None] = ContextVar("last_check", default=None)
"""Called between the wait for a connection and the first byte; if it raises, the request is not sent."""
