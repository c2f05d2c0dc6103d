"""Long base64 and long texts of a request stand aside while it is read, routed and written: what is read has placeholders.

An image of 20 MB is read as text, decoded, encoded and written again, each time as a copy, and comes out as it went in. So the
body is read with a short text in its place, which is base64 itself: of its first bytes, by which readers tell what it is, and
of a random number. Whatever decodes and encodes that, or copies it as text, at any depth of JSON within JSON,
writes a text that is found in the body that is sent, and is replaced there by what came. No reader or writer knows of it.

Of a text, which takes up to five times its size as letters of Python, the middle stands aside, whatever the member's name;
so does one in the arguments of a call that are JSON in a text. Its placeholder has a quote: by the backslashes before it one
sees how deep in JSON within JSON the text was written. What a writer encodes otherwise, or leaves out, is missing in the body:
``lacks`` tells, and the request must be written once more without placeholders.

These stay: base64 of text, which some wires want as text; texts that may be an object in JSON; names, ids and what only its
vendor reads; what is not where wires have media; and what is broken, so that its reader reports it.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from bisect import insort
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from io import BytesIO
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from .json_text import encoded, from_raw, level, raw
from .media import type_of_bytes

LEAST = 64 * 1024
"""Bytes of base64 that stay where they are."""
LONG = 256 * 1024
"""Bytes of a text that stay where they are; of a body with more than ``_FEW`` times as many, so many ``_SHORTER`` times."""
_FEW, _SHORTER = 4, 16
_PIECE = 64 * 1024
"""Bytes that are looked at together: as letters of Python they are some times as many."""
_HEAD = 64
"""Letters of the base64 that its placeholder begins with."""
_LOOKED_AT = 1024
"""Letters that distinguish binary data from text."""
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_PLACE = re.compile(rb'(?:"(?:data|url|image_url|file_data)"[ \t\r\n]*:|[\[,])[ \t\r\n]*\Z')
"""What stands before the quote: the fields in which the wires have media, or a list of them."""
_DATA_URL = re.compile(rb"data:[\w/\\+.;=-]{0,200};base64,")
_STANDARD, _URLSAFE = b"//7/", b"__7_"
"""The bytes FF FE FF, which are no UTF-8, in both alphabets: each tells whether the text was copied or decoded and encoded."""


_NAME = re.compile(rb'"([A-Za-z_]\w{0,63})"\Z')
_INNER_NAME = re.compile(rb'(?<!\\)\\"([A-Za-z_]\w{0,63})\\"\Z')
"""What stands before the colon: a name in its quotes, and that of JSON within JSON. In a string these would be escaped."""
_PLACE_SIZE = 70
"""Bytes of a name with what stands between it and its value."""
_STAY = frozenset(
    (
        *(b"data", b"url", b"image_url", b"file_data", b"signature", b"thoughtSignature", b"thought_signature"),
        *(b"thinking_signature", b"encrypted_content", b"id", b"call_id", b"tool_use_id", b"tool_call_id", b"name"),
        *(b"model", b"type", b"role", b"description"),
    )
)
"""Names of what does not stand aside as a text: media, names, what only its vendor reads, and what a reply repeats."""
_MAYBE_JSON = frozenset((b"text", b"content", b"output", b"error", b"input", b"arguments", b"prompt"))
"""Names of texts that wires read as JSON where it is an object."""
_TEXT_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_INNER_TEXT = re.compile(
    rb'[^"\\]*+(?:(?:\\\\(?:\\["\\/bfnrt]|[^"\\])|\\[/bfnrt]|\\u(?!00(?:22|5[cC]))[0-9a-fA-F]{4})[^"\\]*+)*+'
)
"""A string of JSON within JSON, up to its end."""
_ENDS = 512
"""Bytes at both ends of a text that stay, about: by them readers and writers tell what it is."""
_ESCAPE = 14
"""Bytes of the longest letter in JSON within JSON."""


class _Text(NamedTuple):
    begin: int
    end: int
    size: int
    """Bytes as UTF-8, of the JSON that is a text too."""
    escapes: int
    """Backslashes before a quote in it: 1, or within JSON in JSON 3."""


class _Base64(NamedTuple):
    begin: int
    end: int
    head: bytes
    is_urlsafe: bool


_Place: TypeAlias = _Base64 | _Text


class Placeholders:
    """A body whose long base64 and texts stand aside."""

    __slots__ = ("_mark", "_places", "_texts", "body", "short", "text_size")

    def __init__(self, body: bytes, places: list[_Place], token: bytes) -> None:
        self.body = body
        """As it came."""
        self._places = places
        self._mark = re.compile(token + rb"(?:(//7/|__7_)|(\\+)\")([0-9a-f]{8})")
        pieces, at, size, texts = [], 0, 0, set()
        for count, place in enumerate(places):
            pieces.append(body[at : place.begin])
            if isinstance(place, _Text):
                pieces.append(b'%b%b"%08x' % (token, b"\\" * place.escapes, count))
                size += place.size - len(token) - 8 - (place.escapes + 1) // 2
                texts.add(b"%08x" % count)
            else:
                pieces += [place.head, b"%b%b%08x" % (token, _URLSAFE if place.is_urlsafe else _STANDARD, count)]
            at = place.end
        self.short = b"".join([*pieces, body[at:]])
        """The same with placeholders."""
        self.text_size = size
        """Bytes of UTF-8 by which the texts are longer than they are read."""
        self._texts = frozenset(texts)

    def are_in(self, data: Any) -> bool:
        """Whether ``data``, bytes of any kind, has one of them."""
        return self._mark.search(data) is not None

    def without_marks(self, data: bytes) -> bytes:
        """``data`` without the placeholders, which are others in every request: the same for the same text again."""
        return self._mark.sub(b"", data)

    def lacks(self, data: bytes) -> bool:
        """Whether a text is missing in ``data``, which was written of what was read."""
        return bool(self._texts) and not self._texts <= {mark[3] for mark in self._mark.finditer(data) if mark[2]}

    def restored(self, data: bytes) -> bytes:
        """``data`` with what came for each placeholder, in base64's standard alphabet where it was decoded meanwhile."""
        pieces = self._mark.split(data)
        if len(pieces) == 1:
            return data
        whole = BytesIO()  # which becomes the result: a list of pieces would be as large again
        for text, kind, escapes, number in zip(pieces[::4], pieces[1::4], pieces[2::4], pieces[3::4], strict=False):
            place = self._places[int(number, 16)]
            if isinstance(place, _Text):
                whole.write(text)
                self._write_text(place, len(escapes or b""), whole)
            else:
                whole.write(memoryview(text)[:-_HEAD])
                self._write_base64(place, whole, standard=kind == _STANDARD)
        whole.write(pieces[-1])
        return whole.getvalue()

    def _write_base64(self, place: _Base64, whole: BytesIO, *, standard: bool) -> None:
        begin, end, _, is_urlsafe = place
        if is_urlsafe and standard:
            for at in range(begin, end, _PIECE):
                whole.write(self.body[at : min(at + _PIECE, end)].translate(_TO_STANDARD))
        else:
            whole.write(memoryview(self.body)[begin:end])

    def _write_text(self, place: _Text, escapes: int, whole: BytesIO) -> None:
        """A text as JSON has it where its quotes have so many backslashes: 1, or within JSON in JSON 3, and so on."""
        if escapes == place.escapes:
            whole.write(memoryview(self.body)[place.begin : place.end])
            return
        for piece in _pieces(self.body, place.begin, place.end):
            text = piece.encode() if escapes < place.escapes else encoded(piece)[1:-1]
            for _ in range((escapes + 1).bit_length() - (place.escapes + 1).bit_length()):
                text = text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            whole.write(text)


