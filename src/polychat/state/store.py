"""What a gateway keeps beyond a request, as plain values, and what a store has to offer: keys and their owners, the ledger of
limits and budgets, usage.

An implementation is a database, or the memory of one process. Its methods block, so nothing on the way of a request calls them:
threads, the command and tests do. Each method is one transaction. One that cannot reach its database raises
``StoreUnavailable``, and may have written or not where the connection was lost on the way: every write may be repeated with
the same arguments and counts once.

Moments are seconds since 1970 in UTC. Money is whole nanodollars (a billionth of a US dollar), so that sums are exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from secrets import token_hex
from time import time_ns
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from msgspec import Struct, field

from ..choices import HostedTools, OnLossSetting, Priority, Unpriced
from ..errors import PolychatError
from .ledger import Metric
from .windows import WindowKind

OwnerKind: TypeAlias = Literal["org", "team", "person"]
UsageDimension: TypeAlias = Literal[
    "key", "person", "team", "org", "user", "model", "target", "route", "dialect", "verdict", "day"
]


class Superseded(PolychatError):
    """Somebody else changed it since it was read: read it again."""

    def __init__(self) -> None:
        super().__init__("somebody else changed it meanwhile: read it again, and repeat the change if it is still right")


class StoreUnavailable(PolychatError):
    """The database cannot be reached, is locked or is full. What asked for it may ask again later."""


# Keys, and whose they are


class UsageLimit(Struct, frozen=True, kw_only=True):
    """How much of a metric may be used in each window; ``dollars`` in nanodollars."""

    metric: Metric
    window: WindowKind | None
    """``None``: what runs at one time, which no window ends."""
    cap: int
    soft: int | None = None
    """From here on requests are answered with a warning."""


class Policy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What requests of a key, or of all keys of an owner, may do. ``None`` or empty: an owner above decides.

    A list of one's own narrows what an owner above allows and never widens it; limits apply all, each to its own bucket.
    """

    limits: tuple[UsageLimit, ...] = ()
    user_limits: tuple[UsageLimit, ...] = ()
    """For each end user that its requests name."""
    routes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    dialects: tuple[str, ...] = ()
    priority: Priority | None = None
    on_loss: OnLossSetting | None = None
    hosted_tools: HostedTools | None = None
    keep_text: bool | None = None
    """Whether texts of its requests may be kept in the database."""
    unpriced: Unpriced | int | None = None
    """For models without a price, where a budget in dollars applies; a number is a price in nanodollars per token."""


class Owner(Struct, frozen=True, kw_only=True):
    """An organisation, a team or a person, by name; names are unique among owners of one kind."""

    kind: OwnerKind
    name: str
    parent: str = ""
    """The name of a person's team or of a team's organisation; empty for none."""
    policy: Policy = Policy()
    created_at: float = 0.0
    deleted_at: float | None = None
    change: int = 0
    """When it was changed last, in the order of all changes of the store; the store sets it."""


class StoredKey(Struct, frozen=True, kw_only=True):
    """A key of a client. The key itself is not kept: ``digest`` is a SHA-256 of its text."""

    id: str
    """Public: logs name the key by it."""
    digest: bytes
    name: str
    owner: tuple[OwnerKind, str] | None = None
    policy: Policy = Policy()
    created_at: float = 0.0
    expires_at: float | None = None
    """Also the end of the grace time of a key that was rotated."""
    revoked_at: float | None = None
    ends_streams: bool = False
    """Whether its revocation ends replies that are running."""
    replaced_by: str = ""
    """The id of the key that it was rotated to."""
    last_used_at: float | None = None
    change: int = 0
    """As in ``Owner``."""


Place: TypeAlias = tuple[float, str]
"""Of a key or an entry in the order of its list: its moment and its id, as many may have one moment."""


class Ownership(NamedTuple):
    """Whose a request is, for its usage: names, empty where there is none. ``key`` is the key's id, or its name in the file."""

    key: str = ""
    person: str = ""
    team: str = ""
    org: str = ""
    key_name: str = ""
    """The name of a key that is in a database: several may have the same."""


