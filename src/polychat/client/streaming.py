"""``Stream``: a reply that is read piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self

from ..backends.backend import Backend
from ..calls.info import CallInfo
from ..calls.schemas import Shape
from ..costs import cost_of
from ..errors import BackendError, BadReply, PolychatError
from ..events import Citation, Event, Finish, Text, Usage, Verdict
from ..types import ChatRequest, ToolCall
from ..wire.assembly import AssembledReply
from .reply import Parsed, Reply, counted
from .targets import Targets

if TYPE_CHECKING:
    from ..routing import Plan, Target


class Stream(Generic[Parsed]):
    """A reply that is read piece by piece. Use it with ``async with``; iterate it for the pieces of its text, or ``events()``.

    ``text``, ``reasoning``, ``tool_calls``, ``sources``, ``usage`` and ``reason`` hold what has arrived; ``verdict`` is
    ``None`` until the reply has ended. Leaving the block early cancels the request, and the verdict is then ``cancelled``.
    The iteration raises ``PolychatError`` after the last piece that arrived.
    """

    def __init__(
        self,
        targets: Targets,
        backend: Backend,
        model: str | None,
        request: ChatRequest,
        *,
        shape: Shape | None,
        call_info: CallInfo,
        options: dict[str, Any],
        plan: Plan | None = None,
    ) -> None:
        self.provider = backend.name
        self.model = model
        self.verdict: Verdict | None = None
        self._request, self.shape, self._call_info = request, shape, call_info
        self._url = backend.url
        self._prices = targets.registry.config.prices
        self._assembled = AssembledReply()
        if plan is None or (len(plan.targets) == 1 and not plan.route):
            self._batches = backend.answers(request, call_info, **options)
        else:
            from .routed import RoutedCall  # it loads the router, which most calls do without

            router = targets.router(options.get("api_key"))
            self._batches = RoutedCall(router, plan, request, call_info, options).events(self._chosen)
        self._pieces: AsyncGenerator[str, None] | None = None
        self._events: AsyncGenerator[list[Event], None] | None = None

    def _chosen(self, target: Target, call_info: CallInfo) -> None:
        """A target of the plan has begun to answer: what the reply is attributed to."""
        self.provider, self.model = target.backend.name, target.model or None
        self._url, self._call_info = target.backend.url, call_info

    @property
    def text(self) -> str:
        """The text so far."""
        return self._assembled.first.text

    @property
    def reasoning(self) -> str:
        """The thoughts so far."""
        return self._assembled.first.reasoning

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls so far; their arguments are whole at the end."""
        return self._assembled.first.calls

    @property
    def sources(self) -> list[Citation]:
        return self._assembled.first.citations

    @property
    def usage(self) -> Usage | None:
        """The backend's own count, once it gave one."""
        return self._assembled.usage

    @property
    def reason(self) -> str | None:
        return self._assembled.finish.reason if self._assembled.finish is not None else None

    def reply(self) -> Reply[Parsed]:
        """What has arrived as one value; before the end its verdict is ``cancelled``.

        Raises ``BadReply`` if the text does not match the schema.
        """
        assembled, first = self._assembled, self._assembled.first
        usage = counted(self._request, assembled)
        is_elsewhere = self._call_info.url not in ("", self._url)
        served = assembled.start.model or self.model
        cost = cost_of(self._prices, self.provider, self._url, served, usage, asked=self.model, is_elsewhere=is_elsewhere)
        return Reply(
            self.provider,
            self.model,
            first.text,
            self.verdict or "cancelled",
            self.reason,
            list(first.citations),
            usage,
            first.reasoning,
            first.thoughts,
            list(first.calls),
            first.refusal,
            first.media,
            list(first.logprobs),
            self._parsed(),
            list(self._call_info.losses),
            assembled.start.id,
            assembled.start.model,
            [choice.text for _, choice in sorted(assembled.choices.items())],
            self._call_info.raw,
            cost,
        )

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
        for generator in (self._pieces, self._events, self._batches):
            if generator is not None:
                await generator.aclose()
        self.verdict = self.verdict or "cancelled"

    def __aiter__(self) -> AsyncIterator[str]:
        if self._pieces is None:
            self._pieces = self._texts()
        return self._pieces

    def events(self) -> AsyncIterator[list[Event]]:
        """Every event, in one list for each network read. The last event is the ``Finish``; a failure is raised after it."""
        if self._events is None:
            self._events = self._read()
        return self._events

    async def _texts(self) -> AsyncGenerator[str, None]:
        assembled, texts = self._assembled, self._assembled.first.answer.pieces
        try:
            # One generator over the backend's own and none between: each costs as much as reading a chunk does.
            async with aclosing(self._batches) as batches:
                async for batch in batches:
                    for event in batch:
                        if type(event) is Text and event.choice == 0:
                            texts.append(event.text)  # as it is handed over: unread pieces are no part of `text`
                            yield event.text
                        else:
                            assembled.take(event)
                    self._settle(assembled.finish)
        except PolychatError as error:
            self._fail(error)
            raise

    async def _read(self) -> AsyncGenerator[list[Event], None]:
        assembled = self._assembled
        try:
            async with aclosing(self._batches) as batches:
                async for batch in batches:
                    for event in batch:
                        assembled.take(event)
                    yield batch
                    self._settle(assembled.finish)
        except PolychatError as error:
            self._fail(error)
            raise

    def _fail(self, error: PolychatError) -> None:
        self.verdict = self.verdict or "failed"
        if isinstance(error, BackendError):
            error.text = error.text or self.text
        error.provider = error.provider or self.provider

    def _settle(self, finish: Finish | None) -> None:
        if finish is not None:
            self.verdict = finish.verdict
            if finish.error is not None:
                raise finish.error