def with_placeholders(body: bytes, token: Callable[[], str], *, texts: bool = True) -> Placeholders | None:
    """The body with placeholders; ``None`` where it has nothing to replace. Takes linear time.

    ``token`` makes 24 random hexadecimal digits. ``texts``: also for texts.
    """
    places: list[_Place] = [place for begin, end in _between_quotes(body) if (place := _base64(body, begin, end)) is not None]
    if texts and len(body) > LONG:
        for begin, end, escapes in _texts(body):
            if (text := _text(body, begin, end, escapes)) is not None:
                insort(places, text, key=attrgetter("begin"))
    return Placeholders(body, places, token().encode()) if places else None


def _texts(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Where long texts begin and end, and the backslashes before a quote in them: such a one is not stepped over.

    The last name before a place is that of the string there, or of the JSON that is a text there.
    """
    least = LONG if len(body) <= _FEW * LONG else LONG // _SHORTER
    after, at = 0, least
    while at < len(body):
        since = max(after, at - least - _PLACE_SIZE)
        if (begin := _begin(body, since, at)) is not None:
            end = _end_of_text(body, begin)
            if end is None:
                return
            if end - begin > least:
                yield begin, end - 1, 1
            after = end
        elif (begin := _inner_begin(body, since, at)) is not None:
            inner = _INNER_TEXT.match(body, begin)
            after = begin if inner is None else inner.end()
            if after - begin > least and body.startswith(b'\\"', after):
                yield begin, after, 3
        at = max(at, after) + least


def _begin(body: bytes, since: int, at: int) -> int | None:
    """Where the last string with a name begins that may stand aside."""
    colon = max(body.rfind(b'":"', since, at), body.rfind(b'": "', since, at))
    name = _NAME.search(body, max(since, colon - _PLACE_SIZE), colon + 1) if colon >= 0 else None
    if name is None or name[1] in _STAY:
        return None
    begin = body.index(b'"', colon + 1) + 1
    return None if name[1] in _MAYBE_JSON and body.startswith(b"{", begin) else begin


def _inner_begin(body: bytes, since: int, at: int) -> int | None:
    """The same of JSON in a string."""
    colon = max(body.rfind(b'\\":\\"', since, at), body.rfind(b'\\": \\"', since, at))
    name = _INNER_NAME.search(body, max(since, colon - _PLACE_SIZE), colon + 2) if colon >= 0 else None
    return None if name is None or name[1] in _STAY else body.index(b'"', colon + 2) + 1


def _end_of_text(body: bytes, at: int) -> int | None:
    """Behind the quote that ends the string in which ``at`` is; ``None``: it has no end.

    The expression alone would take five times as long: it looks where a window has a quote that is no letter.
    """
    while window := body[at : at + _WINDOW]:
        plain = window
        if b"\\" in window:
            window = window[: len(window) - (len(window) - len(window.rstrip(b"\\"))) % 2]
            plain = window.replace(b"\\\\", b"").replace(b'\\"', b"")
        if b'"' in plain:
            end = _TEXT_END.match(body, at)
            return None if end is None else end.end()
        if not window:
            return None
        at += len(window)
    return None


_WINDOW = 64 * 1024


def _text(body: bytes, begin: int, end: int, escapes: int) -> _Text | None:
    """What of a text is to stand aside; ``None``: nothing, as it is broken or has no place to be cut."""
    first, last = _cut(body, begin + _ENDS), _cut(body, end - 2 * _ENDS)
    if first is None or last is None or last <= first:
        return None
    size_of = _size if escapes == 1 else _inner_size
    try:
        size = sum(size_of(body[at:to]) for at, to in _parts(body, first, last))
    except ValueError:
        return None
    return _Text(first, last, size, escapes)


def _size(piece: bytes) -> int:
    """Bytes of UTF-8 of what stands within a string. Raises ``ValueError`` where it is broken."""
    if b"\\u" in piece:
        return len(from_raw(raw(b'"%b"' % piece)).encode())
    level(b'["%b"]' % piece)  # which steps over it, and so looks at all but its letters
    if not piece.isascii():
        piece.decode()
    return len(piece) - piece.count(b"\\") + piece.count(b"\\\\")


def _inner_size(piece: bytes) -> int:
    """The same of JSON within JSON. Raises ``ValueError`` too where the inner JSON would be written otherwise."""
    text = from_raw(raw(b'"%b"' % piece)).encode()
    if encoded(from_raw(raw(b'"%b"' % text)))[1:-1] != text:
        raise ValueError("there is another way to write it")
    return len(text)


def _pieces(body: bytes, begin: int, end: int) -> Iterator[str]:
    """What stands within a string, in pieces."""
    for at, to in _parts(body, begin, end):
        yield from_raw(raw(b'"%b"' % body[at:to]))


def _parts(body: bytes, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the pieces of a string begin and end. Raises ``ValueError`` where it has no place to be cut."""
    at = begin
    while at < end:
        to = _cut(body, at + _PIECE) if at + 2 * _PIECE < end else end
        if to is None:
            raise ValueError("no letter begins here")
        yield at, to
        at = to


def _cut(body: bytes, at: int) -> int | None:
    """The first place from ``at`` where a letter begins, in a string; ``None``: none is near."""
    for place in range(at, at + _ENDS):
        if body[place] & 0xC0 != 0x80 and b"\\" not in body[place - _ESCAPE : place + 1]:
            return place
    return None


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
