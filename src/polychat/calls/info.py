"""What a backend records about one request besides its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import field

from ..choices import HostedTools, OnLoss
from ..errors import BadInput
from ..types import ChatRequest
from ..values import Value
from ..wire.adapting import required_hosted_tool, without_foreign, without_foreign_files
from ..wire.field import SupportTable
from ..wire.losses import Loss, apply_loss_policy, losses
from ..wire.placeholders import Placeholders

if TYPE_CHECKING:
    from ..events import Event
    from ..http.pool.connection import PoolConnection
    from ..http.pool.event_pipe import EventPipe
    from ..http.pool.response import PooledResponse
    from ..wire.contract import Reader


class CallInfo(Value):
    """The policy of one request about losses, and what its backend records: losses, address, rate limits, raw body."""

    on_loss: OnLoss | None = None
    hosted_tools: HostedTools | None = None
    """What to do with tools that another vendor's backend runs; ``None``: as ``on_loss``."""
    losses: list[Loss] = field(default_factory=list)
    """What of the request did not reach the backend as it was meant."""
    url: str = ""
    """The address of the API that the request went to."""
    limits: list[tuple[bytes, bytes]] = field(default_factory=list)
    """The response's headers about the backend's rate limits."""
    raw: bytes | None = None
    """The body of a reply that was not streamed."""
    piped: tuple[PooledResponse, Reader, Callable[[list[Event]], list[Event]] | None] | None = None
    """What ``pipe`` is made of, where the reply comes in pieces."""
    placeholders: Placeholders | None = None
    """Parts that were taken out of the request, to be put back into its body: see ``Backend.restores``."""
    whole: Callable[[], ChatRequest] | None = None
    """Makes the request without placeholders, where it has some."""
    is_large: bool = False
    """Whether the request is so large that it is written in a thread."""
    take_early_connection: Callable[[], PoolConnection | None] | None = None
    """Returns the connection on which the request was sent already, once; called when it would be sent."""
    check: Callable[[], None] | None = None
    """Raises if the target must not be called after all; called if the request waited before it is sent."""

    def fresh(self) -> CallInfo:
        """For another attempt of the same request: the policy, and nothing recorded."""
        return CallInfo(self.on_loss, self.hosted_tools)

    @property
    def pipe(self) -> EventPipe | None:
        """What pushes the reply's later events, once the first ones have been read and nothing else reads on."""
        if self.piped is None:
            return None
        response, reader, change = self.piped
        return response.event_pipe(reader, change)

    def apply_loss_policy(self, request: ChatRequest, support_table: SupportTable, wire: str, vendor: str) -> ChatRequest:
        """Record what is lost of ``request``, and apply the policy of the caller. Raises ``BadInput`` for what is refused.

        Returns the request without the tools and files that only another vendor has.
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
        """Raises ``BadInput`` if the tool must not be omitted."""
        if (kind := required_hosted_tool(request, wire)) is not None:
            raise BadInput(
                f"tool_choice demands {kind}, which only its own vendor's backend can run: choose another tool, or "
                "use a backend of that vendor",
                field="tool_choice",
            )
        if self.hosted_tools == "refuse" or self.on_loss == "refuse":
            raise BadInput(
                f"{loss.detail}: only its own vendor's backend can run it, and hosted_tools is refuse: omit the tool, "
                'use a backend of that vendor, or set hosted_tools to "drop" (of the gateway: x-polychat-hosted-tools: drop)',
                field="tools",
            )

    def add(self, lost: list[Loss]) -> None:
        """Record further losses, and apply the policy of the caller. Raises ``BadInput`` for what is refused."""
        self.losses += lost
        apply_loss_policy(lost, self.on_loss)


_HOSTED = "tools.hosted.foreign"
_HELD = "parts.file.id.foreign"


Notes = CallInfo
"""Its earlier name."""
