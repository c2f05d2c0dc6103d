"""JSON for the wires, by msgspec: they use no other module for it."""

from __future__ import annotations

import json
import re
from array import array
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import accumulate
from math import isfinite
from typing import Any

from msgspec import Raw, ValidationError
from msgspec.json import Decoder, Encoder, encode
from msgspec.json import decode as _loads

from ..errors import BadInput
from ..values import mypyc_attr

MAX_DEPTH = 64
"""Default maximum nesting of arrays and objects."""
DEEPEST = 500
"""The maximum of any setting: for data whose depth was checked when it was received."""

_OBJECT, _ARRAY = b"{["  # numbers: a search for bytes of one takes longer
_MARKS = b'"[]{}'
_NO_MARKS = bytes(set(range(256)) - set(_MARKS))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")
"""One up and one down, as signed bytes."""
_DIGITS = 400
"""Digits of a whole number at most: some more than those of the largest floating-point number. Python's own limit is 4,300."""
_WINDOW = 64 * 1024
"""Bytes that are examined together, which bounds the memory that a check takes."""


class TooDeep(ValueError):
    """JSON nested deeper than ``limit``."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"JSON nested more than {limit} deep")
        self.limit = limit


def decoded(data: bytes, depth: int = MAX_DEPTH) -> Any:
    """The value. Raises only ``ValueError`` (``TooDeep`` if it is nested deeper than ``depth``)."""
    # Inlined ``check_depth``: a separate call costs time.
    if len(data) > depth and data.count(_OBJECT) + data.count(_ARRAY) > depth and _is_deeper(data, depth):
        raise TooDeep(depth)
    return _loads(data)


def text_of(token: bytes) -> str:
    """The text of a JSON string in quotes. Raises ``ValueError`` for anything else."""
    text: str = _loads(token)
    return text


def whole_number(digits: str) -> int:
    """A whole number, for ``json.loads``. Raises ``ValueError`` if it is longer than any that counts something."""
    if len(digits) > _DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits; {_DIGITS} are the limit")
    return int(digits)


class LenientJSON:
    """Reads JSON that ``decoded`` rejects because of a detail: half an emoji, or a number that is none (``NaN``).

    Models write a pair of ``\\ud83d\\ude00`` in two tokens, and servers put each in a chunk of its own: what ends in a first
    half waits for the text at the same place of a later chunk. A half that stays alone is left out; in a call's arguments it
    stays, for a tool gets the value that the model wrote: as its escape where they are a text, which is JSON, and as it is
    where they are an object, for ``json_of``.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[tuple[Any, ...], str] = {}

    def decoded(self, data: bytes, depth: int = MAX_DEPTH) -> Any:
        """The value. Raises only ``ValueError``, for data that is not JSON in this reading either."""
        check_depth(data, depth)
        try:
            value = json.loads(data, parse_constant=_NO_NUMBERS.get, parse_int=whole_number)
        except RecursionError as error:
            raise TooDeep(depth) from error
        return self._joined(value, ())

    def _joined(self, value: Any, place: tuple[Any, ...]) -> Any:
        if isinstance(value, str):
            return self._text(value, place)
        if isinstance(value, dict):
            return {
                _without_lone(name): _escaped_arguments(entry)
                if _is_arguments(name, entry, value)
                else self._joined(entry, (*place, name))
                for name, entry in value.items()
            }
        if isinstance(value, list):
            return [self._joined(entry, (*place, number)) for number, entry in enumerate(value)]
        return value

    def _text(self, text: str, place: tuple[Any, ...]) -> str:
        text = self._held.pop(place, "") + text
        if text and 0xD800 <= ord(text[-1]) <= 0xDBFF and len(self._held) < _MAX_HELD:
            self._held[place], text = text[-1], text[:-1]
        return _without_lone(text)


_ARGUMENTS = frozenset({"action", "args", "arguments", "input", "operation", "partialArgs", "partial_json"})
"""Members that hold a call's arguments, or parts of them, in a reply of some wire."""


def _is_arguments(name: str, entry: Any, around: Mapping[str, Any]) -> bool:
    if name == "delta":
        return around.get("type") == "response.function_call_arguments.delta"
    return name in _ARGUMENTS and (name != "input" or not isinstance(entry, str))  # the argument of a free-text tool


