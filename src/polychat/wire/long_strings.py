"""The long strings in a request's body that placeholders can replace: base64 of media, and texts. See ``placeholders.py``.

A body has very many strings, so that short ones are skipped by one expression, without a call for each. The whole body is
examined once, and the middle of a string only by methods of ``bytes``.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from .json_text import check_utf8, encoded, from_raw, level, raw
from .media import type_of_bytes

LEAST = 64 * 1024
"""Bytes up to which base64 is not replaced."""
SHORT = 512
"""Bytes up to which a text is not replaced."""
ENDS = 32
"""Approximate bytes at both ends of a text that are not replaced: readers and writers recognize kinds of text by them."""
HEAD = 64
"""Characters of the base64 with which its placeholder begins."""
PIECE = 64 * 1024
"""Bytes that are examined together: as characters in Python they take several times as much memory."""
_SAMPLE = 1024
"""Characters at the beginning of base64 that are examined to distinguish binary data from text."""
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_MEDIA_PLACE = re.compile(rb'(?:"(?:data|url|image_url|file_data)"[ \t\r\n]*:|[\[,])[ \t\r\n]*\Z')
"""The bytes before the quote: the fields in which the wires have media, or the position in a list of them."""
_DATA_URL = re.compile(rb"data:[\w/\\+.;=-]{0,200};base64,")
_STEP_OVER = re.compile(rb'(?:[^"]*+"(?:[^"\\]{0,%d}+"|[^"\\]{0,64}+(?:\\.[^"\\]{0,64}+){1,7}+"))*+[^"]*+"' % SHORT, re.DOTALL)
"""Everything up to the quote of a string that may be long; short strings may have many escapes."""
_PLACE = re.compile(rb'(?:"([A-Za-z_]\w{0,63})"[ \t\r\n]{0,4}:|[\[,])[ \t\r\n]{0,64}\Z')
"""The bytes before the quote of a text: a name, or a position in a list."""
_PLACE_SIZE = 136
"""Maximum bytes of that."""
_IS_NAME = re.compile(rb"[ \t\r\n]*:")
"""The byte after the quote of a name."""
_INNER_PLACE = re.compile(rb'(?<!\\)\\"([A-Za-z_]\w{0,63})\\": ?\\"(?![^"\\]{0,%d}+\\")' % SHORT)
"""The bytes before a text in JSON within JSON that may be long. Within one of its strings, quotes would be escaped again."""
_STAY = frozenset(
    (
        *(b"data", b"url", b"image_url", b"file_data", b"signature", b"thoughtSignature", b"thought_signature"),
        *(b"thinking_signature", b"encrypted_content", b"id", b"call_id", b"tool_use_id", b"tool_call_id", b"name"),
        *(b"model", b"type", b"role"),
    )
)
"""Names of texts that are not replaced: media, names, and data that only its vendor reads."""
_MAYBE_JSON = frozenset((b"text", b"content", b"output", b"error", b"input", b"arguments", b"prompt"))
"""Names of texts that wires read as JSON if they contain an object."""
_BEGINS_OBJECT = re.compile(rb"(?: |\\[nrt])*+\{")
_WORD = re.compile(rb"[\w+/=.:-]{%d}" % ENDS)
"""The beginning of base64, or of an identifier that may occur elsewhere too, but not of a text."""
_BLANK = re.compile(rb"(?: |\\[nrt])*+\Z")
_TEXT_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_INNER_TEXT = re.compile(
    rb'[^"\\]*+(?:(?:\\\\(?:\\["\\/bfnrt]|[^"\\])|\\[/bfnrt]|\\u(?!00(?:22|5[cC]))[0-9a-fA-F]{4})[^"\\]*+)*+'
)
"""A string of JSON within JSON, up to its end."""
_ESCAPE = 14
"""Bytes of the longest escaped character in JSON within JSON."""


class LongText(NamedTuple):
    """The middle of a text."""

    begin: int
    end: int
    escapes: int
    """Backslashes before a quote in it: 1, or 3 within JSON in JSON."""


class LongBase64(NamedTuple):
    """Base64 without the beginning of its data URL."""

    begin: int
    end: int
    head: bytes
    is_urlsafe: bool


LongString: TypeAlias = LongBase64 | LongText


def media_in(body: bytes) -> Iterator[LongString]:
    """The long base64 strings of a body, in order."""
    quote, at = 0, LEAST
    while (close := body.find(b'"', at)) >= 0:  # a part without a quote for so long is not skipped
        opened = body.rfind(b'"', quote, at)
        if opened >= 0 and close - opened > LEAST and (found := _base64(body, opened + 1, close)) is not None:
            yield found
        quote, at = close, close + LEAST


def strings_in(body: bytes) -> Iterator[LongString]:
    """The long base64 strings and texts. Empty if the body is not JSON, which its reader reports."""
    if not _is_json(body):
        return
    at = 0
    while (found := _STEP_OVER.match(body, at)) is not None:
        begin = found.end()
        at = _end_of_text(body, begin)
        if at - begin > SHORT:
            yield from _of_string(body, begin, at - 1)


def _is_json(body: bytes) -> bool:
    try:
        check_utf8(body)
        return level(body) is not None  # examines all but the characters of its strings
    except ValueError:
        return False


def _of_string(body: bytes, begin: int, end: int) -> Iterator[LongString]:
    """The parts of a string, or of the JSON within it, that placeholders can replace."""
    if end - begin > LEAST and (media := _base64(body, begin, end)) is not None:
        yield media
        return
    place = _PLACE.search(body, max(0, begin - _PLACE_SIZE), begin - 1)
    if place is None or (name := place[1]) in _STAY:
        return
    if name in _MAYBE_JSON and _BEGINS_OBJECT.match(body, begin, end):
        yield from _inner_texts(body, begin, end)
    elif (name is not None or _is_listed_text(body, begin, end)) and (text := _text(body, begin, end, 1)) is not None:
        yield text


def _is_listed_text(body: bytes, begin: int, end: int) -> bool:
    """Whether a string after a comma or a bracket is not a name, and seems to be neither base64 nor an identifier."""
    return not (_WORD.match(body, begin) or _IS_NAME.match(body, end + 1))


def _inner_texts(body: bytes, begin: int, end: int) -> Iterator[LongText]:
    """The texts of JSON within a string."""
    at = begin
    while (place := _INNER_PLACE.search(body, at, end)) is not None:
        begin = at = place.end()
        if (inner := _INNER_TEXT.match(body, begin, end)) is None or place[1] in _STAY:
            continue
        at = inner.end()
        if at - begin > SHORT and body.startswith(b'\\"', at) and (text := _text(body, begin, at, 3)) is not None:
            yield text


def _end_of_text(body: bytes, at: int) -> int:
    """The position after the quote that ends the string which contains ``at`` and is known to end.

    The expression alone would take five times as long: it examines windows that contain a quote outside escapes.
    """
    size = 2 * SHORT
    while window := body[at : at + size]:
        plain = window
        if b"\\" in window:
            window = window[: len(window) - (len(window) - len(window.rstrip(b"\\"))) % 2]
            plain = window.replace(b"\\\\", b"..").replace(b'\\"', b"..")
        if (quote := plain.find(b'"')) >= 0:
            return at + quote + 1
        at, size = at + len(window), min(2 * size, PIECE)
    raise AssertionError("it is JSON")


def _text(body: bytes, begin: int, end: int, escapes: int) -> LongText | None:
    """The part of a text to replace; ``None`` if there is none, as it cannot be cut, or its ends do not tell its kind."""
    first, last = cut(body, begin + ENDS), cut(body, end - 2 * ENDS)
    if first is None or last is None or last - first < 2 * ENDS:
        return None
    if _BLANK.match(body, begin, first) or _BLANK.match(body, last, end):
        return None
    text = LongText(first, last, escapes)
    return text if _is_whole(body, text) else None


def _is_whole(body: bytes, text: LongText) -> bool:
    """Whether a text in a JSON body can be read, and one of JSON within JSON would be written unchanged."""
    begin, end, escapes = text
    if escapes == 1 and body.find(b"\\u", begin, end) < 0:
        return True
    try:
        for piece in pieces(body, begin, end):
            if escapes == 3 and encoded(from_raw(raw(b'"%b"' % piece.encode())))[1:-1] != piece.encode():
                return False
    except ValueError:  # half an emoji, for example
        return False
    return True


def size_of(body: bytes, text: LongText) -> int:
    """Bytes of UTF-8 of a text as it is read; for JSON within a text, as it is written there."""
    begin, end, escapes = text
    if escapes == 3 or body.find(b"\\u", begin, end) >= 0:
        return sum(len(piece.encode()) for piece in pieces(body, begin, end))
    return end - begin - body.count(b"\\", begin, end) + body.count(b"\\\\", begin, end)


def pieces(body: bytes, begin: int, end: int) -> Iterator[str]:
    """The contents of a string in pieces. Raises ``ValueError`` if it is invalid, or cannot be cut."""
    at = begin
    while at < end:
        to = cut(body, at + PIECE) if at + 2 * PIECE < end else end
        if to is None:
            raise ValueError("no letter begins here")
        yield from_raw(raw(b'"%b"' % body[at:to]))
        at = to


def cut(body: bytes, at: int) -> int | None:
    """The first position from ``at`` on where a character of a string begins; ``None`` if there is none nearby."""
    for place in range(at, at + ENDS):
        if body[place] & 0xC0 != 0x80 and b"\\" not in body[place - _ESCAPE : place + 1]:
            return place
    return None


def _base64(body: bytes, begin: int, end: int) -> LongBase64 | None:
    """The part of a string to replace; ``None`` if there is none."""
    if _MEDIA_PLACE.search(body[max(0, begin - 65) : begin - 1]) is None:
        return None
    if (url := _DATA_URL.match(body, begin, begin + 256)) is not None:
        begin = url.end()
    head = body[begin : begin + 2 * _SAMPLE].replace(b"\\/", b"/")[:_SAMPLE]
    try:
        is_media = _is_binary(a2b_base64(head.translate(TO_STANDARD), strict_mode=True))
    except ValueError:
        return None
    if not is_media or (is_urlsafe := _is_urlsafe(body, begin, end)) is None:
        return None
    return LongBase64(begin, end, head[:HEAD], is_urlsafe)


def _is_binary(data: bytes) -> bool:
    if type_of_bytes(data) is not None or b"\0" in data:
        return True
    try:
        getincrementaldecoder("utf-8")().decode(data)  # the last character of which may be cut
    except UnicodeDecodeError:
        return True
    return False


def _is_urlsafe(body: bytes, begin: int, end: int) -> bool | None:
    """Whether base64 is in the alphabet for URLs; ``None`` if it is not complete base64. Its slashes may be escaped."""
    padding = 2 if body.startswith(b"==", end - 2) else int(body.startswith(b"=", end - 1))
    size, at, end, is_urlsafe = padding, begin, end - padding, False
    while at < end:
        piece = body[at : min(at + PIECE, end)]
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
