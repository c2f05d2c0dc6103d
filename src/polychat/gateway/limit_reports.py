"""Reports of soft limits: a line in the log, an event for the webhook and a count, once for all gateways that share a database.

No request waits for any of it. A report is claimed in the database first, for the period of its warning; whoever finds it
claimed says nothing. While the database is away, each process reports what it sees.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from secrets import token_hex
from time import time

from ..errors import redact
from ..state.store import StoreUnavailable, TextPlace, TextStore
from ..worker_threads import in_store_thread
from .admin.facts import moment
from .admission.soft_limits import LimitWarning
from .webhook import WebhookSender

EVENT = "limit.warning"
_MOST = 1000
"""Warnings that wait to be reported; those beyond are dropped."""
_NAME = 120


class LimitReports:
    """Of one process. ``store`` is what gateways share, if there is anything."""

    def __init__(
        self,
        store: TextStore | None,
        log: Callable[..., None],
        webhook: WebhookSender,
        count: Callable[[], None],
        clock: Callable[[], float] = time,
    ) -> None:
        self._store, self._log, self._webhook, self._count, self._clock = store, log, webhook, count, clock
        self._process = token_hex(8).encode()
        self._waiting: deque[LimitWarning] = deque(maxlen=_MOST)
        self._task: asyncio.Task[None] | None = None

    def add(self, warning: LimitWarning) -> None:
        """Report it soon, in the running loop."""
        self._waiting.append(warning)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self, seconds: float) -> None:
        """Wait at most ``seconds`` until all is reported and sent."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    await self._task
        await self._webhook.close(end - loop.time())

    async def _run(self) -> None:
        while self._waiting:
            warning = self._waiting.popleft()
            if self._store is None or await in_store_thread(self._is_ours, self._store, warning):
                self._report(warning)

    def _is_ours(self, store: TextStore, warning: LimitWarning) -> bool:
        """Whether no other process has reported it. Blocks."""
        level, owner, metric, window = warning.bucket
        place = TextPlace("warning", f"{level}:{owner}", f"{metric}:{window or 'now'}:{warning.period.start}")
        try:
            return store.claim_text(place, self._process, float(warning.period.end), self._clock()) is None
        except (StoreUnavailable, ValueError):  # the latter for a name that the database does not hold
            return True

    def _report(self, warning: LimitWarning) -> None:
        facts = warning.facts()
        facts |= {name: redact(facts[name], _NAME) for name in ("owner", "user") if name in facts}
        facts["resets_at"] = moment(facts["resets_at"])
        self._count()
        self._log("a soft limit is passed", **{name: value for name, value in facts.items() if value is not None})
        self._webhook.add(EVENT, moment(self._clock()) or "", facts)
