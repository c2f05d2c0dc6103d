"""Errors in this wire's format, reading and writing: a text, and the status."""

from __future__ import annotations

import re
from typing import Any

from ...errors import redact
from ..faults import NO_MESSAGE, Fault, kind_of, recognized
from ..json_text import decoded, encoded

_TOO_LONG = "prompt too long; exceeded max context length: "
"""The wire has no code for this error: this is the server's own text."""
_SAYS_TOO_LONG = re.compile(r"prompt (?:is )?too long|exceed\w* (?:the |max |maximum )*context length", re.IGNORECASE)
_MESSAGE = 1_000
"""Maximum characters of a message."""


def read_fault(status: int, body: bytes) -> Fault:
    """The error in a response other than 2xx. Never raises."""
    try:
        reply = decoded(body)
    except ValueError:
        reply = None
    if isinstance(reply, dict) and "error" in reply:
        return fault_in(reply["error"], status)
    text = body[: 4 * _MESSAGE].decode("utf-8", "replace").strip()
    return recognized(Fault("" if text.startswith("<") else text, kind_of(status), status))


def fault_in(error: Any, status: int | None = None) -> Fault:
    """The fault of the ``error`` of a line, or of a body with ``status``: a text, or an object from a cloud model."""
    codes: tuple[object, ...] = ()
    if isinstance(error, dict):
        codes = (error.get("code"), error.get("type"))
        error = error.get("message")
    message = error if isinstance(error, str) else ""
    kind = "server" if status is None else kind_of(status)
    fault = recognized(Fault(message, kind, 500 if status is None else status), *codes)
    fault.message = message.removeprefix(_TOO_LONG)
    return fault


def write_fault(fault: Fault) -> bytes:
    """The body of a response other than 2xx."""
    return encoded(error_value(fault))


def error_value(fault: Fault) -> dict[str, Any]:
    """The error's value, which is the same within a stream."""
    message = redact(fault.message, _MESSAGE) or NO_MESSAGE
    if fault.param and fault.param not in message:
        message = f"{fault.param}: {message}"
    if fault.kind == "context_length" and not _SAYS_TOO_LONG.search(message):
        message = _TOO_LONG + message
    return {"error": message}
