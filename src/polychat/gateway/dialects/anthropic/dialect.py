"""Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Mapping

from ....events import Finish, Usage
from ....types import ChatRequest
from ....wire import anthropic
from ....wire.contract import TextStream, Writer, wire_named
from ....wire.estimating import measures_media, prompt_size
from ....wire.faults import Fault
from ....wire.losses import BILLING
from ....wire.passthrough import Reading, StreamMonitor, ending_in
from ..dialect import NO_HEADERS, Dialect, InboundChat, InboundRequest
from ..plain_texts import PlainTexts, plain_texts

_OPENING = b'"message_start"'


class Anthropic(Dialect):
    """``/v1/messages``."""

    name = "anthropic"
    wire = wire_named("anthropic")
    heartbeat = b'event: ping\ndata: {"type": "ping"}\n\n'
    id_header = b"request-id"
    compares = True  # Claude Code discards reasoning of a model other than the one that it requested
    forwards = ("anthropic-version", "anthropic-beta")
    writes_text = True

    def inbound(self, request: InboundRequest) -> InboundChat:
        inbound = super().inbound(request)
        inbound.own = request.request_id
        return inbound

    def plain_texts(self, inbound: InboundChat) -> PlainTexts | None:
        if (plain := plain_texts(inbound.body, inbound.fields)) is None or plain[1][0].startswith(BILLING):
            return None  # such a text may be changed
        return plain

    def monitor(self, inbound: InboundChat) -> StreamMonitor:
        return Reading(self.wire.Reader(), opening=_OPENING)

    def passed_at_once(self, inbound: InboundChat, body: bytes) -> tuple[bytes, Finish, Usage | None, str | None] | None:
        events = anthropic.usual_stream(body)
        return None if events is None or body.count(_OPENING) != 1 else (body, *ending_in(events))

    def writer(self, inbound: InboundChat, chat_request: ChatRequest, name: str, created: int) -> Writer:
        text_aside = 0
        if (aside := inbound.placeholders) is not None:
            if measures_media(chat_request):
                chat_request = inbound.with_media()
            else:
                text_aside = aside.text_size
        return anthropic.writer(chat_request, name, created, inbound.model, request_id=inbound.own, text_aside=text_aside)

    def write_text(self, inbound: InboundChat, text: str, usage: Usage, finish: Finish, name: str, created: int) -> bytes:
        return anthropic.write_text(text, usage, finish, name, created, inbound.model)

    def write_text_stream(self, inbound: InboundChat, stream: TextStream, name: str, created: int) -> tuple[bytes, str]:
        size = inbound.prompt_size
        if size is None:
            size = prompt_size(inbound.with_media())
        return anthropic.write_text_stream(stream, name, inbound.model, size), anthropic.STREAM_TYPE

    def refusal(
        self, fault: Fault, request_id: str | None = None, headers: Mapping[bytes, bytes] = NO_HEADERS
    ) -> tuple[int, bytes]:
        status = 529 if fault.kind == "overloaded" and fault.status == 503 else fault.status  # the status of its own API
        return status, anthropic.write_fault(fault, request_id)