def _escaped_arguments(arguments: Any) -> Any:
    return escaped(arguments) if isinstance(arguments, str) else arguments


_MAX_HELD = 64
_NO_NUMBERS = {"-Infinity": -9999.0}  # OpenAI's value for a token that is next to impossible; NaN and Infinity are null


def _without_lone(text: str) -> str:
    """The value without unpaired surrogates."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


def check_depth(data: bytes, depth: int = MAX_DEPTH) -> None:
    """Raises ``TooDeep``."""
    if len(data) > depth and data.count(_OBJECT) + data.count(_ARRAY) > depth and _is_deeper(data, depth):
        raise TooDeep(depth)


def check_utf8(body: bytes) -> None:
    """Raises ``UnicodeDecodeError``. Checks a piece at a time: as text, a body with one emoji is four times as large."""
    if body.isascii():
        return
    view, read, at = memoryview(body), getincrementaldecoder("utf-8")(), 0
    try:
        for at in range(0, len(body), _WINDOW):
            read.decode(view[at : at + _WINDOW], at + _WINDOW >= len(body))
    except UnicodeDecodeError as error:
        held = len(error.object) - min(_WINDOW, len(body) - at)  # of a character that is cut between pieces
        raise UnicodeDecodeError("utf-8", b"", at - held + error.start, at - held + error.end, error.reason) from None


def object_in(text: str, depth: int = DEEPEST) -> Any:
    """The JSON object in a text, for ``encoded``; ``None`` if it is not an object, or is nested deeper than ``depth``.

    An object with half an emoji, which JSON can contain and UTF-8 cannot, stays JSON (``Raw``): ``encoded`` writes its escapes.
    """
    try:
        value = decoded(escaped(text).encode(), depth)
    except TooDeep:
        return None
    except ValueError:
        return _object_with_lone_surrogates(text)
    return value if isinstance(value, dict) else None


def _object_with_lone_surrogates(text: str) -> Any:
    try:
        value = json.loads(text)
        return raw(json.dumps(value, separators=(",", ":"), allow_nan=False).encode()) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None


def escaped(text: str) -> str:
    """JSON with each unpaired surrogate as its escape: the same value, which UTF-8 can contain."""
    return text if text.isascii() else _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def encoded(value: Any) -> bytes:
    """UTF-8 without spaces. Raises ``ValueError`` or ``TypeError`` for values that JSON or UTF-8 cannot contain."""
    try:
        return _dumps(value)
    except _HasPieces:
        whole = BytesIO()
        for piece in pieces_of(value):
            whole.write(piece)
        return whole.getvalue()


def encoded_at_once(value: Any) -> bytes | None:
    """As ``encoded``; ``None`` if parts of the value are ``JSONPieces``."""
    try:
        return _dumps(value)
    except _HasPieces:
        return None


def without_lone_surrogates(data: bytes) -> bytes:
    """JSON with each unpaired surrogate as U+FFFD, as JavaScript encodes strings. Takes linear time and constant memory."""
    if (b"\\ud" not in data and b"\\uD" not in data) or b"\0" in data:  # bytes below 0x20 are invalid in JSON strings
        return data
    whole = BytesIO()
    begin = 0
    while begin < len(data):
        cut = _CUT.search(data, begin + _AT_ONCE)
        end = len(data) if cut is None else cut.start()
        whole.write(_replaced(data[begin:end]))
        begin = end
    return whole.getvalue()


def _replaced(text: bytes) -> bytes:
    """Without a call for each surrogate, because there may be many: pairs of backslashes are set aside first."""
    if _BACKSLASH not in text:
        return _LONE_SURROGATE.sub(_UNKNOWN, text)
    return _LONE_SURROGATE.sub(_UNKNOWN, text.replace(_BACKSLASH, b"\0\0")).replace(b"\0\0", _BACKSLASH)


_AT_ONCE = 65_536
_BACKSLASH = b"\\\\"
_UNKNOWN = rb"\\ufffd"
_FIRST, _SECOND = rb"\\u[dD][89abAB][\da-fA-F]{2}", rb"\\u[dD][c-fC-F]"
_LONE_SURROGATE = re.compile(rb"%b(?!%b)|(?<!%b)%b[\da-fA-F]{2}" % (_FIRST, _SECOND, _FIRST, _SECOND))
"""A high surrogate without a low one after it, or a low one without a high one before it."""
_CUT = re.compile(rb"(?<!\\)(?:\\(?!u[dD][c-fC-F])|(?<!%b)\\)" % _FIRST)
"""An escape at the end of the data that is not the second half of a pair."""


def json_of(value: Any) -> str:
    """JSON as text, each unpaired surrogate as its escape. Raises ``ValueError`` or ``TypeError`` for values JSON cannot
    contain.
    """
    try:
        return encoded(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)


@mypyc_attr(allow_interpreted_subclasses=True)
class JSONPieces:
    """A large value whose JSON is produced in pieces while it is written."""

    __slots__ = ()

    def pieces(self) -> Iterator[bytes]:
        """Its JSON. Raises ``ValueError`` or ``TypeError`` for values that JSON or UTF-8 cannot contain."""
        raise NotImplementedError


class _HasPieces(Exception):  # internal
    pass


def _refused(value: Any) -> Any:
    if isinstance(value, JSONPieces):
        raise _HasPieces
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_dumps = Encoder(enc_hook=_refused).encode
_object_of, _array_of = Decoder(dict[str, Raw]).decode, Decoder(list[Raw]).decode


def pieces_of(value: Any) -> Iterator[bytes]:
    """The JSON of ``value``, parts of which may be ``JSONPieces``; only one piece of those is held at a time. Raises as they
    do.
    """
    parts: list[JSONPieces] = []

    def mark(part: Any) -> Any:
        if not isinstance(part, JSONPieces):
            return _refused(part)
        parts.append(part)
        return raw(_MARK)

    texts = encode(_apart(value, _LEVELS), enc_hook=mark).split(_MARK)
    yield texts[0]
    for part, text in zip(parts, texts[1:], strict=True):
        yield from part.pieces()
        yield text


_MARK = b"\0"
"""A byte that JSON never contains."""
_LEVELS = 6
"""Levels down to the members of a tool's schema."""


