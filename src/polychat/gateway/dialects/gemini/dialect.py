"""Gemini's generateContent and streamGenerateContent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qs

from ....types import ChatRequest
from ....wire import gemini
from ....wire.contract import Writer, wire_named
from ....wire.faults import Fault
from ..bodies import Object, open_body, with_model
from ..dialect import NO_HEADERS, Dialect, InboundChat, InboundRequest

ACTIONS = ("generateContent", "streamGenerateContent")
_CLI = b"GeminiCLI"
"""The beginning of Gemini CLI's user agent."""
_ALIAS = "an operator can add an alias for the model, or one for all models of Gemini CLI: gemini-*"


class Gemini(Dialect):
    """``/v1beta/models/{model}:…``, and the same under ``/v1``. A model's name may contain slashes."""

    name = "gemini"
    wire = wire_named("gemini")
    models_path = "/v1beta/models"
    model_member = "modelVersion"
    heartbeat = b""
    """None: Google's own client treats a comment as the beginning of a reply."""

    def inbound(self, request: InboundRequest) -> InboundChat:
        limits = request.runtime.limits
        model, action = named(request.path)
        stream = action == "streamGenerateContent"
        opened = request.opened or open_body(request.body, limits)
        inbound = InboundChat(self, *opened, model, stream, limits, self.passes)
        if stream and parse_qs(request.query).get("alt") != ["sse"]:
            inbound.own_form = "array"
            inbound.may_pass = False
        if gemini.FOREIGN in request.body:  # the API rejects another vendor's signature: it must be removed
            inbound.may_pass = False
        return inbound

    def read(self, inbound: InboundChat) -> ChatRequest:
        return gemini.read_request(inbound.body, model=inbound.model, stream=inbound.stream, limits=inbound.reading)

    def writer(self, inbound: InboundChat, chat_request: ChatRequest, name: str, created: int) -> Writer:
        return gemini.writer(chat_request, name, created, inbound.model, array=inbound.own_form == "array")

    def path(self, model: str, *, stream: bool) -> str:
        return gemini.path(ChatRequest(model, [], stream=stream))

    def refusal(
        self, fault: Fault, request_id: str | None = None, headers: Mapping[bytes, bytes] = NO_HEADERS
    ) -> tuple[int, bytes]:
        if fault.kind == "not_found" and headers.get(b"user-agent", b"").startswith(_CLI):
            # It also requests models of its own choice, and retries after a 404 at once, without end.
            fault = replace(fault, kind="invalid_request", status=400, message=f"{fault.message}; {_ALIAS}")
        return super().refusal(fault, request_id, headers)

    def relayed(self, inbound: InboundChat, model: str, *, usage: bool, fields: Object | None = None) -> bytes:
        return with_model(inbound.fields if fields is None else fields, None)  # the path contains it


def named(path: str) -> tuple[str, str]:
    """Model and action of a path such as ``/v1beta/models/house/small:generateContent``."""
    model, _, action = path.partition("/models/")[2].rpartition(":")
    return model, action
