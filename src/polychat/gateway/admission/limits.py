"""Limits and budgets: what a request may use is reserved before any backend is asked, and settled by what it used.

A request that does not fit into one of its buckets is refused with the bucket's name, and nothing of it is reserved. One that
asks for no more than there is runs; when it is over it is settled once, whatever its end:

end                                    tokens that count
=====================================  =========================================================================
complete, or the backend told          the backend's own count, and its cost
complete without a count               the estimated prompt, and what was read of the reply
cancelled or cut off while it came     the backend's count if it came, else the same
failed, as its reply cannot be read    the estimated prompt: the vendor has replied and is paid
refused, or failed before any reply    none
=====================================  =========================================================================

A target that was asked beside another (a hedge), and whose reply was not wanted, counts with the same prompt, and a mirrored
request with what it used.
Every request counts as one in limits of requests, however it ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from ...events import Usage
from ...http.server.asgi import Headers
from ...state.ledger import NANO, BucketFull, Charge, Ledger, Metric, Reservation
from ...state.sharing import SharedBuckets
from ...wire.faults import Fault
from ...worker_threads import in_store_thread
from ..observe.paid_attempts import paid_beside
from ..responder import Refused
from .accounts import Account
from .charged import ChargedBuckets
from .demand import FREE, Demand, Prices, TokenRates
from .limit_texts import refusal

if TYPE_CHECKING:
    from ...routing import Plan, Target
    from ..catalog import ModelCatalog
    from ..context import RequestContext
    from ..observe.record import Record, RequestMeter

LIFETIME = 3600.0
"""Seconds after which a reservation that nobody settled is given back."""
_ENVELOPE = 400
"""Bytes of a stream's event besides the text in it, at most."""
_BYTES_A_TOKEN = 4


