"""Texts of requests and replies in the database of ``[gateway.state]``, encrypted, so that every gateway has them.

No request waits for a text to be written. One that is not written at once, because the database is away or slow, is not kept:
what waits is bounded. A text that was written a moment ago by another gateway may be looked for too early, so what is not found
is looked for a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..state.encryption import TextCipher
from ..state.store import StoreUnavailable, TextPlace, TextStore
from ..user.secrets import secret
from ..wire.faults import Fault
from ..worker_threads import in_store_thread
from .responder import Refused

if TYPE_CHECKING:
    from ..config.settings import State

_MOST = 64 * 1024 * 1024
"""Bytes that wait to be written."""
_AGAIN = 0.25
"""Seconds after which a text is looked for again."""
_END = 2.0
_AT_A_TIME, _PLACES = 2, 10_000
_CLAIM = 15.0
"""Seconds for which a claim lasts unless it is renewed."""
_RENEW = 5.0


def cipher_of(settings: State) -> TextCipher:
    """Raises ``PolychatError``."""
    field = "gateway.state.encryption_keys"
    return TextCipher([secret(reference, field) for reference in settings.encryption_keys], field)


class Claim(NamedTuple):
    """A place that is this process's, as long as just these bytes are kept there: nobody else encrypts the same to them."""

    place: TextPlace
    data: bytes


class KeptTexts:
    """The texts of one database."""

    def __init__(self, store: TextStore, cipher: TextCipher, tell: Callable[..., None]) -> None:
        """``tell`` logs an event."""
        self._store, self.cipher, self._tell = store, cipher, tell
        self._writing: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._turn = asyncio.Semaphore(_AT_A_TIME)
        self._unwritten: set[TextPlace] = set()
        self._claims: dict[TextPlace, bytes] = {}
        """Those that are renewed."""
        self._renewing: asyncio.Task[None] | None = None
        self.is_away = False
        """Whether the database could not be reached the last time."""

    def put(self, place: TextPlace, text: Callable[[], bytes], size: int, seconds: float) -> None:
        """Keep soon, and for so long, what ``text`` gives, which is called in a thread and has about this ``size``."""
        if len(self._unwritten) >= _PLACES:
            self._unwritten.clear()
        self._unwritten.add(place)
        if self._waiting + size > _MOST:
            self._note(away=True)
            return
        self._waiting += size
        self.work(self._put(place, text, size, seconds))

    def work(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run it in a task, which ``close`` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def _put(self, place: TextPlace, text: Callable[[], bytes], size: int, seconds: float) -> None:
        try:
            if await self.write(place, text, seconds):
                self._unwritten.discard(place)
        finally:
            self._waiting -= size

    async def write(self, place: TextPlace, text: Callable[[], bytes], seconds: float) -> bool:
        """Write a text now; returns whether the database was there."""
        until = time() + seconds
        return await self._tried(lambda: self._store.keep_text(place, self.cipher.encrypt(text(), place), until))

    async def forget(self, place: TextPlace) -> bool:
        """Delete a text; returns whether the database was there."""
        return await self._tried(lambda: self._store.forget_text(place))

    async def _tried(self, change: Callable[[], None]) -> bool:
        try:
            async with self._turn:
                await in_store_thread(change)
        except StoreUnavailable:
            self._note(away=True)
            return False
        self._note(away=False)
        return True

    # Claims: texts that mark a place as one process's until there is another text for it

    async def claim(self, place: TextPlace, text: bytes) -> Claim | bytes:
        """Keep a text where none is, and renew it until ``settle`` or ``release``; else the one that is there.

        Raises ``StoreUnavailable``. One that is cancelled claims nothing.
        """
        attempt = asyncio.ensure_future(in_store_thread(self._claimed, place, text))
        try:
            found = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            self.work(self._withdraw(attempt))
            raise
        except StoreUnavailable:
            self._note(away=True)
            raise
        if isinstance(found, Claim):
            self._claims[place] = found.data
            if self._renewing is None:
                self._renewing = asyncio.get_running_loop().create_task(self._renew())
        return found

    def _claimed(self, place: TextPlace, text: bytes) -> Claim | bytes:
        data = self.cipher.encrypt(text, place)
        while True:
            now = time()
            found = self._store.claim_text(place, data, now + _CLAIM, now)
            if found is None:
                return Claim(place, data)
            if (read := self.cipher.decrypt(found, place)) is not None:
                return read
            if self._store.replace_text(place, found, data, now + _CLAIM, now):  # the key of what was there is gone
                return Claim(place, data)

    async def _withdraw(self, attempt: asyncio.Future[Claim | bytes]) -> None:
        with suppress(StoreUnavailable):
            found = await attempt
            if isinstance(found, Claim):
                await self._released(found)

    async def _renew(self) -> None:
        """All claims at once, and behind no text that is written."""
        try:
            while self._claims:
                await asyncio.sleep(_RENEW)
                await asyncio.shield(self.work(self._hold(dict(self._claims))))
        finally:
            self._renewing = None

    async def _hold(self, claims: dict[TextPlace, bytes]) -> None:
        with suppress(StoreUnavailable):
            await in_store_thread(self._store.hold_texts, claims, time() + _CLAIM)

    def settle(self, claim: Claim, text: Callable[[], bytes], size: int, seconds: float) -> None:
        """As ``put``, in the place of a claim; what somebody else has kept there meanwhile stays."""
        if self._waiting + size > _MOST:
            self._note(away=True)
            self.release(claim)
            return
        self._waiting += size
        self.work(self._settle(claim, text, size, seconds))

    async def _settle(self, claim: Claim, text: Callable[[], bytes], size: int, seconds: float) -> None:
        place, data = claim

        def replace() -> None:
            now = time()
            self._store.replace_text(place, data, self.cipher.encrypt(text(), place), now + seconds, now)

        try:
            await self._tried(replace)
        finally:
            self._waiting -= size
            self._claims.pop(place, None)

    def release(self, claim: Claim) -> None:
        """Nothing is kept in its place; what somebody else has kept there stays."""
        self._claims.pop(claim.place, None)
        self.work(self._released(claim))

    async def _released(self, claim: Claim) -> None:
        await self._tried(lambda: self._store.forget_text(*claim))

    def is_unwritten(self, place: TextPlace) -> bool:
        """Whether the text was put here, and is not written, or not yet."""
        return place in self._unwritten

    async def get(self, place: TextPlace, *, twice: bool = False) -> bytes | None:
        """The text; ``None`` where it is not there. ``twice``: look again after a moment. Raises ``StoreUnavailable``."""

        def read() -> bytes | None:
            found = self._store.text(place, time())
            return None if found is None else self.cipher.decrypt(found, place)

        try:
            found = await in_store_thread(read)
            if found is None and twice:
                await asyncio.sleep(_AGAIN)
                found = await in_store_thread(read)
        except StoreUnavailable:
            self._note(away=True)
            raise
        return found

    async def drop(self, place: TextPlace) -> None:
        """Delete it. Raises ``Refused`` where that cannot be done now."""
        if not await self.forget(place):
            message = "the stored text cannot be deleted, as the gateway's database cannot be reached: retry later"
            raise Refused(Fault(message, "overloaded", 503, retry_after=2.0))

    async def close(self) -> None:
        """Write what waits, for a while at most."""
        if self._renewing is not None:
            self._renewing.cancel()
        if self._writing:
            await asyncio.wait(self._writing, timeout=_END)

    def _note(self, *, away: bool, **facts: Any) -> None:
        if away != self.is_away:
            self._tell("texts are not kept: the database is away" if away else "texts are kept again", **facts)
        self.is_away = away
