"""What a provider tells of one ask besides its events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..errors import BadInput
from ..types import ChatRequest
from ..wire.adapting import demanded, without_foreign, without_foreign_files
from ..wire.field import SupportTable
from ..wire.losses import Loss, OnLoss, apply_loss_policy, losses
from ..wire.placeholders import Placeholders

if TYPE_CHECKING:
    from ..http.pool.event_pipe import EventPipe


@dataclass(slots=True)
class CallInfo:
    on_loss: OnLoss | None = None
    hosted_tools: Literal["drop", "refuse"] | None = None
    """What to do about tools that another vendor's backend runs; ``None``: what ``on_loss`` says."""
    losses: list[Loss] = field(default_factory=list)
    """What of the ask did not reach the backend as it was meant."""
    url: str = ""
    """Where it was asked."""
    limits: list[tuple[bytes, bytes]] = field(default_factory=list)
    """The headers of the answer that tell of the backend's rate limits."""
    raw: bytes | None = None
    """The body of the reply, where it came whole and not as a stream."""
    pipe: EventPipe | None = None
    """What can push the reply's later events, to whoever has taken the first ones and takes no more of them."""
    placeholders: Placeholders | None = None
    """What stands aside of the ask, and is to be put back into the request's body: see ``restores``."""
    whole: Callable[[], ChatRequest] | None = None
    """The ask with nothing aside, where there are placeholders."""
    is_large: bool = False
    """Whether writing the request would take so long that it is done in a thread."""

    def apply_loss_policy(self, request: ChatRequest, support_table: SupportTable, wire: str, vendor: str) -> ChatRequest:
        """Note what is lost of ``request``, and refuse or warn as the caller wants it. Raises ``BadInput``.

        Gives the ask without the tools and files that only another vendor has.
        """
        self.losses = lost = losses(request, support_table, wire, vendor)
        if lost and any(loss.field == _HELD for loss in lost):
            request = without_foreign_files(request)
        if not request.tools:
            if lost:
                apply_loss_policy(lost, self.on_loss)
            return request
        hosted = [loss for loss in lost if loss.field == _HOSTED]
        if hosted and self.hosted_tools is not None:
            self._hosted(request, wire, hosted[0])
            lost = [loss for loss in lost if loss.field != _HOSTED]
        apply_loss_policy(lost, self.on_loss)
        return without_foreign(request, wire)

    def _hosted(self, request: ChatRequest, wire: str, loss: Loss) -> None:
        """Raises ``BadInput`` where the tool may not be left out."""
        if (kind := demanded(request, wire)) is not None:
            raise BadInput(
                f"tool_choice demands {kind}, which only its own vendor's backend can run: choose another tool, or "
                "use a backend of that vendor",
                field="tool_choice",
            )
        if self.hosted_tools == "refuse" or self.on_loss == "refuse":
            raise BadInput(
                f"{loss.detail}: only its own vendor's backend can run it, and hosted_tools is refuse: omit the tool, "
                "use a backend of that vendor, or send x-polychat-hosted-tools: drop",
                field="tools",
            )

    def add(self, lost: list[Loss]) -> None:
        """Note more that is lost; refuse or warn as the caller wants it. Raises ``BadInput``."""
        self.losses += lost
        apply_loss_policy(lost, self.on_loss)


_HOSTED = "tools.hosted.foreign"
_HELD = "parts.file.id.foreign"


Notes = CallInfo
"""Its earlier name."""
