"""Errors in this wire's format: reading and writing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import redact
from ..faults import NO_MESSAGE, STATUS, Fault, kind_of, recognized
from ..json_text import decoded, encoded
from .constants import ERRORS, KINDS

_BUDGET_USED_UP = re.compile(r"spend_limit|credit_balance|billing")
_TOO_LONG = "prompt is too long: "
"""The wire has no type for this error: clients recognize it by this text, which the API continues with the token counts."""
_MESSAGE = 1_000
"""Maximum characters of a message."""


def read_fault(status: int, body: bytes) -> Fault:
    """The error in a response other than 2xx. Never raises."""
    try:
        value = decoded(body)
    except ValueError:
        value = None
    if isinstance(value, dict) and "error" in value:
        fault = fault_in(value, status)
        fault.status = status
        return fault
    text = body[: 4 * _MESSAGE].decode("utf-8", "replace").strip()
    return recognized(Fault(text or f"status {status}", kind_of(status), status))


def fault_in(value: Mapping[str, Any], status: int | None = None) -> Fault:
    """The fault that an error's JSON describes, within a stream or with ``status``."""
    error = value.get("error")
    if not isinstance(error, dict):
        return recognized(Fault(error if isinstance(error, str) else "", "server" if status is None else kind_of(status)))
    name, message = error.get("type"), error.get("message")
    code = name if isinstance(name, str) else None
    text = message if isinstance(message, str) else ""
    kind = KINDS.get(code or "") or ("server" if status is None else kind_of(status))
    details = error.get("details")
    why = details.get("error_code") if isinstance(details, dict) else None
    if kind in ("rate_limit", "invalid_request", "permission") and isinstance(why, str) and _BUDGET_USED_UP.search(why):
        kind = "quota"
    fault = recognized(Fault(text, kind, STATUS[kind], code), why)
    if fault.kind == "context_length":
        ours = text.removeprefix(_TOO_LONG)
        fault.message = text if ours[:1].isdigit() else ours
    return fault


def write_fault(fault: Fault, request_id: str | None = None) -> bytes:
    """The body of a response other than 2xx. ``request_id`` is the request's id, which is also in a header of the response."""
    return encoded(error_value(fault, request_id))


def error_value(fault: Fault, request_id: str | None = None) -> dict[str, Any]:
    """The error object, which is the same within a stream."""
    message = redact(fault.message, _MESSAGE) or NO_MESSAGE
    if fault.param and fault.param not in message:
        message = f"{fault.param}: {message}"
    if fault.kind == "context_length" and _TOO_LONG[:-2] not in message.lower():
        message = _TOO_LONG + message
    return {"type": "error", "error": {"type": ERRORS[fault.kind], "message": message}, "request_id": request_id}
