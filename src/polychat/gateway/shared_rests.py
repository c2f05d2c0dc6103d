"""The moments before which backends asked for no request, shared by gateways that call them with the same keys.

A backend that refuses one gateway until a moment would refuse the others too. Each second every process tells the moments that
it was given, and takes those of others as if the backend had named them to it. Nothing else of a target's health is shared: a
target may be well for one machine and out of reach for another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from time import time

from ..errors import BackendError, PolychatError
from ..routing import Health
from ..state.store import RetryTimes, StoreUnavailable
from ..worker_threads import in_store_thread

_EVERY = 1.0
_SHORTEST = 1.0
"""Seconds; shorter times are over before others learn of them."""
_KEPT = 8192


class SharedRests:
    """Of one process. ``start`` in the running loop."""

    def __init__(
        self,
        store: RetryTimes,
        health: Health,
        domain_of: Callable[[str], str],
        clock: Callable[[], float],
        wall: Callable[[], float] = time,
    ) -> None:
        """``domain_of`` names what a target, ``provider/model``, shares its key with, and may raise ``PolychatError``.

        ``clock`` is that of ``health``, and ``wall`` gives seconds since 1970.
        """
        self._store, self._health, self._domain_of = store, health, domain_of
        self._clock, self._wall = clock, wall
        self._known: dict[str, float] = {}
        """What was shared at the last time."""
        self._names: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """A second call does nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            with suppress(StoreUnavailable):  # that is reported where limits are shared
                await self.exchange()

    async def exchange(self) -> None:
        """Tell the moments that are known here, and take those that others tell. Raises ``StoreUnavailable``."""
        now, wall = self._clock(), self._wall()
        news = {}
        for facts in self._health.every():
            seconds = facts.shared.rest.retry_at - now
            if seconds > _SHORTEST and (name := self._name(facts.name)):
                until = wall + seconds
                if until > self._known.get(name, 0.0) + _SHORTEST:
                    news[name] = until
        self._known = await in_store_thread(self._store.retry_times, news, wall)
        self._take()

    def _take(self) -> None:
        if not self._known:
            return
        now, wall = self._clock(), self._wall()
        for facts in self._health.every():
            seconds = self._known.get(self._name(facts.name), 0.0) - wall
            if seconds > max(facts.shared.rest.retry_at - now, 0.0) + _SHORTEST:
                error = BackendError("the backend asked another gateway for a pause", status=429)
                facts.note_retry_after(error, seconds, now)

    def _name(self, target: str) -> str:
        """Of a target for a key, which is not legible in it; empty for a target that is not configured."""
        if target not in self._names:
            if len(self._names) >= _KEPT:
                self._names.clear()
            try:
                text = f"{self._domain_of(target)} {target.partition('/')[2]}"
                self._names[target] = blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()
            except PolychatError:
                self._names[target] = ""
        return self._names[target]
