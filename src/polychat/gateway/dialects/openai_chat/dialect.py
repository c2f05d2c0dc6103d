"""OpenAI's chat completions."""

from __future__ import annotations

from msgspec import Raw

from ....events import Finish, Usage
from ....types import ChatRequest
from ....wire import openai_chat
from ....wire.checks import record
from ....wire.contract import TextStream, Writer, wire_named
from ....wire.openai_chat.passthrough import ChunkMonitor, ending_of
from ....wire.openai_chat.usual_streams import usual_passing
from ....wire.passthrough import StreamMonitor
from ..bodies import Object, value_of, with_model
from ..dialect import OPENED, Dialect, InboundChat, InboundRequest
from ..openrouter import prefer
from ..plain_texts import PlainTexts, plain_texts

_WITH_USAGE = Raw(b'{"include_usage":true}')


class OpenAIChat(Dialect):
    """``/v1/chat/completions``. OpenRouter's ``models`` and ``provider`` are supported: which targets may answer, in which
    order.
    """

    name = "openai-chat"
    wire = wire_named("openai-chat")
    forwards = ("openai-beta",)
    writes_text = True

    def inbound(self, request: InboundRequest) -> InboundChat:
        inbound = Dialect.inbound(self, request)  # ``super()`` takes as long as reading a field
        fields = inbound.fields
        if "models" in fields or "provider" in fields:
            prefer(inbound, request.runtime.resolver)
        if inbound.stream:
            options = value_of(fields, "stream_options")
            inbound.wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        return inbound

    def plain_texts(self, inbound: InboundChat) -> PlainTexts | None:
        return plain_texts(inbound.body, inbound.fields)

    def relayed(self, inbound: InboundChat, model: str, *, usage: bool, fields: Object | None = None) -> bytes:
        asks = inbound.stream and usage and not inbound.wants_usage
        if not asks:
            return with_model(inbound.fields if fields is None else fields, model)
        members = inbound.fields if fields is None else fields
        if "stream_options" not in inbound.fields:
            return with_model({**members, "stream_options": _WITH_USAGE}, model)
        options = record(value_of(inbound.fields, "stream_options") or {}, "stream_options")
        return with_model({**members, "stream_options": {**options, "include_usage": True}}, model)

    def write_text(self, inbound: InboundChat, text: str, usage: Usage, finish: Finish, name: str, created: int) -> bytes:
        return openai_chat.write_text(text, usage, finish, name, created, inbound.model)

    def write_text_stream(self, inbound: InboundChat, stream: TextStream, name: str, created: int) -> tuple[bytes, str]:
        body = openai_chat.write_text_stream(stream, name, created, inbound.model, usage=inbound.wants_usage)
        return body, self.stream_type

    def ending(self, body: bytes) -> tuple[Finish, Usage | None, str | None]:
        return ending_of(body)

    def monitor(self, inbound: InboundChat) -> StreamMonitor:
        return ChunkMonitor(usage=inbound.wants_usage)

    def passed_at_once(self, inbound: InboundChat, body: bytes) -> tuple[bytes, Finish, Usage | None, str | None] | None:
        return usual_passing(body, usage=inbound.wants_usage)


class OpenAICompletions(OpenAIChat):
    """``/v1/completions``: the prompt is sent as a user message."""

    name = "openai-completions"
    passes = False
    writes_text = False

    def plain_texts(self, inbound: InboundChat) -> PlainTexts | None:
        return None  # it has no messages

    def read(self, inbound: InboundChat) -> ChatRequest:
        return openai_chat.read_completion_request(inbound.body, limits=OPENED)

    def writer(self, inbound: InboundChat, chat_request: ChatRequest, name: str, created: int) -> Writer:
        return openai_chat.completion_writer(chat_request, name, created, inbound.model)
