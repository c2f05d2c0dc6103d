"""Accounts: what the requests of one key may do and use, from its own policy and those of everyone above it.

An organisation, a team, a person and a key may each have limits; a request counts in all of them. What they allow narrows from
above to below: a request needs the permission of each. Of settings such as a priority, the nearest one to the key holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, MutableMapping, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from threading import Lock
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from ...config.settings import Allowance, KeySettings
from ...state.ledger import NANO, Bucket, BucketName
from ...state.store import Ownership, Policy, UsageLimit
from .charged import ChargedBuckets
from .soft_limits import SoftLimits

if TYPE_CHECKING:
    from ...routing import Plan

_USERS = 10_000
"""End users whose use is counted at a time, in one process."""
_MOST_SHARED = 100_000
"""Buckets of end users that hold anything, with a store: those that wait to be reported while it is away are kept, too."""
_MOST = 100_000
"""Other buckets, beyond which those that hold nothing are forgotten."""
_LONGEST = 100
"""Letters of an end user's name; longer ones are cut, and a digest tells them apart."""
_OTHERS = "(all others)"
"""The name that end users share when there is no room for a bucket of each."""
_MILLION = 1_000_000


class Holder(NamedTuple):
    """One of those that a request belongs to."""

    level: str
    """``key``, ``person``, ``team`` or ``org``."""
    name: str
    """As the store knows it: of a key its id."""
    policy: Policy