def _apart(value: Any, levels: int) -> Any:
    """``value`` with large ``Raw`` as pieces, so that they are not copied before they are written."""
    if is_raw(value):
        return _Slices(value) if not isinstance(value, JSONPieces) and len(value) > _WINDOW else value
    if levels and isinstance(value, dict):
        return {name: _apart(entry, levels - 1) for name, entry in value.items()}
    return [_apart(entry, levels - 1) for entry in value] if levels and isinstance(value, list) else value


class _Slices(JSONPieces):
    """JSON that was received."""

    __slots__ = ("_data",)

    def __init__(self, data: Any) -> None:
        self._data = data

    def pieces(self) -> Iterator[bytes]:
        view = memoryview(self._data)
        return (bytes(view[at : at + _WINDOW]) for at in range(0, len(view), _WINDOW))


def level(data: Any) -> dict[str, Any] | list[Any] | None:
    """The members or items of an object or an array, each still JSON (``Raw``); ``None`` for other values.

    ``data`` is bytes, ``Raw`` or ``JSONPieces``. Raises ``ValueError``.
    """
    if isinstance(data, JSONPieces):
        data = encoded(data)
    first = bytes(memoryview(data)[:64]).lstrip()[:1]
    return _object_of(data) if first == b"{" else _array_of(data) if first == b"[" else None


def out_of_range(error: ValueError, data: bytes) -> str | None:
    """Which member of an object has a number that is too large for a float, as ``options.temperature``.

    Empty if the value is no object, or has more than ``_SEARCHED`` bytes; ``None`` if that is not what the ``error`` of
    decoding ``data`` says.
    """
    if not isinstance(error, ValidationError):  # for a value of any type there is no other reason
        return None
    names: list[str] = []
    inner: Any = data if len(data) <= _SEARCHED else b""
    try:
        while len(names) < _NAMES and isinstance(members := level(inner), dict):
            name = next((name for name, entry in members.items() if _is_out_of_range(entry)), None)
            if name is None:
                break  # in one of two members with the same name
            names.append(name)
            inner = members[name]
    except ValueError:
        return ""  # it is invalid behind the number too
    return ".".join(names)


_NAMES, _SEARCHED = 4, 64 * 1024
"""Maximum names of a path to such a number: each takes as long as reading the value twice more; and bytes of the value."""


