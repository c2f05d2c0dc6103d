"""Long base64 of a request stands aside while the request is read, routed and written: what is read has a placeholder for it.

An image of 20 MB is read as text, decoded, encoded and written again, each time as a copy, and comes out as it went in. So the
body is read with a short text in its place, which is base64 itself: of its first bytes, by which readers tell what it is, and
of a number that nobody can guess. Whatever decodes and encodes that, or copies it as text, at any depth of JSON within JSON,
writes a text that is found in the body that is sent, and is replaced there by what came. No reader or writer knows of it.

Three things stay: base64 of text, which some wires want as text; what is not where wires have media; and what is broken, so
that whoever reads it says so.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

from .media import type_of_bytes

LEAST = 64 * 1024
"""Bytes of base64 that stay where they are."""
_PIECE = 256 * 1024
"""Bytes that are looked at together: what a look costs in memory."""
_HEAD = 64
"""Letters of the base64 that its placeholder begins with."""
_LOOKED_AT = 1024
"""Letters by which binary data are told from text."""
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_PLACE = re.compile(rb'(?:"(?:data|url|image_url|file_data)"[ \t\r\n]*:|[\[,])[ \t\r\n]*\Z')
"""What stands before the quote: the fields in which the wires have media, or a list of them."""
_DATA_URL = re.compile(rb"data:[\w/\\+.;=-]{0,200};base64,")
_STANDARD, _URLSAFE = b"//7/", b"__7_"
"""The bytes FF FE FF, which are no UTF-8, in both alphabets: each tells whether the text was copied or decoded and encoded."""


class _Base64(NamedTuple):
    begin: int
    end: int
    head: bytes
    is_urlsafe: bool


class Placeholders:
    """A body whose long base64 stands aside."""

    __slots__ = ("_mark", "_places", "body", "short")

    def __init__(self, body: bytes, places: list[_Base64], token: bytes) -> None:
        self.body = body
        """As it came."""
        self._places = places
        self._mark = re.compile(token + rb"(//7/|__7_)([0-9a-f]{8})")
        pieces, at = [], 0
        for count, place in enumerate(places):
            kind = _URLSAFE if place.is_urlsafe else _STANDARD
            pieces += [body[at : place.begin], place.head, b"%b%b%08x" % (token, kind, count)]
            at = place.end
        self.short = b"".join([*pieces, body[at:]])
        """The same with placeholders."""

    def are_in(self, data: Any) -> bool:
        """Whether ``data``, bytes of any kind, has one of them."""
        return self._mark.search(data) is not None

    def restored(self, data: bytes) -> bytes:
        """``data`` with what came for each placeholder, in base64's standard alphabet where it was decoded meanwhile."""
        pieces = self._mark.split(data)
        if len(pieces) == 1:
            return data
        view, whole = memoryview(self.body), BytesIO()  # which becomes the result: a list of pieces would be as large again
        for text, kind, number in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=False):
            whole.write(memoryview(text)[:-_HEAD])
            begin, end, _, is_urlsafe = self._places[int(number, 16)]
            if is_urlsafe and kind == _STANDARD:
                for at in range(begin, end, _PIECE):
                    whole.write(self.body[at : min(at + _PIECE, end)].translate(_TO_STANDARD))
            else:
                whole.write(view[begin:end])
        whole.write(pieces[-1])
        return whole.getvalue()


def with_placeholders(body: bytes, token: Callable[[], str]) -> Placeholders | None:
    """The body with placeholders; ``None`` where nothing in it is to stand aside. Takes linear time.

    ``token`` makes 24 hexadecimal digits that nobody can guess.
    """
    places = [place for begin, end in _between_quotes(body) if (place := _base64(body, begin, end)) is not None]
    return Placeholders(body, places, token().encode()) if places else None


def _between_quotes(body: bytes) -> Iterator[tuple[int, int]]:
    """Where more than ``LEAST`` bytes without a quote stand between two quotes: such a place is not stepped over."""
    quote, at = 0, LEAST
    while (close := body.find(b'"', at)) >= 0:
        opened = body.rfind(b'"', quote, at)
        if opened >= 0 and close - opened > LEAST:
            yield opened + 1, close
        quote, at = close, close + LEAST


def _base64(body: bytes, begin: int, end: int) -> _Base64 | None:
    """What of a string is to stand aside; ``None``: nothing."""
    if _PLACE.search(body[max(0, begin - 65) : begin - 1]) is None:
        return None
    if (url := _DATA_URL.match(body, begin, begin + 256)) is not None:
        begin = url.end()
    head = body[begin : begin + 2 * _LOOKED_AT].replace(b"\\/", b"/")[:_LOOKED_AT]
    try:
        is_media = _is_binary(a2b_base64(head.translate(_TO_STANDARD), strict_mode=True))
    except ValueError:
        return None
    if not is_media or (is_urlsafe := _is_urlsafe(body, begin, end)) is None:
        return None
    return _Base64(begin, end, head[:_HEAD], is_urlsafe)


def _is_binary(data: bytes) -> bool:
    if type_of_bytes(data) is not None or b"\0" in data:
        return True
    try:
        getincrementaldecoder("utf-8")().decode(data)  # of which the last letter may be cut
    except UnicodeDecodeError:
        return True
    return False


def _is_urlsafe(body: bytes, begin: int, end: int) -> bool | None:
    """Whether base64 is in the alphabet for URLs; ``None``: it is no base64, or not whole. Its slashes may be escaped."""
    padding = 2 if body.startswith(b"==", end - 2) else int(body.startswith(b"=", end - 1))
    size, at, end, is_urlsafe = padding, begin, end - padding, False
    while at < end:
        piece = body[at : min(at + _PIECE, end)]
        if piece.endswith(b"\\"):
            piece = body[at : min(at + len(piece) + 1, end)]
        at += len(piece)
        if b"\\" in piece:
            piece = piece.replace(b"\\/", b"/")
        size += len(piece)
        if rest := piece.translate(None, _LETTERS):
            if rest.strip(b"-_"):
                return None
            is_urlsafe = True
    if size % 4 or (is_urlsafe and (body.find(b"+", begin, end) >= 0 or body.find(b"/", begin, end) >= 0)):
        return None
    return is_urlsafe