class Changes(NamedTuple):
    """What was changed since a ``change``, and the ``change`` to ask from next."""

    last: int
    owners: list[Owner]
    keys: list[StoredKey]


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Who changed what, and when."""

    id: str = field(default_factory=lambda: f"{time_ns():016x}{token_hex(4)}")
    """Unique; of entries with one moment that of the later is greater."""
    at: float
    actor: str
    """The name of the admin key, or ``command:USER``."""
    action: str
    """Such as ``key.create``."""
    subject: str
    """Such as ``key:ID`` or ``team:NAME``."""
    facts: Mapping[str, Any] = {}
    """What was set, without secrets."""


def check_current(value: Owner | StoredKey, change: int | None) -> None:
    """Raises ``Superseded`` unless ``value`` was made from what is kept, whose ``change`` this is; ``None``: there is none."""
    if value.change != (change or 0):
        raise Superseded


class KeyStore(Protocol):
    """Keys and owners. Each change is made together with its entry in the audit log, or not at all."""

    def put_owner(self, owner: Owner, entry: AuditEntry) -> Owner:
        """Make it, or replace the one of its kind and name; give it with its ``change``.

        Raises ``Superseded`` if the one to replace has another ``change`` than ``owner``, which has 0 where there is none.
        """

    def put_key(self, key: StoredKey, entry: AuditEntry) -> StoredKey:
        """Make it, or replace the one with its ``id``; give it with its ``change``. ``last_used_at`` is only ever raised.

        Raises ``Superseded`` as ``put_owner``.
        """

    def owners(
        self, kind: OwnerKind | None = None, *, after: str | None = None, limit: int | None = None, deleted: bool = True
    ) -> list[Owner]:
        """By kind and name, ``deleted`` ones too; of one kind ``after`` a name, and so many at most."""

    def keys(
        self,
        *,
        owner: tuple[OwnerKind, str] | None = None,
        name: str | None = None,
        after: Place | None = None,
        limit: int | None = None,
    ) -> list[StoredKey]:
        """Revoked and expired ones too, in the order in which they were made; those of an ``owner``, or with a name, and so
        many at most."""

    def key_by_digest(self, digest: bytes) -> StoredKey | None: ...

    def key_by_id(self, key_id: str) -> StoredKey | None: ...

    def key_names(self, ids: Collection[str]) -> dict[str, str]:
        """By id, the names of those of these keys that there are, revoked and expired ones too."""

    def owner(self, kind: OwnerKind, name: str) -> Owner | None: ...

    def changes(self, after: int) -> Changes:
        """Keys and owners whose ``change`` is above ``after``; cheap if there are none."""

    def last_change(self) -> int:
        """The highest ``change``; 0 before the first."""

    def keys_used(self, moments: Mapping[str, float]) -> None:
        """By id, when keys were used last. Neither a ``change`` nor an entry of the audit log."""

    def audit(self, *, since: float = 0.0, limit: int = 100, after: Place | None = None) -> list[AuditEntry]:
        """The latest, the last first; those that come ``after`` one in this order."""

    def forget_audit(self, before: float) -> int:
        """Delete the entries from before then; give how many."""


# Limits and budgets


class StoredBucket(NamedTuple):
    """What one owner or key used of one metric in one window."""

    level: str
    """``org``, ``team``, ``person``, ``key`` or ``user``."""
    owner: str
    metric: Metric
    window: WindowKind | None
    start: int
    """When the window began."""
    end: int | None
    """When it ends; the bucket is forgotten some time after that."""


MOST_AHEAD = 300.0
"""Seconds that an allotment may last at most. One that lasts longer was taken by a process whose clock was ahead, and holds
nothing: if that process was killed, nobody would give it back."""


class AllotmentRequest(NamedTuple):
    """What one process wants of a bucket: its *allotment*, which it may spend without asking.

    It has one of each bucket that it spends, and renews it, all in one step: what it spent is counted, what it kept stays
    reserved for it, and the rest of what is left is shared.
    """

    allotment: str
    """Its id, chosen by the process: unique, and new in each window."""
    bucket: StoredBucket
    cap: int
    spent: int
    """As in ``Settlement``."""
    kept: int
    """What the process did not spend and goes on with, as far as it is left."""
    amount: int
    """Wanted instead, if that is more; at most half of what is left is granted."""
    least: int
    """Wanted in any case: where it is not left, nothing but ``kept`` is granted."""

    def granted(self, left: int) -> int:
        """How much of what is left for this process it may go on to spend."""
        kept = max(0, min(self.kept, left))
        return max(kept, self.least, min(self.amount, left // 2)) if left >= self.least else kept


class Grant(NamedTuple):
    """The answer to an ``AllotmentRequest``."""

    amount: int
    """What the process may spend from now on."""
    spent: int
    """What was spent of the bucket, by all."""
    elsewhere: int
    """What other processes hold and have not spent."""


class Settlement(NamedTuple):
    """What was spent of an allotment so far, all together: to report the same again changes nothing."""

    allotment: str
    bucket: StoredBucket
    spent: int
    """May exceed the allotment's amount: what was used counts, allowed or not."""
    closed: bool
    """Whether the rest is given back."""


class Level(NamedTuple):
    """How full a bucket is."""

    spent: int
    allotted: int
    """Given to processes and neither spent nor expired."""


class LedgerStore(Protocol):
    """Buckets that several processes spend together without exceeding a cap."""

    def renew(self, asks: Sequence[AllotmentRequest], until: float, now: float) -> list[Grant]:
        """Answer each; each bucket occurs once. After ``until`` others may get what was kept."""

    def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        """Count what was spent, also of an allotment that has expired or is not known."""

    def levels(self, buckets: Sequence[StoredBucket], now: float) -> list[Level]: ...

    def announce(self, process: str, until: float, now: float) -> int:
        """This process is there until then, unless it says so again; give how many are there now."""

    def forget_buckets(self, before: float) -> int:
        """Delete the buckets whose windows ended before then, and the allotments that did; give how many buckets."""

    def close(self) -> None: ...


