"""Replaces long base64 and long texts of a request by placeholders while it is read, routed and written.

Otherwise an image of 20 MB is read as text, decoded, encoded and written again, each time as a copy, without a change. So the
body is read with a short text in its place, which is base64 itself: of the first bytes, by which readers recognize the type,
and of a random number. Code that decodes and encodes it, or copies it as text, at any depth of JSON within JSON,
writes a text that is found in the body to send, and is replaced there by the original. No reader or writer is aware of it.

Of a text, which takes up to five times its size as a string in Python, the middle is replaced, whatever the member's name;
the same holds for texts in call arguments that are JSON in a text. Its placeholder has a quote: the backslashes before it show
how deep in JSON within JSON the text was written. A text that a writer encodes otherwise, or omits, is missing in the body:
``lacks`` reports that, and the request must be written once more without placeholders.

Not replaced are: base64 of text, which some wires write as text; texts that may be a JSON object; names, ids and data that only
its vendor reads; base64 in places where wires have no media; and invalid values, so that their reader reports them.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from io import BytesIO
from typing import Any, TypeAlias

from .json_text import encoded
from .long_strings import HEAD, PIECE, TO_STANDARD, LongBase64, LongString, LongText, media_in, pieces, size_of, strings_in

Piece: TypeAlias = bytes | memoryview
LONG = 1024 * 1024
"""Bytes up to which a body's texts are not replaced: searching for them would take longer than reading them."""
_STANDARD, _URLSAFE = b"//7/", b"__7_"
"""The bytes FF FE FF, which are not UTF-8, in both alphabets: each tells whether the text was copied or decoded and encoded."""


class Placeholders:
    """A body whose long base64 and texts are replaced."""

    __slots__ = ("_mark", "_places", "_token", "body", "short", "text_size")

    def __init__(self, body: bytes, places: Iterable[LongString], token: bytes) -> None:
        self.body = body
        """The original body."""
        self._places, self._token = _Places(), token
        self._mark = re.compile(token + rb"(?:(//7/|__7_)|(\\+)\")([0-9a-f]{8})")
        whole, at, size, view = BytesIO(), 0, 0, memoryview(body)
        for count, place in enumerate(places):
            self._places.append(place)
            whole.write(view[at : place.begin])
            if isinstance(place, LongText):
                whole.write(b'%b%b"%08x' % (token, b"\\" * place.escapes, count))
                size += size_of(body, place) - len(token) - 8 - (place.escapes + 1) // 2
            else:
                whole.write(b"%b%b%b%08x" % (place.head, token, _URLSAFE if place.is_urlsafe else _STANDARD, count))
            at = place.end
        whole.write(view[at:])
        self.short = whole.getvalue()
        """The body with placeholders."""
        self.text_size = size
        """Bytes of UTF-8 by which the original texts are longer than those that are read."""

    def are_in(self, data: Any) -> bool:
        """Whether ``data``, bytes of any kind, contains a placeholder."""
        return self._mark.search(data) is not None

    def numbers_in(self, data: Any) -> set[int]:
        """The numbers of the placeholders in ``data``."""
        return {int(mark[3], 16) for mark in self._mark.finditer(data)}

    def without(self, numbers: Collection[int]) -> Placeholders | None:
        """The same without these replacements; ``None`` if there are no others."""
        left = (self._places[number] for number in range(len(self._places)) if number not in numbers)
        found = Placeholders(self.body, left, self._token)
        return found if found else None

    def without_marks(self, data: bytes) -> bytes:
        """``data`` with the lengths of the originals for the placeholders, which differ in every request."""
        return self._mark.sub(lambda mark: b"%d" % self._length(mark), data)

    def _length(self, mark: re.Match[bytes]) -> int:
        place = self._places[int(mark[3], 16)]
        return place.end - place.begin

    def lacks(self, data: bytes) -> bool:
        """Whether a text is missing in ``data``, which was written from the body with placeholders."""
        missing = self._places.are_texts()
        for mark in self._mark.finditer(data):
            if mark[2]:
                missing[int(mark[3], 16)] = False
        return any(missing)

    def __len__(self) -> int:
        return len(self._places)

    def completed(self, data: bytes, written_whole: Callable[[], bytes]) -> bytes:
        """``data``, which was written from the body with placeholders, with the originals; if a text is missing in it, what is
        written without placeholders.
        """
        return written_whole() if self.lacks(data) else self.restored(data)

    def restored(self, data: bytes) -> bytes:
        """``data`` with the original of each placeholder, in base64's standard alphabet if it was decoded meanwhile."""
        return b"".join(self._restored(data)) if self.are_in(data) else data

    def sent(self, data: bytes) -> bytes | RestoredBody:
        """``restored`` as it is sent: if it is large, in pieces that are made one by one."""
        if len(self.body) <= LONG or not self.are_in(data):
            return self.restored(data)
        return RestoredBody(sum(map(len, self._restored(data))), lambda: self._restored(data))

    def _restored(self, data: bytes) -> Iterator[Piece]:
        at, view = 0, memoryview(data)
        for mark in self._mark.finditer(data):
            place = self._places[int(mark[3], 16)]
            if isinstance(place, LongText):
                yield view[at : mark.start()]
                yield from self._text(place, len(mark[2] or b""))
            else:
                yield view[at : mark.start() - HEAD]
                yield from self._base64(place, standard=mark[1] == _STANDARD)
            at = mark.end()
        yield view[at:]

    def _base64(self, place: LongBase64, *, standard: bool) -> Iterator[Piece]:
        begin, end, _, is_urlsafe = place
        if is_urlsafe and standard:
            for at in range(begin, end, PIECE):
                yield self.body[at : min(at + PIECE, end)].translate(TO_STANDARD)
        else:
            yield memoryview(self.body)[begin:end]

    def _text(self, place: LongText, escapes: int) -> Iterator[Piece]:
        """A text as JSON in which quotes have so many backslashes: 1, or 3 within JSON in JSON, and so on."""
        if escapes == place.escapes:
            yield memoryview(self.body)[place.begin : place.end]
            return
        for piece in pieces(self.body, place.begin, place.end):
            text = piece.encode() if escapes < place.escapes else encoded(piece)[1:-1]
            for _ in range((escapes + 1).bit_length() - (place.escapes + 1).bit_length()):
                text = text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            yield text


