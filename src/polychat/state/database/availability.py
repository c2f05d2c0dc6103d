"""Whether a server answers. While it does not, one call at a time finds out when it does again, and the others fail at once: a
server that hangs holds as many threads as had asked it before that was known.

server      a call
==========  ==================================================================================
answers     asks it
is away     fails at once, until ``_AGAIN`` seconds after the last that was not answered
may answer  the first one asks it; others fail at once until that is over, or ``_PROBE`` seconds
==========  ==================================================================================
"""

from __future__ import annotations

from threading import Lock
from time import monotonic

from ..store import StoreUnavailable

_AGAIN = 1.0
_PROBE = 15.0


class Availability:
    """Of one server."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_away = False
        self._refused_until = 0.0

    def check(self) -> None:
        """Before a call. Raises ``StoreUnavailable`` where the server need not be asked."""
        if not self._is_away:
            return
        with self._lock:
            now = monotonic()
            if self._is_away and now < self._refused_until:
                raise StoreUnavailable("the database cannot be used: it did not answer a moment ago")
            self._refused_until = now + _PROBE

    def answered(self) -> None:
        """Also by an error."""
        self._is_away = False

    def not_asked(self) -> None:
        """The call ended before it reached the server, and shows nothing of that."""
        with self._lock:
            self._refused_until = monotonic() + _AGAIN

    def failed(self) -> None:
        """It could not be reached, or did not answer in time."""
        with self._lock:
            self._is_away, self._refused_until = True, monotonic() + _AGAIN
