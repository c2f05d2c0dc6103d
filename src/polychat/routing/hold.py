"""How much of a stream is kept back at its beginning, so that a failure until then is retried on another target, unseen.

Off by default: a client would see the first text later. What is kept is passed on at once when there is enough of it, when its
time is over, and when the reply ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..config.settings import Rules


ANY = 1 << 20
"""Characters of a hold that only time ends."""


class Hold(NamedTuple):
    characters: int
    """Of the answer, its thoughts and its calls, after which no more is kept."""
    seconds: float
    """From the first piece on, after which no more is kept."""

    def is_over(self, characters: int) -> bool:
        """Whether so many are enough."""
        return characters >= self.characters


def hold_of(rules: Rules) -> Hold | None:
    """What the rules say; ``None``: nothing is kept."""
    return Hold(rules.hold, rules.hold_seconds) if rules.hold else None
