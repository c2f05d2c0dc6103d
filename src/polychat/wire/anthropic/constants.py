"""Constants of both halves of the wire: its names for stop reasons, errors and token counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import FaultKind
from ...events import Reason, Usage
from ..json_text import encoded
from ..token_counts import token_count

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
COUNTED = (
    *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"),
    *("output_tokens_details", "iterations"),
)
"""Members of a usage that are read."""
_EXTRA_ITERATIONS = ("compaction", "advisor_message")
"""Iterations whose tokens are billed but not included in the usage's own counts."""
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}
CALLER = {"type": "direct"}
"""The ``caller`` of a call that the model itself made."""
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
    """Token counts as ``Usage``. Here ``input_tokens`` excludes cached tokens; a usage of only zeros counts as absent.

    The tokens of additional work, such as compaction, are billed and added.
    """
    iterations = counts.get("iterations")
    each = [counts]
    if isinstance(iterations, list):
        each += [
            iteration for iteration in iterations if isinstance(iteration, dict) and iteration.get("type") in _EXTRA_ITERATIONS
        ]
    fresh, out = _total(each, "input_tokens"), _total(each, "output_tokens")
    read, written = _total(each, "cache_read_input_tokens"), _total(each, "cache_creation_input_tokens")
    if not (fresh or out or read or written):
        return None
    prompt = None if fresh is None and not read and not written else (fresh or 0) + (read or 0) + (written or 0)
    details = counts.get("output_tokens_details")
    thoughts = token_count(details.get("thinking_tokens")) if isinstance(details, dict) else None
    total = None if prompt is None or out is None else prompt + out
    hour = None
    if len(each) > 1 or counts.get("cache_creation"):
        written_by_age = [
            iteration["cache_creation"] for iteration in each if isinstance(iteration.get("cache_creation"), dict)
        ]
        hour = _total(written_by_age, "ephemeral_1h_input_tokens") or None
    return Usage(prompt, out, total, read, written, thoughts, cache_write_1h_tokens=hour)


def _total(each: list[Any], name: str) -> int | None:
    if len(each) == 1:  # without iterations, the usual case
        return token_count(each[0].get(name))
    counts = [count for usage in each if (count := token_count(usage.get(name))) is not None]
    return sum(counts) if counts else None


def counts_of(usage: Usage | None) -> dict[str, Any]:
    """Token counts as this wire has them. Both totals are required, and are 0 if unknown."""
    if usage is None:
        return {"input_tokens": 0, **_UNKNOWN, "output_tokens": 0}
    cached, written, hour = usage.cached_tokens or 0, usage.cache_write_tokens or 0, usage.cache_write_1h_tokens
    counts: dict[str, Any] = {"input_tokens": max(0, (usage.prompt_tokens or 0) - cached - written), **_UNKNOWN}
    if usage.cache_write_tokens is not None:
        counts["cache_creation_input_tokens"] = written
    if hour is not None:
        counts["cache_creation"] = {"ephemeral_5m_input_tokens": max(0, written - hour), "ephemeral_1h_input_tokens": hour}
    if usage.cached_tokens is not None:
        counts["cache_read_input_tokens"] = cached
    counts["output_tokens"] = usage.completion_tokens or 0
    if usage.reasoning_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.estimated:
        counts["estimated"] = True
    return counts


def counts_text(usage: Usage) -> bytes:
    """``counts_of`` as JSON."""
    cached, written, hour = usage.cached_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens
    if cached is not None or written is not None or hour is not None or usage.reasoning_tokens is not None:
        return encoded(counts_of(usage))
    form = _ESTIMATED_COUNTS if usage.estimated else _USUAL_COUNTS
    return form % (max(0, usage.prompt_tokens or 0), usage.completion_tokens or 0)


_UNKNOWN = dict.fromkeys(
    (
        *("cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation", "server_tool_use"),
        *("output_tokens_details", "service_tier", "inference_geo"),
    )
)
"""Members that are always present on this wire, and null if unknown."""
_USUAL_COUNTS = b'{"input_tokens":%%d,%b,"output_tokens":%%d}' % encoded(_UNKNOWN)[1:-1]
_ESTIMATED_COUNTS = _USUAL_COUNTS[:-1] + b',"estimated":true}'
