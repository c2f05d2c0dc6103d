"""Failures in terms that every vendor's errors map to, between our exceptions and the vendors' errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import (
    BackendError,
    BadInput,
    CertificateRefused,
    FaultKind,
    LimitReached,
    NotReady,
    PolychatError,
    RateLimited,
    ReplyFailed,
    StatusError,
    TimedOut,
    Unauthorized,
    UnknownTarget,
    WrongAddress,
    redact,
)
from .hints import seconds_in_message
from .overflow import is_overflow

STATUS: dict[FaultKind, int] = {
    "invalid_request": 400,
    "context_length": 400,
    "too_large": 413,
    "authentication": 401,
    "permission": 403,
    "not_found": 404,
    "rate_limit": 429,
    "quota": 429,
    "overloaded": 503,
    "timeout": 504,
    "server": 500,
}
_KINDS: dict[int, FaultKind] = {
    400: "invalid_request",
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    408: "timeout",
    413: "too_large",
    422: "invalid_request",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",  # Anthropic's own
}


@dataclass(slots=True)
class Fault:
    """One failure. ``message`` is from the backend and not yet redacted."""

    message: str
    kind: FaultKind = "server"
    status: int = 500
    code: str | None = None
    """The backend's own error code."""
    param: str | None = None
    """The request field that caused it."""
    retry_after: float | None = None
    """Seconds."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of a provider behind the backend, if the body repeats them (OpenRouter): they may contain a retry time."""
    may_retry: bool = True
    """Whether the same request may succeed later; ``helps_to_retry`` also considers ``kind``."""


_MAYBE_OVERFLOW = ("invalid_request", "too_large", "server", "context_length")
"""How backends report a prompt that is too long: with 400, 413, 500, and in a stream."""


def recognized(fault: Fault, *codes: object) -> Fault:
    """The fault, with kind ``context_length`` if its text says that the prompt is too long; ``codes`` are more of its texts."""
    if fault.kind in _MAYBE_OVERFLOW and is_overflow((fault.code, *codes), fault.message):
        fault.kind = "context_length"
    return fault


def kind_of(status: int) -> FaultKind:
    """The kind that follows from a status alone."""
    return _KINDS.get(status, "invalid_request" if 400 <= status < 500 else "server")


_CONFIG_FIELDS = ("api_key", "base_url", "headers", "proxy", "timeout", "url")
"""Fields of ``BadInput`` that belong to the gateway's configuration, not to a request."""
MISCONFIGURED = "the gateway is not configured for this model: its operator finds the reason in the log, under this request id"
"""The message to clients in that case: the reason may name variables and files of the gateway's operator."""


def is_misconfiguration(error: PolychatError) -> bool:
    """Whether the error is a mistake in the gateway's configuration, not in the request."""
    if isinstance(error, UnknownTarget):
        return False
    return isinstance(error, NotReady) or (
        isinstance(error, BadInput) and (error.field in _CONFIG_FIELDS or error.field.startswith("providers."))
    )


NO_MESSAGE = "the request failed"
"""The message of a fault that has none: clients show it."""
_FINAL: tuple[FaultKind, ...] = (
    *("invalid_request", "context_length", "too_large", "authentication", "permission", "not_found", "quota"),
)


def helps_to_retry(fault: Fault) -> bool:
    """Whether a client may succeed by sending the same request again."""
    return fault.may_retry and fault.kind not in _FINAL


def fault_of(error: PolychatError) -> Fault:
    """An exception of ours as dialects report it: a backend's 5xx, bad replies and lost connections are 502.

    If several targets were tried, the message lists each with its reason.
    """
    fault = _fault_of(error)
    if len(error.failures) > 1:
        each = "; ".join(f"{failure.target}: {failure.message}" for failure in error.failures)
        fault.message = f"none of {len(error.failures)} targets answered: {each}"
    return fault


def _fault_of(error: PolychatError) -> Fault:
    if is_misconfiguration(error):
        return Fault(MISCONFIGURED, "server", 503, may_retry=False)
    match error:
        case CertificateRefused() | WrongAddress():
            return Fault(MISCONFIGURED, "server", 503)  # a client may try again: certificates and DNS names are repaired too
        case UnknownTarget():
            return Fault(str(error), "not_found", 404, "model_not_found", error.field)
        case BadInput():
            return Fault(str(error), "invalid_request", 400, None, error.field)
        case TimedOut():
            return Fault(str(error), "timeout", 504)
        case Unauthorized():
            # The key that failed is the gateway's, not the caller's: for callers the gateway is misconfigured.
            return Fault(str(error), "permission" if error.status == 403 else "authentication", error.status or 401)
        case LimitReached():
            return Fault(str(error), error.kind or "quota", 429, retry_after=error.retry_after)
        case RateLimited():
            return Fault(str(error), error.kind or "rate_limit", 429, error.word, retry_after=error.retry_after)
        case BackendError():
            kind = error.kind or ("server" if error.status is None else kind_of(error.status))
            status = 502 if kind == "server" else STATUS[kind]
            code, param = (error.word, error.param) if isinstance(error, StatusError) else (None, None)
            return Fault(str(error), kind, status, code, param, error.retry_after, may_retry=not error.paid)
    return Fault(str(error), "server", 500)


def error_of(fault: Fault) -> BackendError:
    """The exception for a failure that is reported inside a reply with status 200."""
    kind = LimitReached if fault.kind in ("quota", "rate_limit") else ReplyFailed
    reason = redact(fault.message) or "no reason given"
    code = f" ({redact(fault.code, 60)})" if fault.code and fault.code not in reason else ""
    wait = fault.retry_after
    if wait is None and fault.kind in ("rate_limit", "overloaded"):
        wait = seconds_in_message(fault.message)
    error = kind(f"the backend reported an error: {reason}{code}", retry_after=wait)
    error.kind = fault.kind
    return error
