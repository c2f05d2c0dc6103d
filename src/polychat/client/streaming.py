"""``Stream``: a reply that is read piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self

from ..calls.info import CallInfo
from ..calls.schemas import Shape
from ..costs import cost_of
from ..errors import BackendError, BadReply, PolychatError
from ..events import Citation, Event, Finish, Start, Text, Usage, Verdict
from ..types import ChatRequest, ToolCall
from ..wire.assembly import AssembledReply
from .reply import Parsed, Reply, estimated, reply_from
from .targets import Targets

if TYPE_CHECKING:
    from ..routing import Target
    from ..wire.losses import Loss


class NoMoreBatches(AsyncGenerator[list[Event], None]):
    """The batches after the last."""

    async def __anext__(self) -> list[Event]:
        raise StopAsyncIteration

    async def asend(self, value: None) -> list[Event]:
        raise StopAsyncIteration

    async def athrow(self, *arguments: Any) -> list[Event]:
        raise arguments[0]

    async def aclose(self) -> None:
        pass


NO_MORE = NoMoreBatches()
NOTHING: Iterator[Event] = iter(())
"""The events after the last of a batch."""


class BeingRead(Iterator[Event]):
    """The events of a batch that a reader is waiting for: a second reader gets ``RuntimeError``, as from an async generator."""

    def __next__(self) -> Event:
        raise RuntimeError("anext(): the stream is already being read; read it from one task at a time")


BEING_READ = BeingRead()


class StreamedCall(Protocol):
    """One request and its reply: ``begin`` it, read ``batches``, then ``completed`` or ``end``."""

    @property
    def target(self) -> Target:
        """The target that was called last."""

    @property
    def batches(self) -> AsyncGenerator[list[Event], None]:
        """The events after those that ``begin`` returned; ``NO_MORE`` if these were all."""

    @property
    def call_info(self) -> CallInfo:
        """What the backend recorded."""

    @property
    def request(self) -> ChatRequest: ...

    @property
    def seams(self) -> list[str]:
        """Where another target continued a text that was cut off."""

    async def begin(self) -> list[list[Event]]:
        """Send the request; returns the batches of events up to the first piece. Raises ``PolychatError``."""

    def completed(self, usage: Usage | None) -> None:
        """The reply is complete. ``end`` may follow."""

    def end(self, error: PolychatError | None = None) -> None:
        """The reply is over: cut off by ``error``, or not needed any more. Only the first call has an effect."""


class Stream(Generic[Parsed]):
    """A reply that is read piece by piece. Use it with ``async with``; iterate it for the pieces of its text, or ``events()``.

    ``text``, ``reasoning``, ``tool_calls``, ``sources``, ``usage`` and ``reason`` hold what has arrived; ``verdict`` is
    ``None`` until the reply has ended. Leaving the block early cancels the request, and the verdict is then ``cancelled``.
    The iteration raises ``PolychatError`` after the last piece that arrived, and ``RuntimeError`` while another task waits
    for the same piece.
    """

    verdict: Verdict | None = None
    """How the reply ended; ``None`` until then."""
    _lost: Sequence[Loss] = ()
    _assembled: AssembledReply | None = None
    """What has been read of the reply, once there is any."""
    _batches: AsyncGenerator[list[Event], None] | None = None
    """The reply's events, once it has begun."""
    _unread = NOTHING
    """The events of the current batch that were not read yet."""
    _events: AsyncGenerator[list[Event], None] | None = None
    _targets: Targets
    _call: StreamedCall

    def __init__(self, targets: Targets, call: StreamedCall, *, shape: Shape | None = None, lost: Sequence[Loss] = ()) -> None:
        target = call.target
        self.provider = target.backend.name
        self.model = target.model or None
        self.shape, self._lost = shape, lost
        self._targets, self._call = targets, call

    async def _begin(self) -> list[list[Event]]:
        """Send the request, and record which target answers; returns the first batches. Raises ``PolychatError``."""
        call = self._call
        first = await call.begin()
        self.provider, self.model = call.target.backend.name, call.target.model or None
        self._batches = call.batches
        return first

    async def _begun(self) -> list[list[Event]]:
        """As ``_begin``; meanwhile other readers are refused."""
        self._check_reader()
        self._unread = BEING_READ
        try:
            return await self._begin()
        finally:
            self._unread = NOTHING

    def _check_reader(self) -> None:
        """Raises ``RuntimeError`` while another reader waits."""
        if self._unread is BEING_READ:
            next(self._unread)

    def _assembly(self) -> AssembledReply:
        """What has been read of the reply."""
        assembled = self._assembled
        if assembled is None:
            self._assembled = assembled = AssembledReply()
        return assembled

    @property
    def headers(self) -> dict[str, str]:
        """The response's headers about the backend's rate limits, names in lower case; empty until it has begun."""
        limits = () if self._batches is None else self._call.call_info.limits
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in limits}

    @property
    def text(self) -> str:
        """The text so far."""
        return self._assembly().first.text

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return self._assembly().first.reasoning

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls so far; their arguments are complete at the end."""
        return self._assembly().first.calls

    @property
    def sources(self) -> list[Citation]:
        return self._assembly().first.citations

    @property
    def usage(self) -> Usage | None:
        """The backend's own count, once it was received."""
        return self._assembly().usage

    @property
    def reason(self) -> str | None:
        finish = self._assembly().finish
        return None if finish is None else finish.reason

    def reply(self) -> Reply[Parsed]:
        """The received part as one value; before the end its verdict is ``cancelled``.

        Raises ``BadReply`` if the text does not match the schema.
        """
        assembled, call_info, url = self._assembly(), self._call.call_info, self._call.target.backend.url
        usage = assembled.usage or estimated(self._call.request, assembled)
        cost = (
            usage.cost
            if self._call.seams
            else cost_of(  # each part has its own target's price
                self._targets.registry.config.prices,
                self.provider,
                url,
                assembled.start.model or self.model,
                usage,
                requested=self.model,
                is_elsewhere=call_info.url not in ("", url),
            )
        )
        reply = reply_from(assembled, self.provider, self.model, self.verdict or "cancelled", usage, cost, call_info.raw)
        reply.parsed = self._parsed()
        reply.losses, reply.seams = [*self._lost, *call_info.losses], list(self._call.seams)
        return reply

    async def whole(self) -> Reply[Parsed]:
        """The reply as one value, after reading what is left of it. Raises as the iteration does."""
        if self.verdict is not None:
            return self.reply()
        self._check_reader()
        try:
            if self._batches is None:
                self._unread = chain.from_iterable(await self._begun())
            assembled = self._assembly()
            assembled.take_all(self._unread)
            if assembled.finish is None:
                async for batch in self._call.batches:
                    assembled.take_all(batch)
            await self._call.batches.aclose()
            if assembled.finish is not None:
                self._settle(assembled.finish)
        except PolychatError as error:
            await self._failed(error)
            raise
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        self._call.end()
        return self.reply()

    def _parsed(self) -> Any:
        if self.shape is None or self.verdict != "complete" or not self.text:
            return None
        try:
            return self.shape.parsed(self.text)
        except BadReply as bad:
            if self.reason != "length":
                raise
            incomplete = BadReply(f"the reply reached its token limit before the JSON was complete; raise max_tokens: {bad}")
            incomplete.text = bad.text
            raise incomplete from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._events is not None:
            await self._events.aclose()
        if self._batches is not None and self._batches is not NO_MORE:
            await self._batches.aclose()
        self._call.end()
        self.verdict = self.verdict or "cancelled"

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        """The next piece of the text. Raises ``PolychatError`` at the end of a reply that failed."""
        assembled = self._assembled or self._assembly()
        try:
            while True:
                for event in self._unread:
                    kind = type(event)
                    if kind is Text and event.choice == 0:  # type: ignore[union-attr]  # it is a text
                        text: str = event.text  # type: ignore[union-attr]
                        assembled.first.answer.pieces.append(text)  # when it is returned: unread pieces are not part of `text`
                        return text
                    if kind is Finish:
                        assembled.finish = event  # type: ignore[assignment]
                    elif kind is Start:
                        assembled.start = event  # type: ignore[assignment]
                    else:
                        assembled.take(event)
                batches = self._batches
                if assembled.finish is not None and self.verdict is None:
                    self._settle(assembled.finish)
                if batches is NO_MORE or (batches is None and self.verdict is not None):
                    raise StopAsyncIteration
                self._unread = BEING_READ
                try:
                    if batches is None:
                        self._unread = chain.from_iterable(await self._begin())
                    else:
                        self._unread = iter(await batches.__anext__())
                except BaseException:
                    self._unread = NOTHING
                    raise
        except PolychatError as error:
            await self._failed(error)
            raise

    def events(self) -> AsyncIterator[list[Event]]:
        """Every event, in one list for each network read. The last event is the ``Finish``; a failure is raised after it."""
        if self._events is None:
            self._events = self._read()
        return self._events

    async def _read(self) -> AsyncGenerator[list[Event], None]:
        assembled = self._assembly()
        try:
            first: list[list[Event]] = []
            self._check_reader()
            if self._batches is None:
                first = await self._begun()
            elif unread := list(self._unread):
                first = [unread]
            batches = self._batches
            assert batches is not None  # it has begun
            async with aclosing(batches):
                for batch in first:
                    assembled.take_all(batch)
                    yield batch
                async for batch in batches:
                    assembled.take_all(batch)
                    yield batch
                if assembled.finish is not None:
                    self._settle(assembled.finish)
        except PolychatError as error:
            await self._failed(error)
            raise

    async def _failed(self, error: PolychatError) -> None:
        if self._batches is not None:
            await self._batches.aclose()
        self._call.end(error)
        self.verdict = self.verdict or "failed"
        if isinstance(error, BackendError):
            error.text = error.text or self.text
        error.provider = error.provider or self.provider

    def _settle(self, finish: Finish) -> None:
        """The reply is over. Raises the error of one that failed."""
        self.verdict = finish.verdict
        if finish.error is not None:
            self._call.end(finish.error)
            raise finish.error
        self._call.completed(self._assembly().usage)
