"""Replies to repeated requests that gateways share through a database: whichever of them gets a request again, one has run it.

A gateway claims a request before it runs it, and renews the claim while it runs. Another one that gets the same request waits
for the reply, looking for it every ``_EVERY`` seconds: for at most ``_LONGEST`` if nothing can be sent to its client
meanwhile, and for ``_LONGEST_STREAM`` if that gets heartbeats; then the client is told to ask again. If the first fails it
gives up its claim, and if it is killed the claim ends by itself: then the other runs the request. A claim that ended, and that
another gateway has now, is neither renewed, given up nor replaced by the one that had it. While the database is away, each
gateway knows of its own requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from secrets import token_bytes
from time import monotonic

import msgspec

from ...state.store import StoreUnavailable, TextPlace
from ...wire.faults import Fault
from ..kept_texts import Claim, KeptTexts
from ..responder import Refused

_EVERY = 0.5
_LONGEST = 45.0
"""Seconds. Proxies end connections that are silent for a minute."""
_LONGEST_STREAM = 600.0


class SharedReply(msgspec.Struct, frozen=True, array_like=True):
    """A reply, or, with ``status`` 0, the claim of the gateway that runs its request."""

    fingerprint: bytes
    status: int = 0
    stream: bool = False
    lines: bytes = b""
    body: bytes = b""
    holder: bytes = b""


_reply = msgspec.msgpack.Decoder(SharedReply)


def written(reply: SharedReply) -> bytes:
    return msgspec.msgpack.encode(reply)


async def claimed(
    texts: KeptTexts, key: str, name: bytes, fingerprint: bytes, waits: Callable[[], Awaitable[bool]]
) -> Claim | SharedReply | None:
    """The claim, if the request is to be run here; its reply, or what else was claimed by that name, if another gateway ran it.

    ``waits`` is called when it runs elsewhere, and returns whether the client gets heartbeats from then on. ``None``: the
    database is away. Raises ``Refused`` if it runs elsewhere for too long.
    """
    place = TextPlace("reply", key, sha256(name).hexdigest())
    mark = written(SharedReply(fingerprint, holder=token_bytes(8)))
    until: float | None = None
    try:
        while True:
            data: Claim | bytes | None = await texts.claim(place, mark)
            while data is not None:
                if isinstance(data, Claim):
                    return data
                found = _reply.decode(data)
                if found.status or found.fingerprint != fingerprint:
                    return found
                if until is None:
                    until = monotonic() + (_LONGEST_STREAM if await waits() else _LONGEST)
                elif monotonic() >= until:
                    raise _in_progress()
                await asyncio.sleep(_EVERY)
                data = await texts.get(place)
    except StoreUnavailable:
        return None


def _in_progress() -> Refused:
    message = "the request with this Idempotency-Key is still running at another gateway: send it again to wait for its reply"
    return Refused(Fault(message, "overloaded", 409, "idempotency_key_in_use", retry_after=1.0))
