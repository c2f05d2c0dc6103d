"""Stop texts in an answer that comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Ends an answer before the first stop text in it, however the answer is cut into pieces.

    The first is the one whose last letter comes first; of several that end there, the longest. What may still become a stop is
    held back, and no more than that. Each letter costs the same on average, whatever the stops are (Knuth, Morris, Pratt).
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.found = False
        """A stop text came: the answer is over."""
        self._stops = [_Stop(text) for text in stops]
        self._held = ""

    def feed(self, text: str) -> str:
        """The part of the answer that this piece makes certain. Nothing comes after a stop text."""
        if self.found:
            return ""
        whole = self._held + text
        for place, letter in enumerate(text, len(self._held) + 1):
            ended = max((stop.size for stop in self._stops if stop.ends_with(letter)), default=0)
            if ended:
                self.found, self._held = True, ""
                return whole[: place - ended]
        held = max((stop.matched for stop in self._stops), default=0)
        certain, self._held = whole[: len(whole) - held], whole[len(whole) - held :]
        return certain

    def rest(self) -> str:
        """What was held back, for an answer that ended without becoming a stop text. It is given once."""
        held, self._held = self._held, ""
        return held


class _Stop:
    """One stop text, and how much of its beginning the answer ends with."""

    __slots__ = ("_shorter", "_text", "matched", "size")

    def __init__(self, text: str) -> None:
        self._text, self.size, self.matched = text, len(text), 0
        self._shorter = [0] * len(text)
        """For each beginning, the longest shorter one that it ends with."""
        for place in range(1, len(text)):
            self.matched = self._longer(self.matched, text[place])
            self._shorter[place] = self.matched
        self.matched = 0

    def ends_with(self, letter: str) -> bool:
        """Whether the whole text is complete with ``letter``, the answer's next one."""
        self.matched = self._longer(self.matched, letter)
        return self.matched == self.size

    def _longer(self, matched: int, letter: str) -> int:
        while matched and letter != self._text[matched]:
            matched = self._shorter[matched - 1]
        return matched + 1 if letter == self._text[matched] else 0
