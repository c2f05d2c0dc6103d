"""Replies to repeated requests that gateways share through a database: whichever of them gets a request again, one has run it.

A gateway claims a request before it runs it, and renews the claim while it runs. Another one that gets the same request waits
for the reply, looking for it every ``_EVERY`` seconds; if the first fails it forgets its claim, and if it is killed the claim
ends after ``_CLAIM``: then the other runs the request. While the database is away, each gateway knows of its own requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from secrets import token_bytes

import msgspec

from ...state.store import StoreUnavailable, TextPlace
from ..kept_texts import KeptTexts

_CLAIM = 15.0
_RENEW = 5.0
_EVERY = 0.5


class SharedReply(msgspec.Struct, frozen=True, array_like=True):
    """A reply, or, with ``status`` 0, the claim of the gateway that runs its request."""

    fingerprint: bytes
    status: int = 0
    stream: bool = False
    lines: bytes = b""
    body: bytes = b""
    holder: bytes = b""


_reply = msgspec.msgpack.Decoder(SharedReply)


class Claim:
    """The claim of a request that runs here, renewed until ``end``."""

    def __init__(self, texts: KeptTexts, place: TextPlace, claim: bytes) -> None:
        self._texts, self._place, self._claim = texts, place, claim
        self._ended = asyncio.Event()
        self._reply: tuple[Callable[[], bytes], float] | None = None
        texts.work(self._run())

    def end(self, reply: Callable[[], bytes] | None, seconds: float) -> None:
        """The request is over: its reply is kept for so long, or the claim is forgotten."""
        self._reply = None if reply is None else (reply, seconds)
        self._ended.set()

    async def _run(self) -> None:
        while not self._ended.is_set():
            await self._texts.write(self._place, lambda: self._claim, _CLAIM)
            try:
                async with asyncio.timeout(_RENEW):
                    await self._ended.wait()
            except TimeoutError:
                continue
        if self._reply is None:
            await self._texts.forget(self._place)
        else:
            await self._texts.write(self._place, *self._reply)


def written(reply: SharedReply) -> bytes:
    return msgspec.msgpack.encode(reply)


async def claimed(texts: KeptTexts, key: str, name: bytes, fingerprint: bytes) -> Claim | SharedReply | None:
    """The claim, if the request is to be run here; its reply, or what else was claimed by that name, if another gateway ran it.

    ``None``: the database is away.
    """
    place = TextPlace("reply", key, sha256(name).hexdigest())
    claim = written(SharedReply(fingerprint, holder=token_bytes(8)))
    while True:
        try:
            data = await texts.claim(place, claim, _CLAIM)
        except StoreUnavailable:
            return None
        if data is None:
            return Claim(texts, place, claim)
        found = _reply.decode(data)
        if found.status or found.fingerprint != fingerprint:
            return found
        await asyncio.sleep(_EVERY)
