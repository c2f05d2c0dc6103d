"""Server side: parts of a reply in this wire's format."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from typing import Any

from ...errors import ReplyFailed
from ...events import Citation, Finish, Media
from ...types import Opaque
from ..faults import Fault, fault_of
from ..json_text import decoded, encoded
from ..tags import tagged
from .constants import REASONS, STOP_REASONS, VENDOR


def stop_of(finish: Finish, called: bool, refusal: str) -> dict[str, Any]:
    """Why the message ended. Clients run tools only after ``tool_use``, but some backends send calls and report ``stop``."""
    reason, sequence = finish.reason, finish.stop_sequence
    stop_reason = STOP_REASONS.get(reason or "stop") or (reason if reason in REASONS else None) or "end_turn"
    if stop_reason == "end_turn":
        stop_reason = (
            "tool_use" if called else "refusal" if refusal else "stop_sequence" if sequence is not None else stop_reason
        )
    stop: dict[str, Any] = {"stop_reason": stop_reason, "stop_sequence": sequence, "stop_details": None, "container": None}
    if refusal:
        stop["stop_details"] = {"type": "refusal", "category": None, "explanation": refusal}
    return stop


def stop_text(finish: Finish) -> bytes:
    """``stop_of`` a message without calls and refusals, as JSON."""
    if finish.stop_sequence is None and finish.reason in STOP_REASONS:
        return _usual_stop(finish.reason)
    return encoded(stop_of(finish, called=False, refusal=""))


@cache
def _usual_stop(reason: str) -> bytes:
    """Of one of ``STOP_REASONS``."""
    return encoded(stop_of(Finish("complete", reason), called=False, refusal=""))


def fault_of_end(finish: Finish) -> Fault:
    """The fault of a reply that is not complete."""
    return fault_of(finish.error or ReplyFailed(f"the reply was {finish.verdict}"))


def citation_of(source: Citation) -> dict[str, Any]:
    """A page as the wire's own search cites it; the index, which only the API can write, is empty."""
    return {
        "type": "web_search_result_location",
        "cited_text": source.snippet,
        "encrypted_index": "",
        "title": source.title,
        "url": source.url,
    }


def media_block(media: Media) -> dict[str, Any]:
    """An image that the model made, in the format of user images; for audio, only a note that there was some."""
    if media.media_type.startswith("image/"):
        data = b64encode(media.data).decode()
        return {"type": "image", "source": {"type": "base64", "media_type": media.media_type, "data": data}}
    text = f"[{media.media_type}, {len(media.data):,} bytes, which this API has no place for]"
    return {"type": "text", "text": text, "citations": None}


def redacted_block(opaque: Opaque) -> dict[str, Any]:
    """Opaque data that is not shown: this wire's own blocks unchanged, all other data as redacted reasoning."""
    if opaque.vendor == VENDOR and opaque.data.startswith("{"):
        try:
            block = decoded(opaque.data.encode())
        except ValueError:
            block = None
        if isinstance(block, dict) and isinstance(block.get("type"), str):
            return block
    return {"type": "redacted_thinking", "data": tagged(opaque, VENDOR)}


def call_block(opaque: Opaque) -> dict[str, Any]:
    """A call's signature, for which the wire has no field: a block before the call, where ``message_reader.py`` expects it."""
    plain = Opaque(opaque.vendor, opaque.data, opaque.id)
    return {"type": "redacted_thinking", "data": tagged(plain, "")}
