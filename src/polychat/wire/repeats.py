"""The usual read of a stream, straight: an event that differs from the one before it in its text alone.

Models stream text a token at a time, and each token comes in an event that repeats everything else. What stands around the text
of one event that was read as usual is kept; where the next read begins and ends with the same bytes, what is between them is
the JSON of its text, and nothing else has to be looked at. A read that differs in anything else, a usage, an end, an error,
a second event, is read as usual, and what was kept counts no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ..events import Event, Text
from .contract import Reader
from .framing import padding_in
from .json_text import text_of

_KEPT = 32
"""How often what stands around a text is kept, in one stream: where no two events are alike it is of no use."""


@runtime_checkable
class Plain(Protocol):
    """A reader that knows when more text of the first answer changes nothing in it but what it counts."""

    def plain_text(self) -> Callable[[str], None] | None:
        """What notes a text that is not fed to it; ``None`` where the text that came last is no example of the next.

        Asked when a feed, which ended between two events, gave one ``Text`` and nothing else. The answer holds until another.
        """


def nothing_to_note(text: str) -> None:
    """Of a reader that counts nothing."""


class Repeats:
    """Feeds ``reader``, or says what it would say. The reader may be used instead at any time."""

    __slots__ = ("_after", "_around", "_before", "_between", "_is_padded", "_kept", "_note", "_plain", "_reader")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._plain = reader.plain_text if isinstance(reader, Plain) else None
        self._note: Callable[[str], None] = nothing_to_note
        self._before = self._after = b""
        """What stands around a text, its quotes included; nothing where that is not known."""
        self._around = self._kept = 0
        self._is_padded = False
        """Whether what stands behind the text is followed by letters that differ each time."""
        self._between = False
        """Whether what was fed ended between two events."""

    @property
    def done(self) -> bool:
        """The reader's."""
        return self._reader.done

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes; cut anywhere."""
        before = self._before
        if before and data.startswith(before):
            event = data[: padding_in(data)] if self._is_padded else data
            if event.endswith(self._after) and len(event) > self._around:
                try:
                    text = text_of(event[len(before) - 1 : len(event) - len(self._after) + 1])
                except ValueError:  # a quote that is not the text's own, half an emoji
                    return self._read(data)
                self._note(text)
                return [Text(text)]
        return self._read(data)

    def end(self) -> list[Event]:
        """The body is over: the last events."""
        return self._reader.end()

    def _read(self, data: bytes) -> list[Event]:
        batch = self._reader.feed(data)
        self._before = b""
        if self._plain is not None:
            was_between, self._between = self._between, data.endswith(b"\n\n")
            if was_between and self._between and len(batch) == 1 and self._kept < _KEPT:
                piece = batch[0]
                if type(piece) is Text and piece.choice == 0 and (note := self._plain()) is not None:
                    self._keep(data, piece.text, note)
        return batch

    def _keep(self, data: bytes, text: str, note: Callable[[str], None]) -> None:
        self._kept += 1
        token = b'"%b"' % text.encode("utf-8", "replace")
        padding = padding_in(data)
        event = data[:padding] if padding else data
        if data.count(b"\n\n") == 1 and event.count(token) == 1:
            at = event.find(token)
            self._is_padded = bool(padding)
            self._before, self._after, self._note = event[: at + 1], event[at + len(token) - 1 :], note
            self._around = len(event) - len(token) + 2
