"""OpenAI's Responses, with what it keeps of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from ....client.reply import Reply
from ....errors import BadInput, redact
from ....events import Event
from ....state.responses import Messages, StoredResponse
from ....types import ChatMessage, ChatRequest
from ....wire import openai_responses
from ....wire.assembly import AssembledReply
from ....wire.contract import Writer, wire_named
from ....wire.faults import Fault
from ....wire.openai_responses.passthrough import EventMonitor
from ....wire.passthrough import StreamMonitor
from ....wire.placeholders import Placeholders
from ...context import RequestContext
from ...responder import Refused
from ..bodies import value_of
from ..dialect import RAW, Dialect, InboundChat, InboundRequest
from ..openrouter import prefer
from .kept import RequestOrigin, keep, response_of

_PREFIX = "resp_"


class _Storage:
    """Whether a request asks to store its reply, and the stored reply that it continues."""

    __slots__ = ("keep", "name", "origin", "previous")

    def __init__(self, request: InboundRequest, name: Any, *, keep: bool) -> None:
        """``name``: of the stored reply. ``request`` is not kept: it may hold what holds this."""
        self.origin = RequestOrigin(request.record, request.runtime, request.service)
        self.name, self.keep = name, keep and request.runtime.gateway.store.replies > 0
        self.previous = request.service.responses.get(name, request.record.key) if isinstance(name, str) else None

    def can_hold(self, size: int) -> bool:
        """Whether a conversation of so many bytes may be stored."""
        return size <= self.origin.runtime.gateway.store.bytes

    def put(self, name: str, body: bytes, messages: Messages, size: int) -> None:
        """Store a reply, and the conversation with it, which has ``size`` bytes besides the reply."""
        origin = self.origin
        origin.service.responses.put(name, origin.record.key, body, messages, size, origin.runtime.gateway.store)


class OpenAIResponses(Dialect):
    """``/v1/responses``. Replies are stored here, unless the backend uses this wire itself and the request is passed through.

    OpenRouter's ``models`` and ``provider`` are supported, as in chat completions.
    """

    name = "openai-responses"
    wire = wire_named("openai-responses")
    compares = True  # a client sends reasoning items back to the model that they name
    forwards = ("openai-beta",)

    def inbound(self, request: InboundRequest) -> InboundChat:
        inbound = super().inbound(request)
        if "models" in inbound.fields or "provider" in inbound.fields:
            prefer(inbound, request.runtime.resolver)
        fields = inbound.fields
        if value_of(fields, "background"):
            raise BadInput("background is not supported: omit it and stream the reply", field="background")
        name = value_of(fields, "previous_response_id")
        inbound.own = storage = _Storage(request, name, keep=value_of(fields, "store") is not False)
        inbound.may_pass = storage.previous is None
        return inbound

    def continues(self, inbound: InboundChat) -> bool:
        """Whether the chat continues a reply, which may be another gateway's."""
        return isinstance(inbound.own.name, str)

    async def find_previous(self, context: RequestContext, inbound: InboundChat) -> None:
        """Look for that reply also in the database."""
        storage: _Storage = inbound.own
        storage.previous = await response_of(context, storage.name or "")
        inbound.may_pass = storage.previous is None

    def read(self, inbound: InboundChat) -> ChatRequest:
        """Raises ``Refused`` if the previous reply that it names is not stored here."""
        storage: _Storage = inbound.own
        chat_request = super().read(inbound)
        chat_request.store = None  # which is done here
        prepend_previous(chat_request, storage.previous)
        return chat_request

    def writer(self, inbound: InboundChat, chat_request: ChatRequest, name: str, created: int) -> Writer:
        storage: _Storage = inbound.own
        stored_request = replace(chat_request, store=storage.keep, previous=storage.name)
        writer = _writer(stored_request, name, created, inbound)
        if not storage.keep:
            return writer
        whole = _writer(replace(stored_request, stream=False), name, created, inbound) if chat_request.stream else writer
        return _StoringWriter(writer, whole, f"{_PREFIX}{name}", storage, inbound)

    def monitor(self, inbound: InboundChat) -> StreamMonitor:
        return EventMonitor()

    def continue_stream(self, writer: Writer, monitor: StreamMonitor) -> None:
        assert isinstance(monitor, EventMonitor)
        while isinstance(writer, (_StoringWriter, _RestoringWriter)):
            writer = writer.written
        monitor.continue_with(writer)


