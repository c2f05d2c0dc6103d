"""A last look before a request is written: its connection may have been waited for, and what was known then may be out of date.

The router sets ``last_check`` for the attempt that the running task makes; the pool calls it once a connection is there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

last_check: ContextVar[Callable[[], None] | None] = ContextVar("last_check", default=None)
"""Called between the wait for a connection and the first byte; the request is not sent where it raises."""
