"""How long a connection lies idle before the pool closes it: for less long than its server keeps it.

A request that meets its server's close on the way is lost, and whether the server has read it cannot be known: so it is better
that the pool closes first. Servers differ: nginx keeps a connection for 75 seconds, load balancers for 60 and more, Cloudflare,
behind which most vendors are, for 400; Python's and Node's servers, and so most that serve models of one's own, for 5, which
Node's announce (``Keep-Alive: timeout=5``) and Python's do not. Clients differ as much: undici, httpx, aiohttp, nginx, Go and
Envoy keep what has nothing to do for 4, 5, 15, 60, 90 and 3,600 seconds. A new connection to a vendor costs two or three times
the way there, so a fixed time that suits the shortest would cost every request after a pause.

==============================================  ====================================================================
what is known of the server                     a connection lies idle for
==============================================  ====================================================================
nothing                                         ``LONGEST``: below what load balancers and firewalls keep
it announces a time                             a second less, as in Node's client; no longer than ``LONGEST``
it closed one that lay idle, after some time    a second less, but no less than ``SHORTEST``, for ``_REMEMBERED`` seconds
the first request after some time was lost      likewise: a firewall may forget what lies idle, and tells nobody
==============================================  ====================================================================

The least that is known counts: a proxy may announce a time and close earlier. A server that restarts closes connections at any
age: hence ``SHORTEST``, and that it is forgotten.
"""

from __future__ import annotations

import re
from math import floor

from .heads import Origin

LONGEST = 60.0
"""Seconds."""
SHORTEST = 4.0
"""Seconds; below those of Python's and Node's servers. Sessions keep every connection for so long: they do not learn."""
_REMEMBERED = 3600.0
_MAX_SERVERS = 256
"""Maximum number of servers whose closes are remembered."""
_TIMEOUT = re.compile(rb"(?:^|[,;\s])timeout=(\d{1,9})", re.IGNORECASE)


def announced_in(header: bytes) -> float | None:
    """The seconds for which a connection may lie idle according to a ``Keep-Alive`` header, if it tells."""
    found = _TIMEOUT.search(header)
    return None if found is None else _less_than(float(found[1]))


def _less_than(seconds: float) -> float:
    return max(seconds - 1, seconds / 2)


class ObservedCloses:
    """The seconds for which connections may lie idle, of servers that closed some."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._seconds: dict[Origin, tuple[float, float]] = {}
        """With the time until which they hold; the latest last."""

    def seconds(self, origin: Origin, now: float) -> float:
        """``longest`` for a server that closed none."""
        seconds, until = self._seconds.get(origin, (self._longest, now))
        return seconds if until >= now else self._longest

    def note(self, origin: Origin, idle: float, now: float) -> float:
        """A server closed a connection that lay ``idle`` for so many seconds; returns its ``seconds`` from now on.

        In whole seconds: a thousand closes in a row, each a little earlier, are few changes for those that lie idle.
        """
        seconds = min(self.seconds(origin, now), max(floor(_less_than(idle)), SHORTEST))
        self._seconds.pop(origin, None)
        self._seconds[origin] = seconds, now + _REMEMBERED
        if len(self._seconds) > _MAX_SERVERS:
            del self._seconds[next(iter(self._seconds))]
        return seconds
