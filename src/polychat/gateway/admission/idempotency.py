"""``Idempotency-Key``: a request that is sent again with the same key gets the same response, and no backend is asked again.

the first request     the one that repeats it
====================  ====================================================================================================
is running            joins it: it gets the response from its beginning, and reads along at its own pace
was answered          gets the same bytes, with ``x-polychat-replayed: true``
failed, was cut off   gets that response if it joined; later it is answered as if it were the first
had another body      is refused with 422
====================  ====================================================================================================

A client that leaves ends its request, unless others joined: then that goes on until the last of them has left. Keys of
different clients do not meet: the name of the client's API key is a part of each.

Where texts of the client's key may be kept in a database, gateways share their replies through it: see ``shared_replies``.

Bounds: ``[gateway.idempotency]``. The oldest reply goes first; one of more than a quarter of the bytes is not kept.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from ...errors import PolychatError, ReplyFailed, Truncated
from ...http.server.asgi import headers_in
from ...http.server.cycle import header_lines
from ...wire.faults import Fault
from ...wire.reading import finish_of
from ...worker_threads import in_thread
from ..chat.delivery import Delivery
from ..chat.heartbeat import Heartbeat
from ..chat.opening import LARGE
from ..chat.preferences import keeps_text
from ..chat.run import Chats
from ..context import RequestContext, reason_of
from ..kept_texts import Claim
from ..reply_copy import ReplyCopy
from ..responder import Refused
from .shared_replies import SharedReply, claimed, written

if TYPE_CHECKING:
    from ...config.settings import Idempotency
    from ..dialects.dialect import InboundChat

IDEMPOTENCY_KEY = b"idempotency-key"
REPLAYED = (b"x-polychat-replayed", b"true")
_KEY = re.compile(rb'"?([!#-~][ !#-~]{0,254})"?')
"""The IETF's draft has it in quotation marks, most clients without."""
_REPEATED = frozenset(
    {
        *(b"content-type", b"cache-control", b"x-accel-buffering"),
        *(b"x-polychat-provider", b"x-polychat-model", b"x-polychat-attempts", b"x-polychat-losses"),
        *(b"x-polychat-passed-over", b"x-polychat-estimated"),
        *(b"retry-after", b"retry-after-ms", b"x-should-retry", b"www-authenticate"),
    }
)
"""Headers that say the same of a reply when it is sent again; its cost and what is left of limits do not."""
_PARTS = 4
_LOST = "the request that this one repeats was ended, or its reply is too large to be sent twice: send it again"
T = TypeVar("T")
_Place: TypeAlias = tuple[str, bytes]
_Copy: TypeAlias = ReplyCopy[RequestContext]


class RepeatedRequests:
    """The responses to requests with an ``Idempotency-Key``, in one process."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._copies: OrderedDict[_Place, _Copy] = OrderedDict()
        self._bounds: Idempotency
        self.size = 0
        """Bytes of all replies that are kept or running."""

    def __len__(self) -> int:
        return len(self._copies)

    async def answer(self, context: RequestContext, reply: Callable[[RequestContext], Awaitable[None]]) -> None:
        """Answer a request that has the header: by an earlier one's response, or by ``reply``. Raises ``Refused``."""
        self._bounds = context.runtime.gateway.idempotency
        place = context.record.key, _key_of(context)
        fingerprint = await in_thread(_fingerprint, context) if len(context.body) > LARGE else _fingerprint(context)
        self._forget_old()
        earlier = self._copies.get(place)
        if earlier is None:
            await self._run(place, context, fingerprint, reply)
        elif earlier.fingerprint != fingerprint:
            raise _used_otherwise()
        else:
            await _repeat(context, earlier)

    async def _run(
        self,
        place: _Place,
        context: RequestContext,
        fingerprint: bytes,
        reply: Callable[[RequestContext], Awaitable[None]],
    ) -> None:
        """Answer a request that is the first one here."""
        if not self._has_room():  # all that is kept is running: this one is answered, and not kept
            await reply(context)
            return
        claim: Claim | SharedReply | None = None
        texts = context.service.texts if keeps_text(context) else None

        def over() -> None:
            copy.close()
            kept = _is_kept(context, copy)
            if isinstance(claim, Claim) and texts is not None:
                if kept:
                    texts.settle(claim, partial(_shared, copy), copy.size, seconds)
                else:
                    texts.release(claim)
            if not kept:
                self._drop(place, copy)

        copy, seconds = ReplyCopy(context, fingerprint, self._grow), self._bounds.seconds
        copy.until = self._clock() + seconds
        self._copies[place] = copy
        context.responder.copy_to(copy, over)
        waiting = _WaitingStream(context, reply)
        try:
            if texts is not None:
                claim = await waiting.until(claimed(texts, *place, fingerprint, waiting.begin))
            if isinstance(claim, SharedReply):
                if claim.fingerprint != fingerprint:
                    raise _used_otherwise()
                await _send_again(context, claim)
            else:
                await reply(context)
        except (PolychatError, Refused) as error:
            if not context.responder.streams or waiting.inbound is None:
                raise
            await _end_stream(context, waiting.inbound, error)

    def _has_room(self) -> bool:
        """For one more, after the oldest that is over has gone if that is necessary."""
        return len(self._copies) < self._bounds.replies or self._drop_oldest()

    def _grow(self, copy: _Copy, size: int) -> None:
        self.size += size
        if copy.size + size > self._bounds.bytes // _PARTS:
            self._overflow(copy, size)
        while self.size > self._bounds.bytes:
            if not self._drop_oldest():
                self._overflow(copy, size)
                return

    def _overflow(self, copy: _Copy, size: int) -> None:
        if not copy.over:
            self.size -= copy.size + size
            copy.size = 0
            copy.drop()

    def _drop_oldest(self) -> bool:
        for place, copy in self._copies.items():
            if copy.owner is None:
                self._drop(place, copy)
                return True
        return False

    def _forget_old(self) -> None:
        now = self._clock()
        old = []
        for place, copy in self._copies.items():
            if copy.until > now:
                break
            old.append((place, copy))
        for place, copy in old:
            if copy.owner is None:
                self._drop(place, copy)

    def _drop(self, place: _Place, copy: _Copy) -> None:
        if self._copies.get(place) is copy:
            del self._copies[place]
            self.size -= copy.size


