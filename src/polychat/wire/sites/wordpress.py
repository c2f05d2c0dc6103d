"""Common features of WordPress sites: nonces and PHP's JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Callable


def php_json(value: object) -> str:
    """JSON as PHP writes it: ASCII, no spaces, slashes escaped."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/")


class Nonces:
    """WordPress's nonces for guests: one for all, valid for 12 to 24 hours."""

    TICK = 12 * 3600
    """Seconds; a nonce is valid in the tick in which it was made and in the next one."""

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._made: dict[int, str] = {}
        self._skipped = 0

    def current(self) -> str:
        """The nonce of this tick: ten hex digits."""
        tick = self._tick()
        if tick not in self._made:
            self._made = {old: nonce for old, nonce in self._made.items() if old >= tick - 1}
            self._made[tick] = f"{self._rng.getrandbits(40):010x}"
        return self._made[tick]

    def holds(self, nonce: str) -> bool:
        tick = self._tick()
        return nonce in (self._made.get(tick), self._made.get(tick - 1))

    def expire(self) -> None:
        """As if a day had passed: all nonces so far are invalid."""
        self._skipped += 2

    def _tick(self) -> int:
        return int(self._clock() // self.TICK) + self._skipped
