"""Usual requests that are over, until the log and the metrics take them: many together take half the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .record import UsualRequest

_MOST = 64
Pending = Callable[[], None]
"""Hands on what is over, before anything else is done with the facts of requests: they stay in order."""


def nothing_pending() -> None:
    """Where no usual requests are kept."""


class Taker(Protocol):
    """What takes usual requests."""

    pending: Pending

    def expect(self) -> None:
        """Requests are over, and will be handed on: the latest when ``pending`` is called."""

    def take(self, requests: Sequence[UsualRequest]) -> None:
        """These are over."""


class UsualRequests:
    """Those that are over and were not handed on yet."""

    def __init__(self, takers: Sequence[Taker], failed: Callable[[Exception], None]) -> None:
        """``failed`` gets what a taker raises."""
        self._ended: list[UsualRequest] = []
        self._takers, self._failed = takers, failed
        for taker in takers:
            taker.pending = self.hand_on

    def add(self, request: UsualRequest) -> None:
        """One is over."""
        ended = self._ended
        if not ended:
            for taker in self._takers:
                taker.expect()
        ended.append(request)
        if len(ended) >= _MOST:
            self.hand_on()

    def hand_on(self) -> None:
        """Let all take them, each whatever another raises."""
        if self._ended:
            ended, self._ended = self._ended, []
            for taker in self._takers:
                try:
                    taker.take(ended)
                except Exception as error:  # noqa: BLE001  # a defect, which is not to be the other takers'
                    self._failed(error)
