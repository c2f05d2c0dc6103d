"""From the whole text so far to the piece that is new."""

from __future__ import annotations


class Cumulative:
    """For services whose every message repeats the reply from its start."""

    __slots__ = ("whole",)

    def __init__(self) -> None:
        self.whole = ""

    def take(self, whole: str) -> str:
        """What ``whole`` has beyond what was seen; raises ``ValueError`` where it does not begin with that."""
        if not whole.startswith(self.whole):
            raise ValueError("the reply so far was changed after it was sent")
        new = whole[len(self.whole) :]
        self.whole = whole
        return new
