"""OpenAI's Responses, with what it keeps of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ....client.reply import Reply
from ....errors import BadInput, redact
from ....events import Event
from ....state.responses import StoredResponse, Turns
from ....types import ChatMessage, ChatRequest, TextPart
from ....wire import openai_responses
from ....wire.assembly import AssembledReply
from ....wire.contract import Writer, wire
from ....wire.faults import Fault
from ....wire.openai_responses.passthrough import EventMonitor
from ....wire.passthrough import StreamMonitor
from ....wire.placeholders import Placeholders
from ...responder import Refused
from ..dialect import RAW, Dialect, InboundChat, InboundRequest, value_of

_PREFIX = "resp_"


class _Storage:
    """What a request says about storing its reply, and the stored reply that it continues."""

    def __init__(self, request: InboundRequest, previous: StoredResponse | None, name: str | None, *, keep: bool) -> None:
        self.request, self.previous, self.name, self.keep = request, previous, name, keep


class OpenAIResponses(Dialect):
    """``/v1/responses``. Replies are kept here, unless the backend speaks this wire itself and the request passes through."""

    name = "openai-responses"
    wire = wire("openai-responses")
    compares = True  # a client sends its reasoning items back to the model that they are said to be of
    forwards = ("openai-beta",)

    def inbound(self, request: InboundRequest) -> InboundChat:
        inbound = super().inbound(request)
        fields = inbound.fields
        if value_of(fields, "background"):
            raise BadInput("background is not supported: omit it and stream the reply", field="background")
        name = value_of(fields, "previous_response_id")
        previous = request.service.responses.get(name, request.record.key) if isinstance(name, str) else None
        keep = value_of(fields, "store") is not False and request.runtime.gateway.store.replies > 0
        inbound.own = _Storage(request, previous, name, keep=keep)
        inbound.may_pass = previous is None
        return inbound

    def read(self, inbound: InboundChat) -> ChatRequest:
        """Raises ``Refused`` if the previous reply that it names is not stored here."""
        storage: _Storage = inbound.own
        chat_request = super().read(inbound)
        chat_request.store = None  # that is done here
        go_on_from(chat_request, storage.previous)
        return chat_request

    def writer(self, inbound: InboundChat, chat_request: ChatRequest, name: str, created: int) -> Writer:
        storage: _Storage = inbound.own
        if (aside := inbound.placeholders) is not None and chat_request.turns:  # the first may be told as instructions
            chat_request = replace(chat_request, turns=[_restored(chat_request.turns[0], aside), *chat_request.turns[1:]])
        stored_request = replace(chat_request, store=storage.keep, previous=storage.name)
        writer = openai_responses.writer(stored_request, name, created, inbound.model)
        if not storage.keep:
            return writer
        whole = (
            openai_responses.writer(replace(stored_request, stream=False), name, created, inbound.model)
            if chat_request.stream
            else writer
        )
        return _StoringWriter(writer, whole, f"{_PREFIX}{name}", storage, inbound)

    def monitor(self, inbound: InboundChat) -> StreamMonitor:
        return EventMonitor()

    def go_on(self, writer: Writer, monitor: StreamMonitor) -> None:
        assert isinstance(monitor, EventMonitor)
        monitor.hand_over(writer.written if isinstance(writer, _StoringWriter) else writer)


def _restored(turn: ChatMessage, aside: Placeholders) -> ChatMessage:
    if turn.role not in ("system", "developer"):
        return turn
    parts = [replace(part, text=aside.text(part.text)) if isinstance(part, TextPart) else part for part in turn.parts]
    return replace(turn, parts=parts)


def go_on_from(chat_request: ChatRequest, previous: StoredResponse | None) -> None:
    """Put the previous conversation before the request's. Raises ``Refused`` if the reply that it names is not stored."""
    if chat_request.previous is None:
        return
    if previous is None:
        message = f"no stored response {redact(chat_request.previous, 80)!r}: send the conversation in input"
        raise Refused(Fault(message, "not_found", 404, "previous_response_not_found", "previous_response_id"))
    begins = 0
    while begins < len(chat_request.turns) and chat_request.turns[begins].role in ("system", "developer"):
        begins += 1
    chat_request.turns = [*chat_request.turns[:begins], *previous.turns, *chat_request.turns[begins:]]
    chat_request.previous = None


class _StoringWriter:
    """Writes as another writer does, and stores the reply once it is complete."""

    def __init__(self, writer: Writer, whole: Writer, name: str, storage: _Storage, inbound: InboundChat) -> None:
        self._writer, self._whole, self._name, self._storage, self._inbound = writer, whole, name, storage, inbound
        self._collected = AssembledReply()
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
            self._collected.take(event)
        return self._writer.write(events)

    def end(self) -> bytes:
        body = self._writer.end()
        self.status = self._writer.status
        finish = self._collected.finish
        if finish is not None and finish.verdict == "complete":
            self._store(body if self._whole is self._writer else self._whole.end())
        return body

    def _store(self, body: bytes) -> None:
        request, previous = self._storage.request, self._storage.previous
        before = self._inbound.size + (0 if previous is None else previous.size)
        if before > request.runtime.gateway.store.bytes:
            return
        collected = self._collected.first
        reply = Reply("", None, collected.text, "complete", thoughts=collected.thoughts, tool_calls=collected.calls)
        reply.refusal = collected.refusal
        turns: Turns
        if self._inbound.placeholders is None or previous is not None:
            turns = [*_without_instructions(self._inbound.with_media()), reply.turn()]
        else:  # as it came it is smaller
            turns = partial(_conversation, self._inbound.as_it_came(), reply.turn())
        request.service.responses.put(
            self._name,
            request.record.key,
            body,
            turns,
            before,
            request.runtime.gateway.store,
        )


def _conversation(body: bytes, reply: ChatMessage) -> list[ChatMessage]:
    return [*_without_instructions(openai_responses.read_request(body, model="", limits=RAW)), reply]


def _without_instructions(chat_request: ChatRequest) -> list[ChatMessage]:
    return [turn for turn in chat_request.turns if turn.role not in ("system", "developer")]
