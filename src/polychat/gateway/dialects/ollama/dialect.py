"""Ollama's own API: its chats."""

from __future__ import annotations

from time import monotonic_ns

from ....errors import UnknownTarget
from ....types import ChatRequest
from ....wire import ollama
from ....wire.contract import Writer, wire_named
from ....wire.passthrough import StreamMonitor, WholeLines
from ..dialect import Dialect, InboundChat, InboundRequest


class Ollama(Dialect):
    """``/api/chat``, streamed by default. Its JSON lines have no heartbeat."""

    name = "ollama"
    wire = wire_named("ollama")
    heartbeat = b""
    stream_type = "application/x-ndjson"
    piece_end = b"\n"
    models_path = "/api/tags"
    streams = True

    def inbound(self, request: InboundRequest) -> InboundChat:
        inbound = super().inbound(request)
        inbound.own = monotonic_ns()
        if inbound.model.endswith(_LATEST):
            inbound.model = known(request, inbound.model)
        return inbound

    def writer(self, inbound: InboundChat, chat_request: ChatRequest, name: str, created: int) -> Writer:
        return _timed(super().writer(inbound, chat_request, name, created), inbound)

    def monitor(self, inbound: InboundChat) -> StreamMonitor:
        return WholeLines(self.wire.Reader())


def _timed(writer: Writer, inbound: InboundChat) -> Writer:
    """With the durations that clients expect. All of the time counts as the answer's: a backend does not report its phases."""
    begun = inbound.own

    def durations() -> dict[str, int]:
        took = monotonic_ns() - begun
        return {"total_duration": took, "load_duration": 0, "prompt_eval_duration": 0, "eval_duration": took}

    writer.measure = durations  # type: ignore[attr-defined]  # this wire's own
    return writer


class OllamaGenerate(Ollama):
    """``/api/generate``."""

    passes = False

    def read(self, inbound: InboundChat) -> ChatRequest:
        return ollama.read_generate_request(inbound.body, limits=inbound.reading)

    def writer(self, inbound: InboundChat, chat_request: ChatRequest, name: str, created: int) -> Writer:
        return _timed(ollama.generate_writer(chat_request, name, created, inbound.model), inbound)


_LATEST = ":latest"
"""The tag that clients append to a name without one."""


def known(request: InboundRequest, name: str) -> str:
    """The model's name in the configuration: with the default tag, or without it."""
    resolver, bare = request.runtime.resolver, name.removesuffix(_LATEST)
    listed = resolver.listed()
    if bare in listed and name not in listed:
        return bare
    try:
        resolver.plan(name)
    except UnknownTarget:
        return bare
    return name
