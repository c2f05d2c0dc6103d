"""Stop sequences in a streamed answer."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Ends an answer before the first stop sequence in it, wherever the pieces are cut.

    The first is the one that ends first; of several that end there, the longest. Only text that may become a stop sequence is
    held back. Each character takes constant time on average, for any stop sequences (Knuth, Morris, Pratt).
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.found = False
        """Whether a stop sequence was found: the answer is over."""
        self._stops = [_Stop(text) for text in stops]
        self._held = ""

    def feed(self, text: str) -> str:
        """The part of the answer that is certain after this piece. Nothing follows a stop sequence."""
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
        """The held text of an answer that ended without a stop sequence. It is returned once."""
        held, self._held = self._held, ""
        return held


class _Stop:
    """One stop sequence, and how much of its beginning the answer ends with."""

    __slots__ = ("_shorter", "_text", "matched", "size")

    def __init__(self, text: str) -> None:
        self._text, self.size, self.matched = text, len(text), 0
        self._shorter = [0] * len(text)
        """For each prefix, the longest shorter prefix that it ends with."""
        for place in range(1, len(text)):
            self.matched = self._longer(self.matched, text[place])
            self._shorter[place] = self.matched
        self.matched = 0

    def ends_with(self, letter: str) -> bool:
        """Whether the sequence is complete with ``letter``, the answer's next character."""
        self.matched = self._longer(self.matched, letter)
        return self.matched == self.size

    def _longer(self, matched: int, letter: str) -> int:
        while matched and letter != self._text[matched]:
            matched = self._shorter[matched - 1]
        return matched + 1 if letter == self._text[matched] else 0
