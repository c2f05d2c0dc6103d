"""Failures as this wire tells them, both ways: a text, and the status."""

from __future__ import annotations

import re
from typing import Any

from ...errors import shown
from .._json import decoded, encoded
from ..faults import Fault, kind_of

_TOO_LONG = re.compile(r"context (?:length|window|size|limit)|prompt (?:is )?too long", re.IGNORECASE)
_MESSAGE = 1_000
"""Characters of a message that are told."""


def read_fault(status: int, body: bytes) -> Fault:
    """What an answer other than 2xx says. Never raises."""
    try:
        said = decoded(body)
    except ValueError:
        said = None
    if isinstance(said, dict) and "error" in said:
        return fault_in(said["error"], status)
    text = body[: 4 * _MESSAGE].decode("utf-8", "replace").strip()
    return Fault("" if text.startswith("<") else text, kind_of(status), status)


def fault_in(error: Any, status: int | None = None) -> Fault:
    """What the ``error`` of a line, or of a body with ``status``, says: a text, or an object where a cloud model is behind."""
    if isinstance(error, dict):
        error = error.get("message")
    message = error if isinstance(error, str) else ""
    kind = "server" if status is None else kind_of(status)
    if kind in ("invalid_request", "server") and _TOO_LONG.search(message):
        kind = "context_length"
    return Fault(message, kind, 500 if status is None else status)


def write_fault(fault: Fault) -> bytes:
    """The body of an answer that is no 2xx."""
    return encoded(error_value(fault))


def error_value(fault: Fault) -> dict[str, Any]:
    """The value of the error, which a stream tells the same."""
    message = shown(fault.message, _MESSAGE) or "the request failed"
    if fault.param and fault.param not in message:
        message = f"{fault.param}: {message}"
    if fault.kind == "context_length" and not _TOO_LONG.search(message):
        message = f"the prompt exceeds the context length: {message}"  # the wire has no other word for it
    return {"error": message}
