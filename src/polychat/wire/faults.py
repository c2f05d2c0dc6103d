"""What went wrong, in words that every vendor's errors are told in: between our errors and theirs."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import (
    BackendError,
    BadInput,
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
    shown,
)
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
    """One failure. ``message`` is foreign text, not yet fit to be shown."""

    message: str
    kind: FaultKind = "server"
    status: int = 500
    code: str | None = None
    """The backend's own word for it."""
    param: str | None = None
    """The field of the request that is at fault."""
    retry_after: float | None = None
    """Seconds."""


_MAYBE_OVERFLOW = ("invalid_request", "too_large", "server", "context_length")
"""As what backends tell of a prompt that is too long: under 400, 413, 500, and in a stream."""


def recognized(fault: Fault, *codes: object) -> Fault:
    """The fault, as ``context_length`` where it says that the prompt is too long; ``codes`` are more words of the error."""
    if fault.kind in _MAYBE_OVERFLOW and is_overflow((fault.code, *codes), fault.message):
        fault.kind = "context_length"
    return fault


def kind_of(status: int) -> FaultKind:
    """What a status alone says."""
    return _KINDS.get(status, "invalid_request" if 400 <= status < 500 else "server")


def fault_of(error: PolychatError) -> Fault:
    """An error of ours as a front door tells it: a backend's 5xx, bad replies and lost connections are 502."""
    match error:
        case UnknownTarget():
            return Fault(str(error), "not_found", 404, "model_not_found", error.field)
        case BadInput():
            return Fault(str(error), "invalid_request", 400, None, error.field)
        case NotReady():
            return Fault(str(error), "server", 503)
        case TimedOut():
            return Fault(str(error), "timeout", 504)
        case Unauthorized():
            # The key that failed is ours, not the one the caller came with: to them it is a gateway that is badly set up.
            return Fault(str(error), "permission" if error.status == 403 else "authentication", error.status or 401)
        case LimitReached():
            return Fault(str(error), error.kind or "quota", 429, retry_after=error.retry_after)
        case RateLimited():
            return Fault(str(error), error.kind or "rate_limit", 429, error.word, retry_after=error.retry_after)
        case BackendError():
            kind = error.kind or ("server" if error.status is None else kind_of(error.status))
            status = 502 if kind == "server" else STATUS[kind]
            code, param = (error.word, error.param) if isinstance(error, StatusError) else (None, None)
            return Fault(str(error), kind, status, code, param, error.retry_after)
    return Fault(str(error), "server", 500)


def error_of(fault: Fault) -> BackendError:
    """What a failure told inside a reply, under status 200, is to whoever asked."""
    kind = LimitReached if fault.kind in ("quota", "rate_limit") else ReplyFailed
    what = shown(fault.message) or "it does not say why"
    code = f" ({shown(fault.code, 60)})" if fault.code and fault.code not in what else ""
    error = kind(f"the backend says that it failed: {what}{code}", retry_after=fault.retry_after)
    error.kind = fault.kind
    return error