class RetryTimes(Protocol):
    """The moments before which backends asked for no request."""

    def retry_times(self, news: Mapping[str, float], now: float) -> dict[str, float]:
        """All that are to come, with these: by a name for the backend and the key. Of two for one name the later counts."""


class SharedStore(LedgerStore, RetryTimes, Protocol):
    """What machines share that lasts for a minute or so."""


# Usage


class Attempted(Struct, frozen=True, array_like=True):
    """An attempt whose reply was not the one that the client got to its end."""

    target: str
    outcome: str


class UsageLabels(NamedTuple):
    """What many requests have in common, so that it is kept once for all of them. Names are empty where there is none."""

    key: str = ""
    person: str = ""
    team: str = ""
    org: str = ""
    user: str = ""
    """The request's own ``user`` field."""
    dialect: str = ""
    model: str = ""
    """As the client named it."""
    route: str = ""
    target: str = ""
    """Who answered or was asked last, and so was paid: ``provider/model``."""
    verdict: str = ""
    reason: str = ""
    """Why the reply ended, in one word."""
    status: int = 0
    stream: bool = False
    unpriced: str = ""
    """Why there is no cost; empty where there is one."""
    failed: str = ""
    """JSON of ``Attempted``: the attempts before; empty for none."""


class UsageRecord(Struct, frozen=True, kw_only=True):
    """One finished request. Neither its text nor its reply's is in it."""

    at: int
    """When the request came, in milliseconds."""
    id: int
    """63 bits, unique among the requests that came in one millisecond. What is written twice is kept once."""
    took: int
    """Milliseconds."""
    labels: UsageLabels
    attempts: int = 1
    """0: it is an attempt beside the answer of a request, which has a record of its own."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_prompt_tokens: int | None = None
    audio_completion_tokens: int | None = None
    estimated: bool = False
    """Whether the tokens are estimates, as the backend did not count."""
    cost: int | None = None
    """Nanodollars; ``None`` is unpriced."""


class UsageSum(Struct, frozen=True, kw_only=True):
    """The usage of several requests together."""

    name: str
    """The value of the dimension that they have in common."""
    requests: int
    """Without the attempts beside them."""
    failed: int
    """Those that were not complete."""
    unpriced: int
    """Those without a cost, which ``cost`` leaves out."""
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost: int

    @property
    def place(self) -> UsagePlace:
        return -self.cost, -self.prompt_tokens - self.completion_tokens, self.name


UsagePlace: TypeAlias = tuple[int, int, str]
"""Of a sum in the order of its list: the highest cost first, then the most tokens; of days only the name counts."""


def days_in_order(sums: Iterable[UsageSum], after: UsagePlace | None, limit: int | None) -> list[UsageSum]:
    """A page of the sums of days."""
    ordered = sorted(sums, key=lambda one: one.name)
    return [one for one in ordered if after is None or one.name > after[2]][:limit]


class UsageFilter(NamedTuple):
    """Which requests: those that came at ``since`` or later and before ``until``, and whose labels have these values."""

    since: float = 0.0
    until: float | None = None
    labels: Mapping[str, str] = {}


class UsageStore(Protocol):
    """The record of each finished request."""

    def write_usage(self, records: Sequence[UsageRecord]) -> None:
        """Keep those whose ``at`` and ``id`` are not kept yet."""

    def usage(
        self, by: UsageDimension, which: UsageFilter, *, after: UsagePlace | None = None, limit: int | None = None
    ) -> list[UsageSum]:
        """Sums by a dimension; days by date, others by cost and then by tokens, the highest first; so many at most."""

    def forget_usage(self, before: float) -> int:
        """Delete the records of requests that came before then; give how many."""


# Texts


class TextPlace(NamedTuple):
    """Where a text is kept."""

    kind: str
    """What it is: ``response`` or ``reply``."""
    owner: str
    """The key of the client whose it is: its id, or its name in the file."""
    name: str


class TextStore(Protocol):
    """Texts of requests and replies that are kept for a time. They come encrypted."""

    def keep_text(self, place: TextPlace, data: bytes, until: float) -> None:
        """Keep it, in place of an earlier one."""

    def claim_text(self, place: TextPlace, data: bytes, until: float, now: float) -> bytes | None:
        """Keep it where nothing else is kept; ``None`` if that was done, else what is there."""

    def hold_texts(self, held: Mapping[TextPlace, bytes], until: float) -> None:
        """Keep those until then that are still there with just these bytes, due or not."""

    def replace_text(self, place: TextPlace, held: bytes, data: bytes, until: float, now: float) -> bool:
        """Keep ``data`` in place of ``held``, or where nothing is kept; false where something else is."""

    def text(self, place: TextPlace, now: float) -> bytes | None: ...

    def forget_text(self, place: TextPlace, held: bytes | None = None) -> None:
        """Delete it; with ``held`` only if it is just that."""

    def forget_texts(self, before: float) -> int:
        """Delete those that were to be kept until then, or less; give how many."""


class StateStore(KeyStore, LedgerStore, UsageStore, TextStore, Protocol):
    """All that is kept."""

    def close(self) -> None: ...
