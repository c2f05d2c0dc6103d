"""The usage of each request for the store of ``[gateway.state]``: an observer that costs a request an append.

What a record becomes in the store is made by the writer's own thread. It has no text of a conversation.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from itertools import count
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from msgspec import json

from ...config.settings import State
from ...costs import pricing_of
from ...errors import redact
from ...events import Usage
from ...state.ledger import NANO
from ...state.spool import Spool
from ...state.store import Attempted, UsageLabels, UsageRecord
from ...state.usage_writer import UsageWriter
from ..storage import shared_store_of, spool_of, store_of
from .paid_attempts import PaidAttempt, paid_beside
from .record import Record

if TYPE_CHECKING:
    from ...config.settings import Price
    from ...state.store import StateStore

_NAME = 120
_MOST = 2**62
_DAY = 86_400.0


class UsageLog:
    """Takes every request's ``Record``, and keeps those for which a backend was called."""

    def __init__(self, settings: State, tell: Callable[..., None], prices: Callable[[], Mapping[str, Price]]) -> None:
        """``prices`` gives those of the configuration in force.

        Raises ``PolychatError`` for a URL that cannot be used; opens nothing.
        """
        self._tell_now = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self.settings = settings
        self.store: StateStore = store_of(settings)
        self.shared = shared_store_of(settings)
        self._prices = prices
        self._writer = UsageWriter[Record | PaidAttempt](
            self.store, Spool(spool_of(settings)), Conversion(), self.tell, self._forget_old
        )

    def __call__(self, record: Record) -> None:
        if record.verdict is not None:
            if self._loop is None:
                self.start()
            self._writer.add(record)
            if record.failures:
                for attempt in paid_beside(record, pricing_of(self._prices())):
                    self._writer.add(attempt)

    def paid(self, attempt: PaidAttempt) -> None:
        """A mirrored request is over."""
        if attempt.usage.prompt_tokens is not None:
            self._writer.add(attempt)

    def start(self) -> None:
        """Begin, in the running loop: what earlier processes left in the spool is delivered. A second call does nothing."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._writer.start()

    def close(self) -> None:
        """Blocks until all is written, to the store or to the spool."""
        self._writer.close()
        self.store.close()

    def tell(self, message: str, **facts: Any) -> None:
        """Log it, from any thread."""
        if (loop := self._loop) is not None:
            loop.call_soon_threadsafe(lambda: self._tell_now(message, **facts))

    def _forget_old(self) -> None:
        self.store.forget_texts(time())  # first: what follows may take long
        self.store.forget_buckets(time() - 2 * _DAY)
        if self.settings.audit_days:
            self.store.forget_audit(time() - self.settings.audit_days * _DAY)
        if self.settings.usage_days:
            self.store.forget_usage(time() - self.settings.usage_days * _DAY)


class Conversion:
    """Makes of each ``Record``, and of each attempt beside its answer, what is stored of it."""

    def __init__(self) -> None:
        self._process = secrets.randbits(40) << 23
        self._count = count()

    def __call__(self, item: Record | PaidAttempt) -> UsageRecord:
        if isinstance(item, PaidAttempt):
            return self._stored(item.record, labels_of_attempt(item), item.usage, item.cost, 0)
        usage = item.usage or Usage(item.prompt_tokens, item.completion_tokens, cached_tokens=item.cached_tokens)
        return self._stored(item, labels_of(item), usage, item.cost, min(max(item.attempts, 1), 100))

    def _stored(self, record: Record, labels: UsageLabels, usage: Usage, cost: float | None, attempts: int) -> UsageRecord:
        came = time() - (monotonic() - record.start)
        return UsageRecord(
            at=int(came * 1000),
            id=self._process | (next(self._count) & 0x7FFFFF),
            took=max(0, round((record.over - record.start) * 1000)),
            labels=labels,
            attempts=attempts,
            prompt_tokens=_bounded(usage.prompt_tokens),
            completion_tokens=_bounded(usage.completion_tokens),
            cached_tokens=_bounded(usage.cached_tokens),
            cache_write_tokens=_bounded(usage.cache_write_tokens),
            reasoning_tokens=_bounded(usage.reasoning_tokens),
            audio_prompt_tokens=_bounded(usage.audio_prompt_tokens),
            audio_completion_tokens=_bounded(usage.audio_completion_tokens),
            estimated=usage.estimated,
            cost=_bounded(None if cost is None else round(cost * NANO)),
        )


def labels_of(record: Record) -> UsageLabels:
    """What the record has in common with others. Names that came from outside are redacted and bounded."""
    owner = record.ownership
    return UsageLabels(
        key=_shown(record.key),
        person="" if owner is None else owner.person,
        team="" if owner is None else owner.team,
        org="" if owner is None else owner.org,
        user=_shown(record.user),
        dialect=record.dialect,
        model=_shown(record.model),
        route=_shown(record.route),
        target=_shown(record.answered or (f"{record.provider}/{record.served}" if record.provider else "")),
        verdict=record.verdict or "",
        reason=_shown(record.reason or ""),
        status=min(max(record.status, 0), 999),
        stream=record.stream,
        unpriced="" if record.cost is not None else unpriced_reason(record),
        failed=_failed(record),
    )


def labels_of_attempt(attempt: PaidAttempt) -> UsageLabels:
    """Those of its request, but for who was paid for it and how it ended."""
    return labels_of(attempt.record)._replace(
        target=_shown(attempt.target),
        verdict=attempt.verdict,
        reason=attempt.why,
        unpriced="" if attempt.cost is not None else "no price",
        failed="",
    )


def _shown(name: str) -> str:
    """A name that came from outside, redacted and bounded."""
    return _redacted(name[: 2 * _NAME]) if name else ""


_redacted = lru_cache(maxsize=2048)(partial(redact, limit=_NAME))


def unpriced_reason(record: Record) -> str:
    """Why a request has no cost: ``not asked``, ``not counted`` or ``no price``."""
    if not record.attempts and not record.answered:
        return "not asked"
    return "not counted" if record.prompt_tokens is None else "no price"


def _failed(record: Record) -> str:
    if not record.failures or not record.attempts:
        return ""
    return json.encode([Attempted(_shown(failure.target), failure.outcome) for failure in record.failures[:20]]).decode()


def _bounded(number: int | None) -> int | None:
    return None if number is None else min(max(number, 0), _MOST)
