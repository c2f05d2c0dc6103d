"""Backends that have begun to answer, and how each kind's answer goes to the client: translated, or passed through."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ...errors import BackendError, BadReply, EmptyReply, PolychatError, Truncated
from ...events import Event, Finish, Start, Text, Usage
from ...wire.answering import Writer
from ...wire.reading import finish_of, is_reply, parsed, truncated

if TYPE_CHECKING:
    from ...http.exchange import Answer
    from ...wire.naming import Naming
    from ...wire.passing import StreamMonitor
    from .run import Chat


class OpenReply(Protocol):
    """A backend that has begun to answer."""

    async def send(self, chat: Chat) -> None:
        """All of it, to the client."""

    def cut(self, chat: Chat, finish: Finish) -> bytes:
        """How a stream that has begun ends here, with this."""

    async def close(self) -> None:
        """Nothing more is wanted of it."""


async def translated(batches: AsyncGenerator[list[Event], None], *, whole: bool, chat: Chat) -> OpenReply:
    """Wait for the first piece, or, where the client gets it whole, for all of it. Raises what it fails with before."""
    first: list[Event] = []
    try:
        async for batch in batches:
            first += batch
            if not whole and _has_piece(batch):
                break
        chat.answered_at = monotonic()
        last = first[-1] if first else None
        if type(last) is Finish:
            if last.error is not None and (whole or not _has_piece(first[:-1])):
                raw = None if chat.notes is None else chat.notes.raw
                raise judged(last.error, first, b"" if raw is None else raw)
        elif whole or last is None:
            raise Truncated("the reply stopped before its end")
    except BaseException:
        await batches.aclose()
        raise
    if chat.notes is not None:
        chat.limits, chat.asked_url = chat.notes.limits, chat.notes.url
    return EventReply(batches, first)


def judged(error: BackendError, events: list[Event], body: bytes) -> BackendError:
    """The error, as ``paid`` where a reply came and only our reading of it failed: ``events`` of a stream, or a whole ``body``.

    A page of HTML, an empty body and a failure that the backend tells are nothing that anybody pays for.
    """
    if body and error.kind is None and isinstance(error, (BadReply, EmptyReply, Truncated)):
        error.paid = error.paid or is_reply(parsed(body))
        return error
    usage = next((event for event in events if type(event) is Usage), None)
    begun = any(type(event) is Start for event in events)
    return _judged(error, usage, begun=begun, came=_has_piece(events))


def _judged(error: BackendError, usage: Usage | None, *, begun: bool, came: bool) -> BackendError:
    """As ``judged``, of a stream: whether a reply had ``begun``, and whether words ``came``.

    A vendor bills from the reply's beginning on; one that was empty only where it counts tokens.
    """
    if error.kind is None and isinstance(error, (BadReply, EmptyReply)):
        is_counted = came or (usage is not None and bool(usage.completion_tokens))
        error.paid = error.paid or is_counted or (begun and isinstance(error, BadReply))
    return error


def _has_piece(batch: list[Event]) -> bool:
    return any(type(event) not in (Start, Usage, Finish) for event in batch)


class EventReply:
    """Events of one wire, written in another's bytes."""

    def __init__(self, batches: AsyncGenerator[list[Event], None], first: list[Event]) -> None:
        self._batches, self._first = batches, first
        self._usage: Usage | None = None
        self._served: str | None = None
        self._writer: Writer | None = None

    async def send(self, chat: Chat) -> None:
        context, writer = chat.context, chat.writer()
        self._writer = writer
        if not writer.streams:
            await self._whole(chat, writer)
            return
        if not context.started:
            await context.start(200, chat.headers(writer.content_type, stream=True))
        context.record.first = monotonic()
        batch, piece, write = self._first, context.piece, writer.write
        chat.heard(batch)
        if data := write(batch):
            await piece(data)
        finish = self._look(batch)
        if finish is None:
            try:
                async for batch in self._batches:
                    if data := write(batch):
                        await piece(data)
                    if chat.said is not None:
                        chat.heard(batch)
                    if type(batch[-1]) is not Text and (finish := self._look(batch)) is not None:
                        break
            except PolychatError as error:
                finish = finish_of(error)
                await piece(write([finish]))
        if finish is None:
            finish = truncated("the backend's events ended without one")
            await piece(write([finish]))
        chat.counted(self._usage, self._served)
        chat.ended(finish)
        await context.last(writer.end())

    async def _whole(self, chat: Chat, writer: Writer) -> None:
        finish = self._look(self._first)
        assert finish is not None
        chat.heard(self._first)
        writer.write(self._first)
        body = writer.end()
        chat.counted(self._usage, self._served)
        chat.ended(finish)
        record = chat.context.record
        record.first = monotonic()
        headers = chat.headers(writer.content_type, stream=False)
        if record.cost is not None:
            headers.append((b"x-polychat-cost", b"%.8f" % record.cost))
        await chat.context.whole(writer.status, headers, body)

    def _look(self, batch: list[Event]) -> Finish | None:
        for event in batch:
            if type(event) is Usage:
                self._usage = event
            elif type(event) is Start:
                self._served = event.model
            elif type(event) is Finish:
                return event
        return None

    def cut(self, chat: Chat, finish: Finish) -> bytes:
        writer = self._writer
        return chat.failure(finish) if writer is None else writer.write([finish]) + writer.end()

    async def close(self) -> None:
        await self._batches.aclose()


