"""What clients are told of limits and budgets: whose they are, of what, and when they reset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...state.ledger import NANO, Bucket, BucketFull
from ...wire.faults import Fault
from ..responder import Refused, retry_after

if TYPE_CHECKING:
    from ...http.server.asgi import Headers

_UNITS = {"requests": "requests", "tokens": "tokens", "concurrent": "concurrent requests"}


def refusal(full: BucketFull, headers: Headers, now: float) -> Refused:
    """The refusal, with these headers, of a request for which one bucket has too little left."""
    bucket, name = full.bucket, full.bucket.name
    if full.is_final:
        message = (
            f"this request may use up to {_amount(bucket, full.amount)}, which is more than {_limit(bucket)}: "
            "set a smaller maximum number of tokens, or send a shorter prompt"
        )
        return Refused(Fault(message, "quota", 429, "limit_exceeded"), headers)
    wait = 1.0 if name.window is None else bucket.window.left(now)
    reset = "" if name.window is None else f"; it resets at {_moment(bucket.window.end)}"
    needs = "" if name.metric in ("requests", "concurrent") else f", and this request may use {_amount(bucket, full.amount)}"
    message = f"{_limit(bucket)} is reached: {_amount(bucket, bucket.left or 0)} left{needs}{reset}"
    is_short = name.window in (None, "minute")
    fault = Fault(message, "rate_limit" if is_short else "quota", 429, None if is_short else "budget_exceeded")
    if is_short:
        fault.retry_after = wait
        return Refused(fault, headers)
    return Refused(fault, [*headers, *retry_after(wait)])


def _limit(bucket: Bucket) -> str:
    """Such as ``the budget of team red ($5.00 per day)``."""
    name = bucket.name
    kind = "limit" if name.window in (None, "minute") else "budget"
    owner = name.owner.partition("/")[2] if name.level == "user" else name.owner
    window = "" if name.window is None else f" per {name.window}"
    return f"the {kind} of {name.level} {owner} ({_amount(bucket, bucket.hard or 0)}{window})"


def _amount(bucket: Bucket, amount: int) -> str:
    metric = bucket.name.metric
    if metric == "dollars":
        dollars = amount / NANO
        return f"${dollars:,.2f}" if dollars >= 1 or not amount else f"${dollars:.6f}".rstrip("0")
    return f"{amount:,} {_UNITS[metric] if amount != 1 else _UNITS[metric].removesuffix('s')}"


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def warning_of(bucket: Bucket) -> str:
    return f"{_limit(bucket)}: {_amount(bucket, bucket.others + bucket.used + bucket.reserved)} used"


def sendable(text: str) -> bytes:
    """As a header's value."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text).encode()