def _writer(chat_request: ChatRequest, name: str, created: int, inbound: InboundChat) -> Writer:
    writer = openai_responses.writer(chat_request, name, created, inbound.model)
    return writer if inbound.placeholders is None else _RestoringWriter(writer, inbound.placeholders)


class _RestoringWriter:
    """Wraps a writer and restores the detached parts of instructions, tools and schemas, which a reply repeats.

    They stay bytes, because as text they could take five times the memory.
    """

    def __init__(self, writer: Writer, aside: Placeholders) -> None:
        self.written, self._aside = writer, aside
        self.streams, self.status = writer.streams, writer.status
        self.content_type, self.headers = writer.content_type, writer.headers

    def write(self, events: list[Event]) -> bytes:
        return self._aside.restored(self.written.write(events))

    def end(self) -> bytes:
        body = self._aside.restored(self.written.end())
        self.status = self.written.status
        return body


def prepend_previous(chat_request: ChatRequest, previous: StoredResponse | None) -> None:
    """Put the previous conversation before the request's. Raises ``Refused`` if the reply that it names is not stored."""
    if chat_request.previous is None:
        return
    if previous is None:
        message = f"no stored response {redact(chat_request.previous, 80)!r}: send the conversation in input"
        raise Refused(Fault(message, "not_found", 404, "previous_response_not_found", "previous_response_id"))
    begins = 0
    while begins < len(chat_request.messages) and chat_request.messages[begins].role in ("system", "developer"):
        begins += 1
    earlier = openai_responses.name_earlier(previous.messages, chat_request)
    chat_request.messages = [*chat_request.messages[:begins], *earlier, *chat_request.messages[begins:]]
    chat_request.previous = None


class _StoringWriter:
    """Wraps a writer and stores the reply once it is complete."""

    def __init__(self, writer: Writer, whole: Writer, name: str, storage: _Storage, inbound: InboundChat) -> None:
        self._writer, self._whole, self._name, self._storage, self._inbound = writer, whole, name, storage, inbound
        self._collected = AssembledReply()
        self.streams, self.status = writer.streams, writer.status
        self.content_type, self.headers = writer.content_type, writer.headers

    @property
    def written(self) -> Writer:
        """The writer for the client."""
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
        if finish is not None and finish.verdict == "complete" and finish.reason != openai_responses.PREPARED:
            self._store(body if self._whole is self._writer else self._whole.end())
        return body

    def _store(self, body: bytes) -> None:
        storage, previous = self._storage, self._storage.previous
        before = self._inbound.size + (0 if previous is None else previous.size)
        if not storage.can_hold(before):
            return
        collected = self._collected.first
        reply = Reply("", None, collected.text, "complete", thoughts=collected.thoughts, tool_calls=collected.calls)
        reply.refusal = collected.refusal
        messages: Messages
        if self._inbound.placeholders is None or previous is not None:
            messages = _conversation_of(self._inbound.with_media(), reply.turn())
        else:  # as received it is smaller
            messages = partial(_conversation, self._inbound.original_body(), reply.turn())
        keep(storage.origin, self._inbound, self._name, body, previous)
        storage.put(self._name, body, messages, before)


def _conversation(body: bytes, reply: ChatMessage) -> list[ChatMessage]:
    return _conversation_of(openai_responses.read_request(body, model="", limits=RAW), reply)


def _conversation_of(chat_request: ChatRequest, reply: ChatMessage) -> list[ChatMessage]:
    """The conversation that a later request continues: without instructions and without tool names of this request only."""
    messages = [message for message in chat_request.messages if message.role not in ("system", "developer")]
    return openai_responses.with_client_names([*messages, reply], chat_request.tools)