class PassthroughBody:
    """A whole reply as it came."""

    def __init__(self, body: bytes, finish: Finish, usage: Usage | None, served: str | None) -> None:
        self._body, self._finish, self._usage, self._served = body, finish, usage, served

    async def send(self, chat: Chat) -> None:
        record = chat.context.record
        record.passed = True
        record.first = monotonic()
        if chat.said is not None:
            chat.heard(chat.inbound.dialect.wire.read_reply(self._body))
        chat.counted(self._usage, self._served)
        chat.ended(self._finish)
        headers = chat.headers("application/json", stream=False)
        if record.cost is not None:
            headers.append((b"x-polychat-cost", b"%.8f" % record.cost))
        await chat.context.whole(200, headers, self._body)

    def cut(self, chat: Chat, finish: Finish) -> bytes:
        return chat.failure(finish)

    async def close(self) -> None:
        pass


class PassthroughStream:
    """A stream as it comes; ``naming`` puts the name into it that was asked for."""

    def __init__(self, response: Answer, monitor: StreamMonitor, first: bytes, naming: Naming | None) -> None:
        self._response, self._monitor, self._first, self._naming = response, monitor, first, naming

    @classmethod
    async def begun(
        cls, response: Answer, monitor: StreamMonitor, chat: Chat, naming: Naming | None = None
    ) -> PassthroughStream:
        """Waits for the first bytes. Raises the failure that they tell of, unless they hold words that were paid for."""
        first = b""
        while not first and monitor.finish is None:
            if not (data := await response.piece()):
                first = monitor.end()
                break
            first = monitor.feed(data)
            if naming is not None:
                first = naming.feed(first, monitor.served)
        finish = monitor.finish
        if naming is not None and finish is not None:
            first += naming.end()
        if finish is not None and finish.error is not None:
            begun = monitor.served is not None
            error = _judged(finish.error, monitor.usage, begun=begun, came=monitor.came)
            if not (error.paid and monitor.came and first):
                raise error
        chat.answered_at = monotonic()
        return cls(response, monitor, first, naming)

    async def send(self, chat: Chat) -> None:
        context, monitor, response, naming = chat.context, self._monitor, self._response, self._naming
        record = context.record
        record.passed = True
        if not context.started:
            await context.start(200, chat.headers(response.header(b"content-type").decode("latin-1"), stream=True))
        record.first = monotonic()
        send, feed, piece = context.piece, monitor.feed, response.piece
        reader = None if chat.said is None else chat.inbound.dialect.wire.Reader()
        if reader is not None:
            chat.heard(reader.feed(self._first))
        await send(self._first)
        lost: BackendError | None = None
        try:
            while monitor.finish is None and (data := await piece()):
                passed = feed(data)
                if naming is not None:
                    passed = naming.feed(passed, monitor.served)
                if passed:
                    await send(passed)
        except BackendError as error:
            lost = error
        rest = monitor.end()
        if naming is not None:
            rest = naming.feed(rest, monitor.served) + naming.end()
        finish = monitor.finish
        assert finish is not None
        if lost is not None and finish.verdict != "complete":
            finish = Finish("truncated", error=lost)
        if finish.verdict != "complete" and not monitor.told:
            end = chat.inbound.dialect.piece_end
            failure = chat.failure(finish, monitor)
            if naming is not None:
                failure = naming.renamed(failure)
            rest += (b"" if (rest or context.latest).endswith(end) else end) + failure
        chat.counted(monitor.usage, monitor.served)
        chat.ended(finish)
        await context.last(rest)

    def cut(self, chat: Chat, finish: Finish) -> bytes:
        end = chat.inbound.dialect.piece_end
        return (b"" if chat.context.latest.endswith(end) else end) + chat.failure(finish)

    async def close(self) -> None:
        if self._monitor.finish is not None and self._monitor.finish.verdict == "complete":
            self._response.heard_out()
        else:
            self._response.close()