class _WaitingStream:
    """Sends heartbeats while another gateway runs a request, if its reply is a stream and the dialect has them."""

    def __init__(self, context: RequestContext, reply: Callable[[RequestContext], Awaitable[None]]) -> None:
        self._context, self._reply = context, reply
        self._heartbeat: Heartbeat | None = None
        self.inbound: InboundChat | None = None
        """The chat, once it waits."""

    async def begin(self) -> bool:
        """Begin to send heartbeats; whether there are any."""
        if isinstance(self._reply, Chats):
            self.inbound = await self._reply.opened(self._context)
            if self.inbound is not None and self.inbound.stream:
                self._heartbeat = Heartbeat.of(self._context, self.inbound)
        return self._heartbeat is not None

    async def until(self, waiting: Awaitable[T]) -> T:
        """What ``waiting`` gives; heartbeats end with it."""
        try:
            return await waiting
        finally:
            if self._heartbeat is not None:
                self._heartbeat.stop()


async def _end_stream(context: RequestContext, inbound: InboundChat, error: PolychatError | Refused) -> None:
    """Report a failure in a stream that heartbeats have begun."""
    record = context.record
    if isinstance(error, Refused):
        fault = error.fault
        error = ReplyFailed(fault.message, retry_after=fault.retry_after)
        error.kind = fault.kind
    record.verdict, record.error = record.verdict or "failed", record.error or reason_of(error)
    await context.responder.last(Delivery(context, inbound).failure(finish_of(error)))


def _key_of(context: RequestContext) -> bytes:
    """Raises ``Refused``."""
    found = _KEY.fullmatch(context.headers[IDEMPOTENCY_KEY].strip())
    if found is None:
        message = "the header Idempotency-Key must have 1 to 255 visible ASCII characters: send a new UUID for each new request"
        raise Refused(Fault(message, "invalid_request", 400, "invalid_idempotency_key"))
    return found[1]


def _fingerprint(context: RequestContext) -> bytes:
    """What must be the same in a request that is repeated: its path, its query and its body."""
    digest = sha256()
    for part in (context.path.encode("utf-8", "surrogateescape"), context.query_string):
        digest.update(b"%d:%b" % (len(part), part))
    digest.update(context.body)
    return digest.digest()


def _used_otherwise() -> Refused:
    message = (
        "this Idempotency-Key was used with another request: "
        "send a new key with each new request, and the same body with one that is repeated"
    )
    return Refused(Fault(message, "invalid_request", 422, "idempotency_key_reused"))


def _is_kept(context: RequestContext, copy: _Copy) -> bool:
    """Whether a response is what later requests get: whole, and no failure."""
    return copy.is_whole and copy.status < 300 and context.record.verdict in ("complete", None)


def _shared(copy: _Copy) -> bytes:
    """A whole reply, as other gateways send it again."""
    return written(SharedReply(copy.fingerprint, copy.status, copy.stream, copy.lines, b"".join(copy.pieces)))


async def _send_again(context: RequestContext, reply: SharedReply) -> None:
    responder = context.responder
    lines = _again(context, reply.lines)
    if reply.stream:
        if not responder.started:  # by a heartbeat
            await responder.start(reply.status, lines)
        await responder.last(reply.body)
    else:
        await responder.whole(reply.status, lines, reply.body)


def _again(context: RequestContext, lines: bytes) -> bytes:
    """The head of a response that is sent again."""
    same = [header for header in headers_in(lines) if header[0] in _REPEATED]
    return header_lines([*context.responder.id_headers, *same, REPLAYED])


async def _repeat(context: RequestContext, copy: _Copy) -> None:
    """Answer by a response to an earlier request. Raises ``Refused``."""
    record, responder = context.record, context.responder
    owner = copy.owner
    if owner is not None:
        record.model, record.stream = owner.record.model, owner.record.stream
    with copy:
        while not (copy.status and (copy.stream or copy.is_whole)):
            if copy.over:
                raise _lost()
            await copy.changed()
        if owner is not None:
            record.error = owner.record.error
        lines = _again(context, copy.lines)
        if copy.stream:
            await responder.start(copy.status, lines)
            await _read_along(context, copy, owner)
            if owner is not None:
                record.error = record.error or owner.record.error  # of a stream that failed after its first piece
        else:
            await responder.whole(copy.status, lines, b"".join(copy.pieces))


async def _read_along(context: RequestContext, copy: _Copy, owner: RequestContext | None) -> None:
    responder, place = context.responder, 0
    pieces = copy.pieces
    while True:
        while place < len(pieces):
            place += 1
            await responder.piece(pieces[place - 1])
        if copy.over:
            break
        await copy.changed()
    if copy.is_whole:
        await responder.last()
    elif owner is not None and owner.chat is not None:
        context.record.error = _LOST
        end = owner.chat.dialect.piece_end
        # What was dropped may have begun an event: the error is one of its own.
        broken = b"" if pieces and pieces[-1].endswith(end) else end
        await responder.last(broken + Delivery(owner, owner.chat).failure(finish_of(Truncated(_LOST))))
    else:
        raise _lost()


def _lost() -> Refused:
    return Refused(Fault(_LOST, "overloaded", 503, retry_after=1.0))
