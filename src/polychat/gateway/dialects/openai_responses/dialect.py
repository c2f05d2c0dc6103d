"""OpenAI's Responses, with what it keeps of them."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from urllib.parse import parse_qsl

from ....client.reply import Collected, Reply
from ....config.settings import Store
from ....errors import BadInput, shown
from ....events import Event, Finish
from ....types import Ask, Turn
from ....wire import openai_responses
from ....wire._json import encoded
from ....wire.answering import Writer
from ....wire.faults import Fault
from ....wire.openai_responses.passing import Events
from ....wire.passing import StreamMonitor
from ....wire.wires import wire
from ...context import Refused, RequestContext
from ...counting import counted
from ..dialect import Dialect, InboundChat, value_of

_PREFIX = "resp_"
_LIMIT = re.compile("[1-9][0-9]?|100", re.ASCII)


class StoredResponse:
    """One reply, for whoever goes on from it."""

    __slots__ = ("body", "key", "size", "turns", "until")

    def __init__(self, key: str, body: bytes, turns: list[Turn], size: int, until: float) -> None:
        self.key = key
        """The name of the key it was asked with: nobody else is to see it."""
        self.body = body
        self.turns = turns
        """The conversation with this reply at its end, instructions left out."""
        self.size = size
        self.until = until


class ResponseStore:
    """Those of one process, bounded in number, bytes and time; the oldest goes first."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._kept: OrderedDict[str, StoredResponse] = OrderedDict()
        self._clock = clock
        self.size = 0
        """Bytes, about: those of the replies and of the conversations before them."""

    def put(self, name: str, key: str, body: bytes, turns: list[Turn], asked: int, bounds: Store) -> None:
        """Keep a reply; ``asked`` is how many bytes of conversation went before it."""
        size = len(body) + asked
        if size > bounds.bytes or not bounds.replies:
            return
        self.drop(name)
        self._kept[name] = StoredResponse(key, body, turns, size, self._clock() + bounds.seconds)
        self.size += size
        while len(self._kept) > bounds.replies or self.size > bounds.bytes:
            self.drop(next(iter(self._kept)))

    def get(self, name: str, key: str) -> StoredResponse | None:
        """A reply that was asked with the same key, and is not too old."""
        kept = self._kept.get(name)
        if kept is not None and self._clock() >= kept.until:
            self.drop(name)
            return None
        return kept if kept is not None and kept.key == key else None

    def drop(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.size -= kept.size


class _Going:
    """What of a question is about keeping."""

    def __init__(self, context: RequestContext, previous: StoredResponse | None, name: str | None, *, keep: bool) -> None:
        self.context, self.previous, self.name, self.keep = context, previous, name, keep


class OpenAIResponses(Dialect):
    """``/v1/responses``. Replies are kept here, unless the backend speaks this wire itself and the request passes through."""

    name = "openai-responses"
    wire = wire("openai-responses")
    forwards = ("openai-beta",)

    def inbound(self, context: RequestContext) -> InboundChat:
        inbound = super().inbound(context)
        fields = inbound.fields
        if value_of(fields, "background"):
            raise BadInput("background is not done here: leave it out, and stream the reply", field="background")
        name = value_of(fields, "previous_response_id")
        previous = context.gateway.replies.get(name, context.record.key) if isinstance(name, str) else None
        keep = value_of(fields, "store") is not False and context.runtime.gateway.store.replies > 0
        inbound.own = _Going(context, previous, name, keep=keep)
        inbound.may_pass = previous is None
        return inbound

    def read(self, inbound: InboundChat) -> Ask:
        """Raises ``Refused`` where it goes on from a reply that is not kept here."""
        going: _Going = inbound.own
        ask = super().read(inbound)
        ask.store = None  # that is done here
        _go_on_from(ask, going.previous)
        return ask

    def writer(self, inbound: InboundChat, ask: Ask, name: str, created: int) -> Writer:
        going: _Going = inbound.own
        told = replace(ask, store=going.keep, previous=going.name)
        writer = openai_responses.writer(told, name, created, inbound.model)
        if not going.keep:
            return writer
        whole = openai_responses.writer(replace(told, stream=False), name, created, inbound.model) if ask.stream else writer
        return _Keeping(writer, whole, f"{_PREFIX}{name}", going, inbound)

    def monitor(self, inbound: InboundChat) -> StreamMonitor:
        return Events()

    def go_on(self, writer: Writer, monitor: StreamMonitor) -> None:
        assert isinstance(monitor, Events)
        monitor.hand_over(writer.written if isinstance(writer, _Keeping) else writer)


def _go_on_from(ask: Ask, previous: StoredResponse | None) -> None:
    """Put the conversation that the ask goes on from before it. Raises ``Refused`` where it names a reply that is not kept."""
    if ask.previous is None:
        return
    if previous is None:
        said = f"no response {shown(ask.previous, 80)!r} is kept here: send the conversation in input"
        raise Refused(Fault(said, "not_found", 404, "previous_response_not_found", "previous_response_id"))
    begins = 0
    while begins < len(ask.turns) and ask.turns[begins].role in ("system", "developer"):
        begins += 1
    ask.turns = [*ask.turns[:begins], *previous.turns, *ask.turns[begins:]]
    ask.previous = None


class _Keeping:
    """Writes as another writer does, and keeps the reply when it is whole."""

    def __init__(self, writer: Writer, whole: Writer, name: str, going: _Going, inbound: InboundChat) -> None:
        self._writer, self._whole, self._name, self._going, self._question = writer, whole, name, going, inbound
        self._came = Collected()
        self._finish: Finish | None = None
        self.streams, self.status = writer.streams, writer.status
        self.content_type, self.headers = writer.content_type, writer.headers

    @property
    def written(self) -> Writer:
        """What writes for the client."""
        return self._writer

    def write(self, events: list[Event]) -> bytes:
        if self._whole is not self._writer:
            self._whole.write(events)
        for event in events:
            self._came.take(event)
        return self._writer.write(events)

    def end(self) -> bytes:
        body = self._writer.end()
        self.status = self._writer.status
        finish = self._came.finish
        if finish is not None and finish.verdict == "complete":
            self._keep(body if self._whole is self._writer else self._whole.end())
        return body

    def _keep(self, body: bytes) -> None:
        context, previous = self._going.context, self._going.previous
        before = self._question.size + (0 if previous is None else previous.size)
        if before > context.runtime.gateway.store.bytes:
            return
        turns = [turn for turn in self._question.whole().turns if turn.role not in ("system", "developer")]
        came = self._came
        said = Reply("", None, came.text, "complete", thoughts=came.thoughts, tool_calls=came.calls)
        said.refusal = "".join(came.refusals)
        context.gateway.replies.put(
            self._name,
            context.record.key,
            body,
            [*turns, said.turn()],
            before,
            context.runtime.gateway.store,
        )


async def kept(context: RequestContext) -> None:
    """``GET /v1/responses/{id}``."""
    await context.json(_found(context, _named(context)).body)


async def dropped(context: RequestContext) -> None:
    """``DELETE /v1/responses/{id}``."""
    name = _named(context)
    _found(context, name)
    context.gateway.replies.drop(name)
    await context.json(encoded({"id": name, "object": "response", "deleted": True}))


async def input_items(context: RequestContext) -> None:
    """``GET /v1/responses/{id}/input_items``: the conversation before the reply, without its instructions."""
    name = context.path.split("/")[3]
    kept = _found(context, name)
    asked = dict(parse_qsl(context.query))
    limit, order, after = asked.get("limit", "20"), asked.get("order", "desc"), asked.get("after")
    if not _LIMIT.fullmatch(limit):
        raise BadInput(f"limit is {shown(limit, 80)!r}; it must be a whole number from 1 to 100", field="limit")
    if order not in ("asc", "desc"):
        raise BadInput(f'order is {shown(order, 80)!r}; it must be "asc" or "desc"', field="order")
    items = openai_responses.input_items(kept.turns[:-1], name)
    try:
        page = openai_responses.page_of(items, after=after, limit=int(limit), newest_first=order == "desc")
    except KeyError:
        raise BadInput(f"after is {shown(after or '', 80)!r}, which is no id of these items", field="after") from None
    await context.json(encoded(page))


async def count(context: RequestContext) -> None:
    """``POST /v1/responses/input_tokens``: tokens of the conversation, that of ``previous_response_id`` included."""
    ask = openai_responses.read_request(context.body)
    if ask.previous is not None:
        _go_on_from(ask, context.gateway.replies.get(ask.previous, context.record.key))
    await context.json(encoded({"object": "response.input_tokens", "input_tokens": await counted(context, ask)}))


def _named(context: RequestContext) -> str:
    return context.path.rpartition("/")[2]


def _found(context: RequestContext, name: str) -> StoredResponse:
    found = context.gateway.replies.get(name, context.record.key)
    if found is None:
        raise Refused(
            Fault(f"no response {shown(name, 80)!r} is kept here", "not_found", 404, "response_not_found", "response_id")
        )
    return found
