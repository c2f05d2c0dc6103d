"""Leases: the right to use a credential so many times until some moment, fetched once for all who wait for it."""

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
"""Gets a new credential, and the moment (on the leases' clock) from which it is not to be used."""


@dataclass(slots=True, eq=False)
class Lease(Generic[T]):
    """A credential, and how often it may still be used."""

    value: T
    until: float
    left: int
    used: int = 0
    refused: bool = False
    """The server did not take it: nobody is given it again. Whoever hears so sets this."""

    def usable(self, now: float) -> bool:
        return not self.refused and now < self.until


@dataclass(slots=True, eq=False)
class _Fetching(Generic[T]):
    """A fetch under way, and who was promised a use of what it brings."""

    task: asyncio.Task[tuple[T, float]]
    waiting: list[asyncio.Future[Lease[T]]] = field(default_factory=list)

    def has_room(self, uses: int) -> bool:
        return sum(not seat.done() for seat in self.waiting) < uses


class Leases(Generic[T]):
    """One account's leases in one event loop. Nothing here awaits between a look and the reservation that follows it."""

    def __init__(self, uses: int, clock: Clock) -> None:
        self.latest: Lease[T] | None = None
        """The one of which a use was last given."""
        self._uses = uses
        self._clock = clock
        self._at_hand: deque[Lease[T]] = deque()
        self._fetching: list[_Fetching[T]] = []

    async def take(self, fetch: Fetch[T]) -> Lease[T]:
        """One use of a credential, reserved: it counts from here on, whatever becomes of it.

        Where no use is left, ``fetch`` gets a credential, in a task of its own and for as many callers as it has uses; more
        callers mean more fetches at once. Each caller raises an error of its own when its fetch fails. A caller cancelled while
        it waits gives its place back; a fetch for which nobody waits any more is cancelled.
        """
        while True:
            lease = self._reserve() or await self._wait(self._promising() or self._begin(fetch))
            if not lease.refused:
                return lease
            self._given_back(lease)  # another caller heard of it between this one's reservation and its waking

    def idle(self) -> bool:
        """Nobody waits, and what was fetched is of no more use."""
        return not self._fetching and (self.latest is None or not self.latest.usable(self._clock()))

    def _reserve(self) -> Lease[T] | None:
        while self._at_hand:
            lease = self._at_hand[0]
            if lease.left and lease.usable(self._clock()):
                return self._given(lease)
            self._at_hand.popleft()
        return None

    def _given(self, lease: Lease[T]) -> Lease[T]:
        lease.left -= 1
        lease.used += 1
        self.latest = lease
        return lease

    def _given_back(self, lease: Lease[T]) -> None:
        lease.left += 1
        lease.used -= 1
        if lease not in self._at_hand:
            self._at_hand.append(lease)

    def _promising(self) -> _Fetching[T] | None:
        # The newest first: those before it are full, but for the places of callers that were cancelled.
        return next((fetching for fetching in reversed(self._fetching) if fetching.has_room(self._uses)), None)

    def _begin(self, fetch: Fetch[T]) -> _Fetching[T]:
        fetching = _Fetching(asyncio.get_running_loop().create_task(fetch()))
        self._fetching.append(fetching)
        fetching.task.add_done_callback(lambda _: self._arrived(fetching))
        return fetching

    async def _wait(self, fetching: _Fetching[T]) -> Lease[T]:
        seat: asyncio.Future[Lease[T]] = asyncio.get_running_loop().create_future()
        fetching.waiting.append(seat)
        try:
            return await seat
        except asyncio.CancelledError:
            self._left(fetching, seat)
            raise

    def _left(self, fetching: _Fetching[T], seat: asyncio.Future[Lease[T]]) -> None:
        """The caller was cancelled, before the fetch was done or in the moment between that and its own waking."""
        if seat in fetching.waiting:
            fetching.waiting.remove(seat)
            if not fetching.waiting:
                fetching.task.cancel()
                self._fetching.remove(fetching)
        elif not seat.cancelled() and seat.exception() is None:
            self._given_back(seat.result())

    def _arrived(self, fetching: _Fetching[T]) -> None:
        if fetching in self._fetching:
            self._fetching.remove(fetching)
        seats = [seat for seat in fetching.waiting if not seat.done()]
        fetching.waiting.clear()
        error = _failure(fetching.task)
        if error is not None:
            for seat in seats:
                seat.set_exception(_own(error))
            return
        value, until = fetching.task.result()
        lease = Lease(value, until, self._uses)
        self._at_hand.append(lease)
        # Those who waited are given it even if it is past by our clock: a clock that is off must not log in without end.
        for seat in seats:
            seat.set_result(self._given(lease))


def _failure(task: asyncio.Task[Any]) -> BaseException | None:
    if task.cancelled():
        return ConnectionFailed("the login was cancelled before it finished")
    return task.exception()


def _own(error: BaseException) -> BaseException:
    """The same error anew, caused by the first. Tracebacks and ``text`` are written on an error: no two callers share one."""
    # Not by its constructor, which may want more than its message. The built-in class that an error's memory is laid out by
    # (`OSError` of one that is a RuntimeError and a TimeoutError) is the only one that may make it.
    builtin: Any = type(error)
    while builtin.__module__ != "builtins":
        builtin = builtin.__base__
    twin: BaseException = builtin.__new__(type(error))
    twin.args = error.args
    twin.__dict__.update(error.__dict__)
    twin.__cause__ = error
    return twin


class Accounts(Generic[T]):
    """Each account's leases, in each running loop by themselves: accounts, loops and threads do not meet."""

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
        """What the account last used in the running loop; where none runs, in this thread, if no other account did since."""
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
                for idle in [name for name, leases in accounts.items() if leases.idle()]:
                    del accounts[idle]
                accounts[account] = Leases(self._uses, self._clock)
            return accounts[account]

    def _accounts(self, loop: asyncio.AbstractEventLoop) -> dict[Hashable, Leases[T]]:
        if loop not in self._loops:
            # What a loop left waiting when it was closed holds on to the loop: the weak key alone would not let go of it.
            for closed in [kept for kept in self._loops if kept.is_closed()]:
                del self._loops[closed]
            self._loops[loop] = {}
        return self._loops[loop]
