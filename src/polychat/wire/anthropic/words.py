"""What both halves of the wire know: its words for an end, for a failure and for tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import FaultKind
from ...events import Reason, Usage

NAME = "anthropic"
VENDOR = "anthropic"

REASONS: dict[str, Reason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
}
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}
KINDS: dict[str, FaultKind] = {
    "invalid_request_error": "invalid_request",
    "authentication_error": "authentication",
    "billing_error": "quota",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "conflict_error": "invalid_request",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limit",
    "timeout_error": "timeout",
    "api_error": "server",
    "overloaded_error": "overloaded",
}
ERRORS: dict[FaultKind, str] = {
    "invalid_request": "invalid_request_error",
    "context_length": "invalid_request_error",
    "too_large": "request_too_large",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "not_found": "not_found_error",
    "rate_limit": "rate_limit_error",
    "quota": "billing_error",
    "overloaded": "overloaded_error",
    "timeout": "timeout_error",
    "server": "api_error",
}


def usage_of(counts: Mapping[str, Any]) -> Usage | None:
    """Tokens in common words. Here ``input_tokens`` leaves out what was cached; nothing but zeros is nothing said."""
    fresh, out = _count(counts.get("input_tokens")), _count(counts.get("output_tokens"))
    read, written = _count(counts.get("cache_read_input_tokens")), _count(counts.get("cache_creation_input_tokens"))
    if not (fresh or out or read or written):
        return None
    prompt = None if fresh is None and not read and not written else (fresh or 0) + (read or 0) + (written or 0)
    details = counts.get("output_tokens_details")
    thoughts = _count(details.get("thinking_tokens")) if isinstance(details, dict) else None
    total = None if prompt is None or out is None else prompt + out
    return Usage(prompt, out, total, read, written, thoughts)


def counts_of(usage: Usage | None) -> dict[str, Any]:
    """The wire's own tokens. Both totals must be there, and are 0 where nobody counted."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    counts: dict[str, Any] = {"input_tokens": max(0, (usage.prompt_tokens or 0) - cached - written)}
    if usage.cache_write_tokens is not None:
        counts["cache_creation_input_tokens"] = written
    if usage.cached_tokens is not None:
        counts["cache_read_input_tokens"] = cached
    counts["output_tokens"] = usage.completion_tokens or 0
    if usage.reasoning_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