def _is_out_of_range(data: Any) -> bool:
    try:
        _loads(data)
    except ValidationError:
        return True
    except ValueError:
        return False
    return False


def from_raw(value: Any) -> Any:
    """The decoded value if ``is_raw``, whose depth was checked before; any other value unchanged. Raises ``ValueError``."""
    if isinstance(value, JSONPieces):
        return _loads(encoded(value))
    return _loads(value) if type(value) is Raw else value


def raw(data: bytes) -> Any:
    """JSON that ``encoded`` writes unchanged (``Raw``)."""
    return Raw(data)


def is_raw(value: Any) -> bool:
    """Whether a value is still JSON (``Raw``), or is produced while it is written (``JSONPieces``)."""
    return type(value) is Raw or isinstance(value, JSONPieces)


def _is_deeper(data: bytes, depth: int) -> bool:
    """Whether brackets outside strings are nested more than ``depth`` levels deep.

    The data may be hostile and large. Each byte is examined a fixed number of times, a window at a time, and by
    methods of ``bytes`` instead of a loop: a regular expression for strings takes quadratic time for a string without an end.
    """
    size, at, level, in_string = len(data), 0, 0, 0
    while at < size:
        window = data[at : at + _WINDOW]
        at += len(window)
        if b"\\" in window:
            # Backslashes occur only in strings: pairs of them are removed first, so each of the rest escapes the next byte.
            at += (len(window) - len(window.rstrip(b"\\"))) % 2
            window = window.replace(b"\\\\", b"").replace(b'\\"', b"")
        marks = window.translate(_ONE_KIND, _NO_MARKS).replace(b'""', b"")
        parts = marks.split(b'"')
        brackets = b"".join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0
        if brackets:
            if _top(brackets, level, depth) > depth:
                return True
            level += 2 * brackets.count(b"[") - len(brackets)
    return False


def _top(brackets: bytes, level: int, enough: int) -> int:
    """The maximum depth of ``brackets`` that begin at ``level``; or a number up to ``enough`` that is no less."""
    rest, removed = brackets, 0
    while rest and removed < 8:  # without its innermost pairs a value is one level less deep, and usually half as long
        shorter = rest.replace(b"[]", b"")
        if 4 * len(shorter) > 3 * len(rest):
            break
        rest, removed = shorter, removed + 1
    top = _highest(rest, level) + removed
    return top if top <= enough or not removed else _highest(brackets, level)


def _highest(brackets: bytes, level: int) -> int:
    return max(accumulate(array("b", brackets.translate(_STEPS)), initial=level))


def sendable(body: Any) -> bytes:
    """A request's body as JSON. Raises ``BadInput`` naming the part that JSON or UTF-8 cannot contain."""
    try:
        return encoded(body)
    except (ValueError, TypeError, RecursionError):
        place, fault = json_fault(body, "") or ("request", "nested too deep")
        place = place.removeprefix(".")
        raise BadInput(f"{place} is {fault}, which cannot be sent as JSON", field=place) from None


def json_fault(value: Any, field: str) -> tuple[str, str] | None:
    """The first part of a value that JSON in UTF-8 cannot contain: its path below ``field``, and its kind; ``None`` if there is
    none.
    """
    waiting = [(field, value, 0)]
    while waiting:
        place, entry, depth = waiting.pop()
        if depth > _DEEPEST:  # or endless: it may contain itself
            return field or "request", f"nested more than {_DEEPEST} levels deep"
        if isinstance(entry, str):
            if not entry.isascii() and _HALF.search(entry):
                return place, "text with an unpaired surrogate"
        elif isinstance(entry, float):
            if not isfinite(entry):
                return place, str(entry)
        elif isinstance(entry, Mapping):
            for name, inner in entry.items():
                if not isinstance(name, str):
                    return place, f"an object whose key {name!r} is no text"
                waiting += [(f"{place}.{name}", inner, depth + 1), (place, name, depth)]
        elif isinstance(entry, (list, tuple)):
            waiting += [(f"{place}[{index}]", inner, depth + 1) for index, inner in enumerate(entry)]
        elif entry is not None and not isinstance(entry, int) and not is_raw(entry):
            return place, type(entry).__name__
    return None


_HALF = re.compile(r"[\ud800-\udfff]")
_DEEPEST = 500
"""Maximum levels of a value: no vendor accepts as many."""
