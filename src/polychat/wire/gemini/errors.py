"""Errors in this wire's format, reading and writing: Google's ``error`` with its code, status and details."""

from __future__ import annotations

import re
from typing import Any

from ...errors import FaultKind, redact
from ..faults import NO_MESSAGE, STATUS, Fault, kind_of, recognized
from ..json_text import decoded, encoded
from .constants import Object

_STATUSES: dict[FaultKind, str] = {
    "invalid_request": "INVALID_ARGUMENT",
    "context_length": "INVALID_ARGUMENT",
    "too_large": "INVALID_ARGUMENT",
    "authentication": "UNAUTHENTICATED",
    "permission": "PERMISSION_DENIED",
    "not_found": "NOT_FOUND",
    "rate_limit": "RESOURCE_EXHAUSTED",
    "quota": "RESOURCE_EXHAUSTED",
    "overloaded": "UNAVAILABLE",
    "timeout": "DEADLINE_EXCEEDED",
    "server": "INTERNAL",
}
_KINDS: dict[str, FaultKind] = {
    "INVALID_ARGUMENT": "invalid_request",
    "FAILED_PRECONDITION": "invalid_request",
    "OUT_OF_RANGE": "invalid_request",
    "UNAUTHENTICATED": "authentication",
    "PERMISSION_DENIED": "permission",
    "NOT_FOUND": "not_found",
    "RESOURCE_EXHAUSTED": "rate_limit",
    "UNAVAILABLE": "overloaded",
    "DEADLINE_EXCEEDED": "timeout",
    "INTERNAL": "server",
    "UNKNOWN": "server",
    "CANCELLED": "server",
}
_REASONS: dict[str, FaultKind] = {
    "API_KEY_INVALID": "authentication",
    "CONTEXT_LENGTH": "context_length",
    "TOO_LARGE": "too_large",
    "QUOTA": "quota",
}
"""Reasons that are more specific than the status: the vendor's, and our own for kinds that the vendor has no name for."""
_TOO_LONG = "The input token count exceeds the maximum number of tokens allowed: "
"""The API has no code for this error: its clients recognize it by this text, which contains numbers."""
_SAYS_TOO_LONG = re.compile(r"token count.{0,40}exceeds", re.IGNORECASE)
_DELAY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_GOOGLE = "type.googleapis.com/google.rpc."
_MESSAGE = 1_000
"""Maximum characters of a message."""


def read_fault(status: int, body: bytes) -> Fault:
    """The error in a response other than 2xx. Never raises."""
    try:
        reply = decoded(body)
    except ValueError:
        text = body[: 4 * _MESSAGE].decode("utf-8", "replace").strip()
        return recognized(Fault("" if text.startswith("<") else text, kind_of(status), status))
    if isinstance(reply, list) and reply:  # the format for a stream without alt=sse
        reply = reply[0]
    return fault_of_error(reply.get("error") if isinstance(reply, dict) else None, status)


def fault_of_error(error: Any, status: int | None = None) -> Fault:
    """The fault that an ``error`` object describes; within a stream only the object has the status."""
    if not isinstance(error, dict):
        return recognized(Fault(error if isinstance(error, str) else "", kind_of(status or 500), status or 500))
    message = error.get("message")
    message = message if isinstance(message, str) else ""
    status_name = error.get("status")
    code = error.get("code")
    if status is None and type(code) is int and 400 <= code < 600:
        status = code
    named = _KINDS.get(status_name) if isinstance(status_name, str) else None
    kind = named or "server" if status is None else kind_of(status)
    fault = Fault(message, kind, status or STATUS[kind], status_name if isinstance(status_name, str) else None)
    _detail(error.get("details"), fault)
    recognized(fault).message = message.removeprefix(_TOO_LONG)
    return fault


def _detail(details: Any, fault: Fault) -> None:
    for detail in details if isinstance(details, list) else ():
        match detail:
            case {"reason": str(reason)}:
                fault.code = reason
                fault.kind = _REASONS.get(reason, fault.kind)
            case {"retryDelay": str(delay)} if (seconds := _DELAY.fullmatch(delay)) is not None:
                fault.retry_after = float(seconds[1])
            case {"violations": [{"quotaId": str(quota)}, *_]} if "PerDay" in quota:
                fault.kind = "quota"
            case {"fieldViolations": [{"field": str(field)}, *_]}:
                fault.param = field


def write_fault(fault: Fault) -> bytes:
    """The body of a response other than 2xx."""
    return encoded(error_value(fault))


def error_value(fault: Fault) -> Object:
    """The error object, which is the same within a stream."""
    message = redact(fault.message, _MESSAGE) or NO_MESSAGE
    if fault.kind == "context_length" and not _SAYS_TOO_LONG.search(message):
        message = _TOO_LONG + message
    error: Object = {
        "code": fault.status,
        "message": message,
        "status": _STATUSES[fault.kind],
    }
    if details := _details(fault):
        error["details"] = details
    return {"error": error}


def _details(fault: Fault) -> list[Object]:
    details: list[Object] = []
    reason = next((reason for reason, kind in _REASONS.items() if kind == fault.kind and reason != "API_KEY_INVALID"), None)
    if reason is not None:
        details.append({"@type": f"{_GOOGLE}ErrorInfo", "reason": reason})
    if fault.param:
        violation = {"field": fault.param, "description": redact(fault.message, _MESSAGE)}
        details.append({"@type": f"{_GOOGLE}BadRequest", "fieldViolations": [violation]})
    if fault.retry_after is not None:
        details.append({"@type": f"{_GOOGLE}RetryInfo", "retryDelay": f"{fault.retry_after:.9f}".rstrip("0").rstrip(".") + "s"})
    return details
