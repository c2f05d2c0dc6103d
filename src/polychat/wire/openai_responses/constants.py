"""Constants of both halves of the wire: its names for ends, errors and token counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ...errors import FaultKind
from ...events import Reason, Usage
from ..token_counts import MOST

Object: TypeAlias = dict[str, Any]

NAME = "openai-responses"
VENDOR = "openai"

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
"""Values of ``include``."""

REASONS: dict[str, Reason] = {"max_output_tokens": "length", "content_filter": "content_filter", "pause": "pause"}
"""Why a response is incomplete, by common names. ``pause`` is used by gateways: the API has no such end."""
INCOMPLETE: dict[str, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "pause": "max_output_tokens",  # clients are made to continue after a pause too
    "refusal": "content_filter",
    "incomplete": "incomplete",
    "max_messages": "max_messages",
    "steered": "steered",
}
"""Reasons that make a response incomplete; with any other it is complete."""
PREPARED = "prepared"
"""The finish reason of a request with ``generate: false``: its response has no output, not even an empty message."""

KINDS: dict[str, FaultKind] = {
    "invalid_request_error": "invalid_request",
    "invalid_prompt": "invalid_request",
    "context_length_exceeded": "context_length",
    "request_too_large": "too_large",
    "image_too_large": "too_large",
    "image_file_too_large": "too_large",
    "authentication_error": "authentication",
    "invalid_api_key": "authentication",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "model_not_found": "not_found",
    "previous_response_not_found": "not_found",
    "rate_limit_error": "rate_limit",
    "rate_limit_exceeded": "rate_limit",
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "overloaded_error": "overloaded",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "timeout_error": "timeout",
    "vector_store_timeout": "timeout",
    "server_error": "server",
}
"""Kinds by the ``code`` or the ``type`` of an error."""
ERRORS: dict[FaultKind, tuple[str, str | None]] = {
    "invalid_request": ("invalid_request_error", None),
    "context_length": ("invalid_request_error", "context_length_exceeded"),
    "too_large": ("invalid_request_error", "request_too_large"),
    "authentication": ("authentication_error", "invalid_api_key"),
    "permission": ("permission_error", None),
    "not_found": ("not_found_error", None),
    "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
    "quota": ("insufficient_quota", "insufficient_quota"),
    "overloaded": ("overloaded_error", "server_is_overloaded"),
    "timeout": ("timeout_error", None),
    "server": ("server_error", "server_error"),
}
"""The ``type`` and the ``code`` of an error."""


def usage_of(counts: object) -> Usage | None:
    """Token counts as ``Usage``; in both, cached tokens are part of the input and reasoning is part of the output."""
    if not isinstance(counts, dict):
        return None
    into, out = _details(counts, "input_tokens_details"), _details(counts, "output_tokens_details")
    usage = Usage(
        count(counts.get("input_tokens")),
        count(counts.get("output_tokens")),
        count(counts.get("total_tokens")),
        count(into.get("cached_tokens")),
        count(into.get("cache_write_tokens")),
        count(out.get("reasoning_tokens")),
        count(into.get("audio_tokens")),
        count(out.get("audio_tokens")),
    )
    return None if usage == Usage() else usage


def counts_of(usage: Usage | None) -> Object | None:
    """Token counts as this wire has them; a required count that is unknown is 0."""
    if usage is None:
        return None
    into, out = usage.prompt_tokens or 0, usage.completion_tokens or 0
    details: Object = {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": usage.cache_write_tokens or 0}
    output: Object = {"reasoning_tokens": usage.reasoning_tokens or 0}
    if usage.audio_prompt_tokens is not None:
        details["audio_tokens"] = usage.audio_prompt_tokens
    if usage.audio_completion_tokens is not None:
        output["audio_tokens"] = usage.audio_completion_tokens
    total = into + out if usage.total_tokens is None else usage.total_tokens
    return {
        "input_tokens": into,
        "input_tokens_details": details,
        "output_tokens": out,
        "output_tokens_details": output,
        "total_tokens": total,
    }


def count(value: object) -> int | None:
    """The number in ``value``, if it is a count; otherwise ``None``."""
    if isinstance(value, float) and value.is_integer():  # some servers write 12.0
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST else None


def _details(counts: Mapping[str, Any], name: str) -> Object:
    value = counts.get(name)
    return value if isinstance(value, dict) else {}
