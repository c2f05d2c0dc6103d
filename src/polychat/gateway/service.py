"""The process that answers: what its requests share."""

from __future__ import annotations

from typing import Protocol

from ..state.responses import ResponseStore
from .admission.bodies import Bodies
from .observe.record import Record
from .runtime import Runtime


class Service(Protocol):
    """As a request sees it."""

    running: int
    """Requests under way."""
    draining: bool
    """Whether it is about to stop."""
    is_traced: bool
    """Whether requests are to say which trace they belong to."""
    bodies: Bodies
    responses: ResponseStore
    runtime: Runtime
    """What is in force now."""

    def next_id(self) -> str:
        """A name for a request, unlike any other's."""

    def ended(self, record: Record) -> None:
        """A request is over."""

    def bug(self, error: Exception, record: Record) -> None:
        """An error of ours, for the log."""