class RestoredBody:
    """A body whose pieces are made while it is sent: it is never held as a whole besides the original.

    ``len`` is its size in bytes; each iteration yields the same pieces.
    """

    __slots__ = ("_pieces", "_size")

    def __init__(self, size: int, pieces: Callable[[], Iterator[Piece]]) -> None:
        self._size, self._pieces = size, pieces

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Piece]:
        return self._pieces()


def with_placeholders(body: bytes, token: Callable[[], str]) -> Placeholders | None:
    """The body with placeholders; ``None`` if there is nothing to replace. Takes linear time.

    ``token`` returns 24 random hexadecimal digits.
    """
    found = Placeholders(body, strings_in(body) if len(body) > LONG else media_in(body), token().encode())
    return found if found else None


class _Places:
    """Their positions in the body: for very many texts, a few numbers each."""

    __slots__ = ("_base64", "_bounds", "_escapes")

    def __init__(self) -> None:
        self._bounds, self._escapes = array("Q"), bytearray()
        self._base64: dict[int, LongBase64] = {}

    def __len__(self) -> int:
        return len(self._escapes)

    def append(self, place: LongString) -> None:
        if isinstance(place, LongBase64):
            self._base64[len(self)] = place
        self._bounds.extend(place[:2])
        self._escapes.append(place.escapes if isinstance(place, LongText) else 0)

    def __getitem__(self, number: int) -> LongString:
        if escapes := self._escapes[number]:
            return LongText(self._bounds[2 * number], self._bounds[2 * number + 1], escapes)
        return self._base64[number]

    def are_texts(self) -> bytearray:
        """For each, whether it is a text."""
        return bytearray(map(bool, self._escapes))