class Meter:
    """One request that counts in an account's buckets, from its reservation to its settlement."""

    __slots__ = ("_charged", "_clock", "_ledger", "_prompt", "_rates", "_rates_of", "events", "read", "reservation")

    def __init__(
        self,
        charged: ChargedBuckets,
        reservation: Reservation,
        ledger: Ledger,
        clock: Callable[[], float],
        prompt_tokens: int,
        rates: TokenRates,
        rates_of: Callable[[Target, int], TokenRates | None],
    ) -> None:
        """``prompt_tokens`` are estimated; ``rates`` are those that were reserved for, and ``rates_of`` a target's own."""
        self.reservation, self._charged = reservation, charged
        self._ledger, self._clock, self._prompt, self._rates = ledger, clock, prompt_tokens, rates
        self._rates_of = rates_of
        self.read = self.events = 0
        """Bytes and events of a stream that was read."""

    def reader(self, end: bytes) -> Callable[[bytes], bytes]:
        """See ``RequestMeter``."""

        def reading(data: bytes) -> bytes:
            self.read += len(data)
            self.events += data.count(end)
            return data

        return reading

    def settle(self, record: Record) -> None:
        """See ``RequestMeter``."""
        if self.reservation.state == "settled":
            return
        self._estimate(record)
        tokens = (record.prompt_tokens or 0) + (record.completion_tokens or 0)
        dollars = record.cost or 0.0
        if record.failures:
            for attempt in paid_beside(record, self._price):
                tokens += attempt.tokens
                dollars += attempt.cost or 0.0
        self._ledger.settle(self.reservation, self._amounts(1, tokens, dollars))
        if record.stream:  # its headers were sent before
            self._charged.warn()

    def add(self, tokens: int, dollars: float) -> None:
        """See ``RequestMeter``."""
        self._ledger.add(self.reservation, self._amounts(0, tokens, dollars))

    def _amounts(self, requests: int, tokens: int, dollars: float) -> list[int]:
        cost = round(dollars * NANO)
        amounts: dict[Metric, int] = {"requests": requests, "tokens": tokens, "dollars": cost, "concurrent": requests}
        return [amounts[metric] for metric in self._charged.metrics]

    def _estimate(self, record: Record) -> None:
        """Fill in the tokens that the backend did not count, and the cost at the price that was reserved for."""
        if record.prompt_tokens is None and record.completion_tokens is None:
            is_free = record.verdict == "failed" and record.first is None and not record.billed
            if not record.attempts or record.verdict is None or is_free or not self._prompt:
                return
            record.usage = usage = Usage(self._prompt, self.tokens_so_far, estimated=True)
            record.prompt_tokens, record.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        if record.cost is None and self._rates is not FREE:
            record.cost = self._rates.of(record.prompt_tokens or 0, record.completion_tokens or 0) / NANO

    def _price(self, target: Target, usage: Usage) -> float | None:
        if self._rates is FREE:
            return None
        rates = self._rates_of(target, usage.prompt_tokens or 0) or self._rates
        return rates.of(usage.prompt_tokens or 0, usage.completion_tokens or 0) / NANO

    @property
    def tokens_so_far(self) -> int:
        """See ``RequestMeter``: at least one an event."""
        return max(self.events, (self.read - self.events * _ENVELOPE) // _BYTES_A_TOKEN)

    def headers(self, record: Record) -> Headers:
        """What is left in the account's buckets; of a reply that is whole, after it."""
        if record.verdict is not None:
            self.settle(record)
        return self._charged.headers(self._clock())


class MoreNeeded(Refused):  # by a request
    """A request does not fit in this process's share of its buckets: it is refused unless the others leave more."""

    def __init__(self, refused: Refused, charges: Sequence[Charge]) -> None:
        super().__init__(refused.fault, refused.headers)
        self.charges = charges


class AccountSource(Protocol):
    """Whose requests are counted."""

    clock: Callable[[], float]
    """Seconds since 1970."""

    def account(self, key: str) -> Account | None:
        """That of a key by its name; ``None``: its requests are not counted."""

    def is_accepted(self, key: str) -> bool:
        """Whether this is the id of a key that is accepted now."""


class LimitGuard:
    """Reserves for requests whose model is known, and refuses those that do not fit or are not allowed."""

    def __init__(
        self,
        accounts: AccountSource,
        ledger: Ledger,
        prices: Prices,
        catalog: ModelCatalog,
        shared: Sequence[SharedBuckets] = (),
        *,
        names_users: bool = False,
    ) -> None:
        """``shared``: through which other processes spend the same buckets, each of some windows. ``names_users``: whether each
        record is to name its end user.
        """
        self._accounts, self._ledger, self._prices, self._catalog = accounts, ledger, prices, catalog
        self._shared, self._names_users = shared, names_users

    def before(self, context: RequestContext, plan: Plan, demand: Demand) -> Awaitable[None] | None:
        """Raises ``Refused``. A request that was reserved for already, before it had a task, keeps its reservation."""
        record = context.record
        try:
            self._count_stream(context, record.meter or self.reserve(record, plan, demand))
        except MoreNeeded as more:
            return self._topped_up(context, plan, demand, more.charges)
        return None

    async def _topped_up(self, context: RequestContext, plan: Plan, demand: Demand, charges: Sequence[Charge]) -> None:
        await in_store_thread(self._top_up, charges)
        self._count_stream(context, self.reserve(context.record, plan, demand))

    def _top_up(self, charges: Sequence[Charge]) -> None:
        for shared in self._shared:
            shared.top_up(charges)

    def _count_stream(self, context: RequestContext, meter: RequestMeter | None) -> None:
        chat = context.chat
        if meter is not None and chat is not None and chat.stream:
            context.responder.tap(meter.reader(chat.dialect.piece_end))

    def reserve(self, record: Record, plan: Plan, demand: Demand) -> Meter | None:
        """The request's meter, which its record gets too; ``None`` where nothing is counted. Raises ``Refused``."""
        account = self._accounts.account(record.key)
        if self._names_users or (account is not None and account.counts_users):
            record.user = demand.user() or ""
        if account is None:
            if record.ownership is not None and not self._accounts.is_accepted(record.key):
                # It expired or was revoked since the request's head was read: without its account nothing would limit it.
                raise Refused(Fault(f"the API key {record.key} is not accepted any more", "authentication", 401))
            return None
        if fault := account.wrong_dialect(record.dialect):
            raise Refused(Fault(fault, "permission", 403))
        if fault := account.wrong_model(plan):
            raise Refused(Fault(fault, "permission", 403, param="model"))
        charged = account.charged(record.user)
        metrics = charged.metrics
        prompt = completion = cost = 0
        rates = FREE
        if "tokens" in metrics or "dollars" in metrics:
            prompt, completion = demand.prompt_tokens(), demand.completion_tokens(plan, self._catalog)
        prompts = 2 * prompt if plan.rules.hedge else prompt
        if "dollars" in metrics:
            rates = self._rates_of(account, plan, prompt)
            cost = rates.of(prompts, completion)
        amounts: dict[Metric, int] = {"requests": 1, "tokens": prompts + completion, "dollars": cost, "concurrent": 1}
        now, charges = self._accounts.clock(), charged.charges(amounts)
        result = self._ledger.reserve(charges, now)
        if isinstance(result, BucketFull):
            refused = refusal(result, charged.headers(now), now)
            if self._shared and not result.is_final and any(bucket.granted is not None for bucket, _ in charges):
                raise MoreNeeded(refused, charges)
            charged.warn(result.bucket)
            raise refused
        record.meter = meter = Meter(charged, result, self._ledger, self._accounts.clock, prompt, rates, self._prices.of)
        return meter

    def _rates_of(self, account: Account, plan: Plan, prompt_tokens: int) -> TokenRates:
        rates = self._prices.highest(plan, prompt_tokens)
        if rates is not None:
            return rates
        if isinstance(account.unpriced, int):
            return TokenRates(account.unpriced, account.unpriced)
        if account.unpriced == "allow":
            return FREE
        unknown = next(target.name for target in plan.targets if self._prices.of(target, prompt_tokens) is None)
        message = (
            f"the price of {unknown} is unknown, and the key {account.name} has a budget in US dollars: "
            "the operator can set the price in [prices], or allow models without a price for the key (unpriced)"
        )
        raise Refused(Fault(message, "permission", 403, "model_unpriced", "model"))
