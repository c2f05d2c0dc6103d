"""How many unknown keys an address may send: whoever tries keys learns little, and costs little."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import time

from ...wire.faults import Fault
from ..responder import Refused

GUESSES = 30
"""Unknown keys that an address may send in a minute; further ones are refused without a look at them."""
_ADDRESSES = 4_096


class Guesses:
    """Counts them by address; known keys are no matter of this."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """By address: the minute, and how many in it."""

    def are_too_many(self, address: str) -> bool:
        minute, count = self._counts.get(address, (0, 0))
        return count >= GUESSES and minute == int(self._clock() // 60)

    def check(self, address: str) -> None:
        """Raises ``Refused`` for one too many."""
        if self.are_too_many(address):
            message = f"more than {GUESSES} unknown API keys in a minute from this address: retry later"
            raise Refused(Fault(message, "rate_limit", 429, retry_after=60.0))

    def add(self, address: str) -> None:
        """An unknown key came."""
        now = int(self._clock() // 60)
        minute, count = self._counts.pop(address, (now, 0))
        if len(self._counts) >= _ADDRESSES:
            self._counts.popitem(last=False)
        self._counts[address] = (now, count + 1 if minute == now else 1)
