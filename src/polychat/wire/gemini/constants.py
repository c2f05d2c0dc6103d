"""Constants of this wire: its name, its finish reasons, and its two spellings of field names."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from ...types import Opaque, ReasoningPart
from ..checks import item
from ..json_text import decoded, encoded
from ..tags import tagged, untagged

NAME = "gemini"
VENDOR = "gemini"

Object: TypeAlias = dict[str, Any]

REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "pause",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "ESCALATION"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        ),
        "content_filter",
    ),
}
"""Finish reasons that have a common name."""

FAILED = frozenset(
    (
        *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"),
        *("MALFORMED_RESPONSE", "PUP_LIMITED_DISABLED"),
    )
)
"""Reasons that are failures: the model's output cannot be used."""

NO_REASON = frozenset((None, "", "FINISH_REASON_UNSPECIFIED"))

WRITTEN = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "MAX_TOKENS",  # the API has no pause: this reason makes clients ask it to continue
    **{word: word for word in ("OTHER", "LANGUAGE", "NO_IMAGE", "IMAGE_OTHER")},
}
"""Finish reasons to write for common names and for this wire's own that have none; any other is ``OTHER``."""

SKIP_VALIDATION = "skip_thought_signature_validator"
"""The documented value in place of the signature of a call that another model made; Gemini 3 requires one."""

_TYPES = {
    **{ending: f"image/{ending}" for ending in ("png", "jpeg", "webp", "heic", "heif", "gif", "avif", "bmp")},
    "jpg": "image/jpeg",
    "pdf": "application/pdf",
}
_WORD = re.compile(r"(?<=[A-Za-z0-9])_([a-z0-9])")


def camel(name: str) -> str:
    """``function_call`` as ``functionCall``: the API reads both."""
    return _WORD.sub(lambda match: match[1].upper(), name) if "_" in name else name


def fields(value: object, path: str) -> Object:
    """An object's fields by their camelCase names, without null fields. Raises ``BadInput``."""
    return {camel(name): entry for name, entry in item(value, path).items() if entry is not None}


def repeated(value: object) -> object:
    """A repeated field; the API, and its documentation's examples, accept one object as a list of one."""
    return [value] if isinstance(value, dict) else value


def type_of(url: str) -> str | None:
    """The media type of a URL by its extension: the API requires a type, and requests often have none."""
    try:
        return _TYPES.get(urlsplit(url).path.rpartition(".")[2].lower())
    except ValueError:  # half an IPv6 address
        return None


FOREIGN = b'"cGMx'
"""The beginning of a signature, in base64, that holds another vendor's opaque part."""


def signature_of(opaque: Opaque) -> str:
    """The value of ``thoughtSignature``, in base64 so that clients can decode it; it may hold another vendor's opaque part."""
    text = tagged(opaque, VENDOR)
    return text if text == opaque.data else urlsafe_b64encode(text.encode("utf-8", "replace")).decode()


def opaque_of(signature: str, vendor: str) -> Opaque:
    """The opaque part of a ``thoughtSignature``: ``vendor``'s own, or another's that ``signature_of`` wrote."""
    if signature.startswith("cGMx"):  # pc1, in base64
        try:
            text = urlsafe_b64decode(signature.translate(_URLSAFE)).decode()
        except (NotBase64, ValueError):
            return Opaque(vendor, signature)
        if text.startswith("pc1."):
            return untagged(text, vendor)
    return Opaque(vendor, signature)


_URLSAFE = str.maketrans("+/", "-_")
_CARRIES = "pc1+"
"""The beginning of a call's signature that contains other vendors' reasoning."""


def carrying(thoughts: list[ReasoningPart], own: Opaque | None) -> str:
    """The signature of a message's first call: the call's ``own``, and other vendors' reasoning of the message.

    Gemini CLI removes thoughts from its history and keeps the signatures of calls.
    """
    others = [[_unicode(part.text), _unicode(tagged(part.opaque, ""))] for part in thoughts if part.opaque is not None]
    text = encoded([None if own is None else _unicode(tagged(own, "")), others])
    return urlsafe_b64encode(_CARRIES.encode() + text).decode()


def carried(signature: str, vendor: str) -> tuple[Opaque | None, list[ReasoningPart]]:
    """The contents of a call's signature: the call's own opaque part, and the reasoning that ``carrying`` added."""
    if signature.startswith("cGMxK"):  # pc1+, in base64
        try:
            text = urlsafe_b64decode(signature.translate(_URLSAFE)).decode()
            own, others = decoded(text.removeprefix(_CARRIES).encode())
            thoughts = [ReasoningPart(_text(thought), untagged(_text(data), "")) for thought, data in others]
            return None if own is None else untagged(_text(own), ""), thoughts
        except (NotBase64, ValueError, TypeError):
            pass
    return opaque_of(signature, vendor), []


def _unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a value other than text where text is required")
    return value
