"""Requests that are sent to one more target, whose answer no client gets: to compare it with the one that answers.

Off by default: it costs what its target takes. Never a request with tools that a vendor runs, for those may do something.
"""

from __future__ import annotations

from ..types import ChatRequest, HostedTool

MOST = 16
"""Such requests at the same time, in one process; beyond that none is sent."""
LARGEST = 1024 * 1024
"""Bytes of a request that is kept for it."""
SECONDS = 600.0
"""What one may take."""


def is_mirrored(percent: float, draw: float, running: int, size: int) -> bool:
    """Whether a request of ``size`` bytes is one of these ``percent``; ``draw`` is drawn by chance, from 0 to 1."""
    return draw * 100.0 < percent and running < MOST and size <= LARGEST


def may_be_mirrored(request: ChatRequest) -> bool:
    """Whether asking it once more does nothing but cost."""
    return not any(isinstance(tool, HostedTool) for tool in request.tools)
