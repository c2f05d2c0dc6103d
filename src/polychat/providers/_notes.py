"""What a provider tells of one ask besides its events."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..types import Ask
from ..wire.ledger import Fates, Loss, OnLoss, losses, settle


@dataclass(slots=True)
class Notes:
    on_loss: OnLoss | None = None
    losses: list[Loss] = field(default_factory=list)
    """What of the ask did not reach the backend as it was meant."""
    url: str = ""
    """Where it was asked."""
    limits: list[tuple[bytes, bytes]] = field(default_factory=list)
    """The headers of the answer that tell of the backend's rate limits."""
    raw: bytes | None = None
    """The body of the reply, where it came whole and not as a stream."""

    def settle(self, ask: Ask, fates: Fates, wire: str, vendor: str) -> None:
        """Note what is lost of ``ask``, and refuse or warn as the caller wants it. Raises ``BadInput``."""
        self.losses = losses(ask, fates, wire, vendor)
        settle(self.losses, self.on_loss)

    def add(self, found: list[Loss]) -> None:
        """Note more that is lost; refuse or warn as the caller wants it. Raises ``BadInput``."""
        self.losses += found
        settle(found, self.on_loss)
