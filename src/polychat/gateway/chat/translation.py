"""A whole chat between two wires, without a wait: read by one and written by the other, and its reply the other way round."""

from __future__ import annotations

import os
from time import time
from typing import TYPE_CHECKING, NamedTuple

from ...wire.passthrough import ending_in
from .replies import Outcome

if TYPE_CHECKING:
    from ...calls.info import CallInfo
    from ...http.timeouts import Timeouts
    from ...routing import Target
    from ...types import ChatRequest
    from ...wire.contract import Writer
    from ..dialects.dialect import InboundChat


class TranslatedBody(NamedTuple):
    """A whole reply in the bytes of the client."""

    body: bytes
    outcome: Outcome
    content_type: str


class Translation:
    """One chat in the bytes of its target's wire: ``ready`` and ``body`` are what is sent.

    Raises ``BadInput`` for a chat that cannot be written, and ``NotReady`` for want of a key.
    """

    __slots__ = ("_direct", "_inbound", "body", "call_info", "ready")

    def __init__(self, inbound: InboundChat, target: Target, call_info: CallInfo, timeouts: Timeouts) -> None:
        self._inbound, self.call_info = inbound, call_info
        self._direct = direct = target.backend.direct(inbound.request_for(target.model), call_info, timeouts)
        self.ready, self.body = direct.ready, direct.body

    def answer(self, reply: bytes) -> TranslatedBody | None:
        """``reply`` as the client gets it; ``None`` where it is no answer. Raises ``BackendError`` where it cannot be read."""
        events = self._direct.events(reply)
        finish, usage, served = ending_in(events)
        if finish.error is not None:
            return None
        writer = writer_for(self._inbound, self._inbound.request())
        writer.write(events)
        body = writer.end()
        return TranslatedBody(body, Outcome(finish, usage, served), writer.content_type) if writer.status == 200 else None


def writer_for(inbound: InboundChat, request: ChatRequest) -> Writer:
    """What writes an answer to ``inbound``, whose whole ``request`` is this, for its client."""
    return inbound.dialect.writer(inbound, request, os.urandom(12).hex(), int(time()))