class Buckets:
    """All that is counted in this process, each bucket once, whoever it is that counts in it.

    A bucket that other processes share is kept while anything refers to it: what was used of it is in the store. Others are
    kept as long as they hold anything. End users may be any number, as clients name them: where there is no room for a bucket
    of each, further ones have one together, so that made-up names make nobody's limit forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time, *, shared: bool = False) -> None:
        """``clock``: seconds since 1970. ``shared``: whether other processes spend them too."""
        self._clock, self._shared = clock, shared
        self.soft_limits = SoftLimits(clock)
        self._kept: MutableMapping[BucketName, Bucket] = WeakValueDictionary() if shared else {}
        self._kept_of_users: MutableMapping[BucketName, Bucket] = WeakValueDictionary() if shared else {}
        self._most = _MOST
        self._of_users: OrderedDict[tuple[str, str], tuple[Bucket, ...]] = OrderedDict()
        """By key and user, the one that was not seen for the longest time first."""
        self._lock = Lock()

    def of(self, level: str, owner: str, limits: Sequence[UsageLimit]) -> tuple[Bucket, ...]:
        """The bucket of each limit, with the limit as it is now."""
        with self._lock:
            if not self._shared and len(self._kept) >= self._most:
                self._forget_empty()
            return tuple(self._one(BucketName(level, owner, limit.metric, limit.window), limit) for limit in limits)

    def _forget_empty(self) -> None:
        """An account that has one of them goes on with it; the next one of that key begins as empty."""
        now = self._clock()
        self._kept = {name: bucket for name, bucket in self._kept.items() if _holds(bucket, now)}
        self._most = max(_MOST, 2 * len(self._kept))

    def _one(self, name: BucketName, limit: UsageLimit) -> Bucket:
        kept = self._kept_of_users if name.level == "user" else self._kept
        bucket = kept.get(name)
        if bucket is None:
            bucket = kept[name] = Bucket(name, limit.cap)
            if self._shared:
                bucket.granted = 0
        bucket.hard, bucket.soft = limit.cap, limit.soft
        return bucket

    def of_user(self, key: str, user: str, limits: Sequence[UsageLimit]) -> tuple[Bucket, ...]:
        """Those of one end user of a key, named ``KEY/USER``."""
        user = user.replace("\0", "\N{REPLACEMENT CHARACTER}")  # which no database keeps
        if len(user) > _LONGEST:
            user = f"{user[:_LONGEST]}…{blake2b(user.encode(errors='replace'), digest_size=8).hexdigest()}"
        place = key, user
        if place in self._of_users:
            self._of_users.move_to_end(place)
        elif self._is_full():
            place = key, _OTHERS
        buckets = self._of_users[place] = self.of("user", "/".join(place), limits)
        return buckets

    def _is_full(self) -> bool:
        """Whether there is no room for another end user."""
        if self._shared and len(self._kept_of_users) >= _MOST_SHARED:
            return True
        return len(self._of_users) >= _USERS and not self._forget_one()

    def _forget_one(self) -> bool:
        """Forget the end user who was not seen for the longest time; false where a limit would be forgotten with it."""
        place, buckets = next(iter(self._of_users.items()))
        if not self._shared:
            now = self._clock()
            if any(_holds(bucket, now) for bucket in buckets):
                return False
            for bucket in buckets:
                del self._kept_of_users[bucket.name]
        del self._of_users[place]
        return True


def _holds(bucket: Bucket, now: float) -> bool:
    """Whether anything would be forgotten with it."""
    return bool(bucket.reserved or (bucket.used and bucket.window.end > now))


class Account:
    """What the requests of one key may do and use. It does not change: a change of a policy makes another."""

    __slots__ = (
        *("_charged", "_names", "_user_limits", "buckets", "dialects", "expires_at", "hosted_tools", "name"),
        *("keep_text", "on_loss", "ownership", "priority", "registry", "unpriced"),
    )

    def __init__(
        self,
        name: str,
        holders: Sequence[Holder],
        registry: Buckets,
        ownership: Ownership,
        expires_at: float | None = None,
    ) -> None:
        """``holders``: the key first, then those above it."""
        policies = [holder.policy for holder in holders]
        self.name = name
        """The key, as logs name it."""
        self.ownership = ownership
        self.expires_at = expires_at
        self.registry = registry
        self.buckets = tuple(
            bucket for holder in holders for bucket in registry.of(holder.level, holder.name, holder.policy.limits)
        )
        self._names = [names for policy in policies if (names := (*policy.routes, *policy.models))]
        self._charged = ChargedBuckets(self.buckets, registry.soft_limits.look_at)
        self.dialects = [policy.dialects for policy in policies if policy.dialects]
        self._user_limits = _smallest([limit for policy in policies for limit in policy.user_limits])
        self.priority = _nearest(policies, "priority")
        self.on_loss = _nearest(policies, "on_loss")
        self.hosted_tools = _nearest(policies, "hosted_tools")
        self.keep_text = _nearest(policies, "keep_text")
        self.unpriced = _nearest(policies, "unpriced")

    def charged(self, user: str) -> ChargedBuckets:
        """All buckets in which a request counts, that of its end user too."""
        if not user or not self._user_limits:
            return self._charged
        buckets = self.buckets + self.registry.of_user(self.name, user, self._user_limits)
        return ChargedBuckets(buckets, self.registry.soft_limits.look_at)

    @property
    def counts_users(self) -> bool:
        return bool(self._user_limits)

    @property
    def is_limited(self) -> bool:
        """Whether there is anything that a request needs to be looked at for."""
        return bool(self.buckets or self._user_limits or self._names or self.dialects)

    def wrong_dialect(self, dialect: str) -> str:
        """Why a request of this dialect is refused; empty where it is not."""
        for allowed in self.dialects:
            if dialect not in allowed:
                return f"the key {self.name} may not be used with the dialect {dialect}, only with {', '.join(allowed)}"
        return ""

    @property
    def chooses_models(self) -> bool:
        """Whether it allows some models only."""
        return bool(self._names)

    def wrong_model(self, plan: Plan) -> str:
        """Why this plan is refused; empty where each level allows its route, or all of its targets."""
        if all(_allows(names, plan) for names in self._names):
            return ""
        allowed = "; of these ".join(", ".join(names) for names in self._names)
        return f"the key {self.name} may not ask for this model, only for {allowed}"


def _smallest(limits: Sequence[UsageLimit]) -> list[UsageLimit]:
    """Of each metric and window the smallest: an end user has one bucket, whichever level limits it."""
    kept: dict[tuple[Any, Any], UsageLimit] = {}
    for limit in limits:
        place = limit.metric, limit.window
        if place not in kept or limit.cap < kept[place].cap:
            kept[place] = limit
    return list(kept.values())


def _nearest(policies: Sequence[Policy], name: str) -> Any:
    return next((value for policy in policies if (value := getattr(policy, name)) is not None), None)


def _allows(names: Sequence[str], plan: Plan) -> bool:
    if plan.route and plan.route in names:
        return True
    return all(any(fnmatchcase(target.name, name) for name in names) for target in plan.targets)


def policy_of(settings: KeySettings) -> Policy:
    """The policy of a key of the configuration file."""
    unpriced = settings.unpriced
    return Policy(
        limits=tuple(limits_of(settings)),
        user_limits=tuple(limits_of(settings.per_user)),
        models=settings.models,
        dialects=settings.dialects,
        priority=settings.priority,
        on_loss=settings.on_loss,
        hosted_tools=settings.hosted_tools,
        keep_text=settings.keep_text,
        unpriced=unpriced if isinstance(unpriced, str) else round(unpriced * NANO / _MILLION),
    )


def limits_of(settings: Allowance) -> list[UsageLimit]:
    """Each limit and budget that is set."""
    warn = settings.warn_at
    caps: list[tuple[Any, Any, float | None]] = [
        ("requests", "minute", settings.rpm),
        ("tokens", "minute", settings.tpm),
        ("concurrent", None, settings.concurrent),
        *(("tokens", window, getattr(settings.tokens, window)) for window in ("hour", "day", "month")),
        *(("dollars", window, getattr(settings.budget, window)) for window in ("hour", "day", "month")),
    ]
    units = {"dollars": NANO}
    return [
        UsageLimit(metric=metric, window=window, cap=(whole := round(cap * units.get(metric, 1))), soft=round(whole * warn))
        for metric, window, cap in caps
        if cap is not None
    ]
