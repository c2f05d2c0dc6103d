"""Leases: the right to use a credential a number of times until some time, fetched once for all callers that wait for it.

A chat site issues a login that is valid for a few requests and some minutes. A *caller* needs one use of one. A *fetch* is a
task that logs in, for as many callers as a login has uses. A *lease* is a fetched login with its remaining uses. Accounts,
event loops and threads each have their own leases: nothing here is shared between loops, so only the lookup of a loop's
accounts is locked.

A fetch, from the caller that starts it to its end:

fetch      event                  next       what follows
=========  =====================  =========  =====================================================================
none       take                   pending    no lease has a use left and no pending fetch has room: a task starts
pending    take                   pending    the caller waits with the others, at most ``uses`` of them
pending    a waiter is cancelled  pending    its place is free for the next caller
pending    the last is cancelled  cancelled  the task is cancelled: a login that no caller waits for costs nothing
pending    it succeeds            done       a lease; each waiter is granted a use, in the order they came
pending    it fails               failed     each waiter raises an error of its own, caused by the task's
=========  =====================  =========  =====================================================================

A lease, from its fetch until it is given to no caller any more:

lease      event                  next       what follows
=========  =====================  =========  =====================================================================
none       it is fetched          open
none       all uses are granted   used up    it had as many waiters as uses
none       late                   expired    by our clock, which may be off: its waiters get it all the same, once
open       a use is granted       open       ``uses_left`` falls before the caller runs, not after its ask
open       the last is granted    used up
used up    a use is returned      open       its caller was cancelled, or learned of a refusal, before it woke
open       ``until`` passes       expired    what is left of it is void
used up    ``until`` passes       expired
open       the server refuses     refused    ``refused``, set by the caller that learned so
used up    the server refuses     refused
expired    the server refuses     refused
=========  =====================  =========  =====================================================================

Invariants: ``used + uses_left`` is ``uses``; a use is counted once, when granted, and is returned only if its caller did not
run; there is no ``await`` between a look and the reservation that follows from it; a lease in hand is used up before a
new fetch starts.

Bounds: a fetch serves ``uses`` callers, so N callers at once are N / ``uses`` logins, no more and no fewer. How long a login
may take is for ``fetch`` to limit, and how long a caller waits for the caller: neither has a clock here.

Cancellation: a caller's own cancellation takes its place away and nothing else. Only ``Leases`` cancels the
task of a fetch, when its last waiter is gone; if other code does, its waiters raise ``ConnectionFailed``, which is no
cancellation of theirs.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from ..errors import ConnectionFailed

T = TypeVar("T")
Clock: TypeAlias = Callable[[], float]
Fetch: TypeAlias = Callable[[], Coroutine[Any, Any, tuple[T, float]]]
"""Gets a new credential, and the time (on the leases' clock) from which it must not be used."""


@dataclass(slots=True, eq=False)
class Lease(Generic[T]):
    """A credential, and how often it may still be used."""

    value: T
    until: float
    uses_left: int
    used: int = 0
    refused: bool = False
    """The server refused it, so no caller gets it again. The caller that receives the refusal sets this."""

    def usable(self, now: float) -> bool:
        """Whether it is neither refused nor expired; it may have no use left."""
        return not self.refused and now < self.until

    def state(self, now: float) -> str:
        """A state of the table above."""
        if not self.usable(now):
            return "refused" if self.refused else "expired"
        return "open" if self.uses_left else "used up"


@dataclass(slots=True, eq=False)
class _PendingFetch(Generic[T]):
    """A fetch in progress, and the callers that were promised a use of its result."""

    task: asyncio.Task[tuple[T, float]]
    waiting: list[asyncio.Future[Lease[T]]] = field(default_factory=list)

    def has_room(self, uses: int) -> bool:
        return sum(not waiter.done() for waiter in self.waiting) < uses


class Leases(Generic[T]):
    """One account's leases in one event loop. Nothing here awaits between a check and the reservation that follows it."""

    def __init__(self, uses: int, clock: Clock) -> None:
        self.latest: Lease[T] | None = None
        """The lease of which a use was granted last."""
        self._uses = uses
        self._clock = clock
        self._available: deque[Lease[T]] = deque()
        self._pending: list[_PendingFetch[T]] = []

    async def take(self, fetch: Fetch[T]) -> Lease[T]:
        """One use of a credential, reserved: it counts from here on, in any case.

        If no use is left, ``fetch`` gets a credential, in a separate task and for as many callers as it has uses; more
        callers mean more fetches at once. Each caller raises an error of its own when its fetch fails. A caller cancelled while
        it waits gives its place back; a fetch that no caller waits for any more is cancelled.
        """
        while True:
            lease = self._reserve() or await self._wait(self._with_room() or self._start(fetch))
            if not lease.refused:
                return lease
            self._return_use(lease)  # another caller found out between this one's reservation and its waking

    def is_idle(self) -> bool:
        """No request waits, and no fetched lease is usable."""
        return not self._pending and (self.latest is None or not self.latest.usable(self._clock()))

    def _reserve(self) -> Lease[T] | None:
        while self._available:
            lease = self._available[0]
            if lease.uses_left and lease.usable(self._clock()):
                return self._grant(lease)
            self._available.popleft()
        return None

    def _grant(self, lease: Lease[T]) -> Lease[T]:
        lease.uses_left -= 1
        lease.used += 1
        self.latest = lease
        return lease

    def _return_use(self, lease: Lease[T]) -> None:
        lease.uses_left += 1
        lease.used -= 1
        if lease not in self._available:
            self._available.append(lease)

    def _with_room(self) -> _PendingFetch[T] | None:
        # The newest first: those before it are full, but for the places of callers that were cancelled.
        return next((pending for pending in reversed(self._pending) if pending.has_room(self._uses)), None)

    def _start(self, fetch: Fetch[T]) -> _PendingFetch[T]:
        pending = _PendingFetch(asyncio.get_running_loop().create_task(fetch()))
        self._pending.append(pending)
        pending.task.add_done_callback(lambda _: self._fetched(pending))
        return pending

    async def _wait(self, pending: _PendingFetch[T]) -> Lease[T]:
        waiter: asyncio.Future[Lease[T]] = asyncio.get_running_loop().create_future()
        pending.waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._waiter_cancelled(pending, waiter)
            raise

    def _waiter_cancelled(self, pending: _PendingFetch[T], waiter: asyncio.Future[Lease[T]]) -> None:
        """The caller was cancelled, before the fetch was done or in the moment between that and its own waking."""
        if waiter in pending.waiting:
            pending.waiting.remove(waiter)
            if not pending.waiting:
                pending.task.cancel()
                self._pending.remove(pending)
        elif not waiter.cancelled() and waiter.exception() is None:
            self._return_use(waiter.result())

    def _fetched(self, pending: _PendingFetch[T]) -> None:
        if pending in self._pending:
            self._pending.remove(pending)
        waiters = [waiter for waiter in pending.waiting if not waiter.done()]
        pending.waiting.clear()
        error = _failure(pending.task)
        if error is not None:
            for waiter in waiters:
                waiter.set_exception(_copy(error))
            return
        value, until = pending.task.result()
        lease = Lease(value, until, self._uses)
        self._available.append(lease)
        # Waiting callers get it even if it is expired by our clock: a wrong clock must not cause endless logins.
        for waiter in waiters:
            waiter.set_result(self._grant(lease))


def _failure(task: asyncio.Task[Any]) -> BaseException | None:
    if task.cancelled():
        return ConnectionFailed("the login was cancelled before it finished")
    return task.exception()


def _copy(error: BaseException) -> BaseException:
    """A copy of the error, caused by the first. Tracebacks and ``text`` are set on an error: no two callers share one."""
    # Not by its constructor, which may require more than its message. Only the built-in class that determines the memory layout
    # (`OSError` for a class that is a RuntimeError and a TimeoutError) can create it.
    builtin: Any = type(error)
    while builtin.__module__ != "builtins":
        builtin = builtin.__base__
    twin: BaseException = builtin.__new__(type(error))
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    twin.__cause__ = error
    return twin


class Accounts(Generic[T]):
    """Each account's leases, separately for each running loop: accounts, loops and threads share nothing."""

    def __init__(self, uses: int, clock: Clock) -> None:
        self._uses = uses
        self._clock = clock
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Leases[T]]] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._thread = threading.local()

    async def take(self, account: Hashable, fetch: Fetch[T]) -> Lease[T]:
        """``Leases.take`` for this account in the running loop."""
        lease = await self._of(account).take(fetch)
        self._thread.latest = (account, lease)
        return lease

    def latest(self, account: Hashable) -> Lease[T] | None:
        """The lease that the account last used in the running loop; without a loop, in this thread, if no other account did
        since.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            whose, lease = getattr(self._thread, "latest", (account, None))
            return lease if whose == account else None
        with self._lock:
            leases = self._loops.get(loop, {}).get(account)
        return leases.latest if leases is not None else None

    def _of(self, account: Hashable) -> Leases[T]:
        with self._lock:
            accounts = self._accounts(asyncio.get_running_loop())
            if account not in accounts:
                for stale in [name for name, leases in accounts.items() if leases.is_idle()]:
                    del accounts[stale]
                accounts[account] = Leases(self._uses, self._clock)
            return accounts[account]

    def _accounts(self, loop: asyncio.AbstractEventLoop) -> dict[Hashable, Leases[T]]:
        if loop not in self._loops:
            # Waiters of a loop that was closed refer to the loop: the weak key alone would not release it.
            for closed in [other for other in self._loops if other.is_closed()]:
                del self._loops[closed]
            self._loops[loop] = {}
        return self._loops[loop]
