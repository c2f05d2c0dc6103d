"""Anthropic's Messages, and its counting of tokens."""

from __future__ import annotations

from ..wire import anthropic
from ..wire.anthropic.passing import Renamed, named_as
from ..wire.faults import Fault
from ..wire.passing import Watch
from ..wire.wires import wire
from .counting import counted
from .door import Door, Question
from .visit import Visit


class Anthropic(Door):
    """``/v1/messages``."""

    name = "anthropic"
    wire = wire("anthropic")
    beat = b'event: ping\ndata: {"type": "ping"}\n\n'
    id_header = b"request-id"
    forwards = ("anthropic-version", "anthropic-beta")

    def watch(self, question: Question) -> Watch:
        return Renamed(question.model)

    def named(self, question: Question, body: bytes) -> bytes:
        return named_as(body, question.model)

    def refusal(self, fault: Fault) -> tuple[int, bytes]:
        status, body = super().refusal(fault)
        return 529 if fault.kind == "overloaded" and status == 503 else status, body  # as its own API says it


async def count(visit: Visit) -> None:
    """``/v1/messages/count_tokens``."""
    ask = anthropic.read_count_request(visit.body)
    await visit.json(anthropic.write_count(await counted(visit, ask)))
