"""The words of this wire: its name, its reasons for an end, and its two ways of writing a field's name."""

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
"""Reasons for an end that there is a common word for."""

FAILED = frozenset(
    (
        *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"),
        *("MALFORMED_RESPONSE", "PUP_LIMITED_DISABLED"),
    )
)
"""Reasons that are failures: what the model wrote cannot be used."""

UNSAID = frozenset((None, "", "FINISH_REASON_UNSPECIFIED"))

WRITTEN = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "MAX_TOKENS",  # the API has no such end: as that one, it wants to be asked to go on
    **{word: word for word in ("OTHER", "LANGUAGE", "NO_IMAGE", "IMAGE_OTHER")},
}
"""Common words, and this wire's own that have none, as it says them; any other word is ``OTHER``."""

SKIP_VALIDATION = "skip_thought_signature_validator"
"""What the vendor's documentation has stand for the signature of a call that another model made; Gemini 3 demands one."""

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
    """An object's fields by their camelCase names; one that is null is not there. Raises ``BadInput``."""
    return {camel(name): entry for name, entry in item(value, path).items() if entry is not None}


def repeated(value: object) -> object:
    """A repeated field; the API, and its documentation's examples, take one object for a list of one."""
    return [value] if isinstance(value, dict) else value


def type_of(url: str) -> str | None:
    """The type of what is at ``url``, by its ending: the API wants one, and people seldom say it."""
    try:
        return _TYPES.get(urlsplit(url).path.rpartition(".")[2].lower())
    except ValueError:  # half an IPv6 address
        return None


FOREIGN = b'"cGMx'
"""What stands in a request that brings another vendor's opaque part: its signature begins so, in base64."""


def signature_of(opaque: Opaque) -> str:
    """What stands in ``thoughtSignature``, which is base64: another vendor's too, so that clients can decode it."""
    text = tagged(opaque, VENDOR)
    return text if text == opaque.data else urlsafe_b64encode(text.encode("utf-8", "replace")).decode()


def opaque_of(signature: str, vendor: str) -> Opaque:
    """The opaque part of a ``thoughtSignature``: ``vendor``'s own, or another's that ``signature_of`` wrote there."""
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
"""How the signature of a call begins that carries other vendors' reasoning."""


def carrying(thoughts: list[ReasoningPart], own: Opaque | None) -> str:
    """The signature of a message's first call: the call's ``own``, and other vendors' reasoning in the message.

    Gemini CLI drops what is marked as thought from its history and keeps what stands on a call.
    """
    others = [[_unicode(part.text), _unicode(tagged(part.opaque, ""))] for part in thoughts if part.opaque is not None]
    text = encoded([None if own is None else _unicode(tagged(own, "")), others])
    return urlsafe_b64encode(_CARRIES.encode() + text).decode()


def carried(signature: str, vendor: str) -> tuple[Opaque | None, list[ReasoningPart]]:
    """What the signature of a call says: the call's own opaque part, and the reasoning that ``carrying`` put there."""
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
        raise TypeError("no text where text belongs")
    return value
