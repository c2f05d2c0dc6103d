"""A short path for the usual read of a stream: an event that differs from the one before only in its text.

Models stream text a token at a time, and each token comes in an event that repeats everything else. The bytes around the text
of one event that was read as usual are kept; if the next read begins and ends with the same bytes, those between them are
the JSON of its text, and nothing else has to be examined. A read that differs in any other way (a usage, an end, an error,
a second event) is read as usual, and the kept bytes are dropped.

``openai_chat/passthrough.py`` examines chunks in a similar way and does not use this: it decodes no text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..events import Event, Text
from .contract import Reader
from .framing import padding_in
from .json_text import text_of

MAX_TEMPLATES = 32
"""How often the bytes around a text are kept in one stream: if no two events are the same, keeping them is useless."""


class RecordsText(Protocol):
    """A reader that knows when further text of the first answer has no effect on it except in its counters."""

    def text_recorder(self) -> Callable[[str], None] | None:
        """A function that records a text which is not fed to the reader; ``None`` if the last event is not typical of the next.

        Called when a feed ended between two events and returned only one ``Text``. The result is valid until the next feed.
        """


def record_nothing(text: str) -> None:
    """For a reader without counters."""


class EventTemplate:
    """The bytes around the text of an event: another event with the same bytes around its text differs only in that."""

    __slots__ = ("_after", "_before", "_begin", "_end", "_is_padded", "_size", "_stop")

    def __init__(self, before: bytes, after: bytes, end: bytes, *, is_padded: bool) -> None:
        self._before, self._after, self._end, self._is_padded = before, after, end, is_padded
        self._begin, self._stop = len(before) - 1, 1 - len(after) or None
        self._size = len(before) + len(after)

    @classmethod
    def of(cls, event: bytes, text: str, end: bytes) -> EventTemplate | None:
        """For an event that contains ``text``; ``None`` if the text cannot be distinguished from another member's.

        ``end`` is the end of an event after the padding that hides its length: see ``padding_in``.
        """
        token = b'"%b"' % text.encode("utf-8", "replace")
        padding = padding_in(event, end)
        if padding:
            event = event[:padding]
        if event.count(token) != 1:
            return None
        at = event.find(token)
        return cls(event[: at + 1], event[at + len(token) - 1 :], end, is_padded=bool(padding))

    def text_in(self, event: bytes) -> str | None:
        """The text of an event that differs in nothing else, never empty; ``None`` for any other event."""
        if event[: self._begin + 1] != self._before:  # a slice costs half of ``startswith``
            return None
        if self._is_padded:
            event = event[: padding_in(event, self._end)]
        if not event.endswith(self._after) or len(event) <= self._size:
            return None
        try:
            return text_of(event[self._begin : self._stop])
        except ValueError:  # an unescaped quote, half an emoji
            return None


class Repeats:
    """Feeds ``reader``, or returns what it would return. The reader may also be fed directly at any time."""

    __slots__ = ("_between", "_kept", "_plain", "_reader", "_record", "_template")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        # Not ``isinstance``: of a protocol it takes as long as reading three chunks.
        self._plain: Callable[[], Callable[[str], None] | None] | None = getattr(reader, "text_recorder", None)
        self._record: Callable[[str], None] = record_nothing
        self._template: EventTemplate | None = None
        self._kept = 0
        self._between = False
        """Whether the data so far ends between two events."""

    @property
    def done(self) -> bool:
        """Whether the reader is done."""
        return self._reader.done

    def text_in(self, data: bytes) -> str | None:
        """The text of ``data`` if it differs from the event before it only in that, and is fed then; ``None``: feed it."""
        if self._template is None or (text := self._template.text_in(data)) is None:
            return None
        self._record(text)
        return text

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes; it may be cut anywhere."""
        if self._template is not None and (text := self._template.text_in(data)) is not None:
            self._record(text)
            return [Text(text)]
        return self._read(data)

    def end(self) -> list[Event]:
        """The last events, after the end of the body."""
        return self._reader.end()

    def _read(self, data: bytes) -> list[Event]:
        batch = self._reader.feed(data)
        self._template = None
        if self._plain is not None:
            was_between, self._between = self._between, data.endswith(b"\n\n")
            if was_between and self._between and len(batch) == 1 and self._kept < MAX_TEMPLATES:
                piece = batch[0]
                if type(piece) is Text and piece.choice == 0 and (note := self._plain()) is not None:
                    self._kept += 1
                    if data.count(b"\n\n") == 1:
                        self._template, self._record = EventTemplate.of(data, piece.text, b'"}\n\n'), note
        return batch
