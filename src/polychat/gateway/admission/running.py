"""The requests of people's keys that are running, so that a key that is revoked can end them at once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from ...errors import BackendError, Unauthorized

_ENDED = 1_024
"""Keys that are remembered as ended; requests that began before are over long before so many are revoked."""


class Stoppable(Protocol):
    """A request that is running."""

    def stop(self, error: BackendError) -> None:
        """End it now; its client gets the error in its own dialect."""


class RunningRequests:
    """By the id of their key. For one event loop."""

    def __init__(self) -> None:
        self._by_key: dict[str, set[Stoppable]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def add(self, key: str, request: Stoppable) -> None:
        """It runs; one of a key that was ended meanwhile is stopped at once."""
        self._by_key.setdefault(key, set()).add(request)
        if key in self._ended:
            request.stop(revoked(key))

    def discard(self, key: str, request: Stoppable) -> None:
        """It is over."""
        requests = self._by_key.get(key)
        if requests is not None:
            requests.discard(request)
            if not requests:
                del self._by_key[key]

    def end(self, key: str) -> None:
        """The key was revoked: stop all that run."""
        self._ended[key] = None
        if len(self._ended) > _ENDED:
            self._ended.popitem(last=False)
        for request in list(self._by_key.get(key, ())):
            request.stop(revoked(key))


def revoked(key: str) -> BackendError:
    """The error that ends a reply."""
    return Unauthorized(f"the API key {key} was revoked while the reply was running: ask with another key", status=401)
