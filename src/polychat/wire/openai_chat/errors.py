"""Errors of this wire, reading and writing."""

from __future__ import annotations

from typing import Any

from ...errors import FaultKind
from ..faults import NO_MESSAGE, Fault, kind_of, recognized
from ..json_text import decoded, encoded

_KINDS: dict[str, FaultKind] = {
    "context_length_exceeded": "context_length",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "model_not_found": "not_found",
    "unknown_url": "not_found",
    "invalid_api_key": "authentication",
    "authentication_error": "authentication",
    "permission_error": "permission",
    "overloaded_error": "overloaded",
    "server_error": "server",
    "timeout": "timeout",
    "request_too_large": "too_large",
    "invalid_request_error": "invalid_request",
}
_NAMES: dict[FaultKind, tuple[str, str | None]] = {
    "invalid_request": ("invalid_request_error", None),
    "context_length": ("invalid_request_error", "context_length_exceeded"),
    "too_large": ("invalid_request_error", "request_too_large"),
    "authentication": ("invalid_request_error", "invalid_api_key"),
    "permission": ("permission_error", None),
    "not_found": ("invalid_request_error", "model_not_found"),
    "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
    "quota": ("insufficient_quota", "insufficient_quota"),
    "overloaded": ("overloaded_error", None),
    "timeout": ("timeout", None),
    "server": ("server_error", None),
}


def is_fault(value: Any) -> bool:
    """Whether a chunk is an error instead: OpenAI's, the flat one of vLLM and others, or Google's in a list."""
    if isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, dict) and bool(
        value.get("error") or value.get("object") == "error" or ("choices" not in value and _message(value) is not None)
    )


def fault_of_error(value: Any, status: int = 500) -> Fault:
    """The fault that an error's JSON describes. Never raises."""
    if isinstance(value, list) and value:  # Gemini's OpenAI-compatible API wraps it in a list
        value = value[0]
    inner = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(inner, dict):
        return recognized(Fault(inner if isinstance(inner, str) else "", kind_of(status), status))
    codes = [code for name in ("code", "type") if isinstance(code := inner.get(name), str) and code and not code.isdigit()]
    number = next((status_code for name in ("code", "status") if (status_code := _status(inner.get(name))) is not None), status)
    message = _message(inner) or ""
    kind = next((_KINDS[code] for code in codes if code in _KINDS), kind_of(number))
    param = inner.get("param")
    fault = Fault(message, kind, number, codes[0] if codes else None, param if isinstance(param, str) else None)
    match inner.get("metadata"):
        case {"headers": dict(headers)}:
            fault.headers = {name: value for name, value in headers.items() if isinstance(value, str)}
    return recognized(fault, *codes)


def _status(value: Any) -> int | None:
    """A status in a body, as a number or in digits."""
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        return _status(int(value))
    return value if type(value) is int and 400 <= value < 600 else None


def _message(value: dict[str, Any]) -> str | None:
    match value.get("detail"):
        case [{"msg": str(wrong)}, *_]:  # FastAPI's, for a request it cannot read
            return wrong
    return next((text for name in ("message", "msg", "detail") if isinstance(text := value.get(name), str)), None)


def read_fault(status: int, body: bytes) -> Fault:
    """The fault of a response other than 2xx. Never raises."""
    try:
        value = decoded(body)
    except ValueError:
        text = body.decode("utf-8", "replace") if not body.lstrip().startswith(b"<") else ""
        return recognized(Fault(text, kind_of(status), status))
    fault = fault_of_error(value, status)
    by_status = kind_of(status)
    # The status is more specific than "invalid request", which many servers report with every status.
    if fault.kind in ("invalid_request", "server") and by_status not in ("invalid_request", "server"):
        fault.kind = by_status
    fault.status = status
    return fault


def error_object(fault: Fault) -> dict[str, Any]:
    """An error object with OpenAI's codes: clients decide by them, so codes of other APIs are not forwarded."""
    kind, code = _NAMES[fault.kind]
    shown = fault.code if code is None or _KINDS.get(fault.code or "") == fault.kind else code
    return {"error": {"message": fault.message or NO_MESSAGE, "type": kind, "param": fault.param, "code": shown}}


def write_fault(fault: Fault) -> bytes:
    return encoded(error_object(fault))
