"""Token counts of this wire and its dialects, reading and writing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...events import Usage
from ..json_text import encoded
from ..token_counts import token_count
from .usual_usage import usual_usage

Object = dict[str, Any]


def usage_in(chunk: Object) -> Usage | None:
    """The counts of a chunk or a reply, wherever its dialect has them; ``None`` if there are none. Never raises."""
    usage = chunk.get("usage") or _object(chunk.get("x_groq")).get("usage")
    if not usage and isinstance(choices := chunk.get("choices"), list) and choices:
        usage = _object(choices[0]).get("usage")  # Moonshot
    return usage_of(usage) if usage and isinstance(usage, dict) else None


def usage_of(counts: Object) -> Usage:
    """The counts by OpenAI's names, and by those that others have for cached tokens."""
    usual = usual_usage(counts)
    return with_reasoning(_usage_by_members(counts) if usual is None else usual)


def _usage_by_members(counts: Object) -> Usage:
    prompt, answer = _object(counts.get("prompt_tokens_details")), _object(counts.get("completion_tokens_details"))
    # DeepSeek, Moonshot, Mistral
    cached = (prompt.get("cached_tokens"), *map(counts.get, ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")))
    writes = (prompt.get("cache_write_tokens"), prompt.get("cache_creation_tokens"), counts.get("cache_creation_input_tokens"))
    hour = _object(prompt.get("cache_creation_token_details")).get("ephemeral_1h_input_tokens")
    return Usage(
        token_count(counts.get("prompt_tokens")),
        token_count(counts.get("completion_tokens")),
        token_count(counts.get("total_tokens")),
        next((count for value in cached if (count := token_count(value)) is not None), None),
        next((count for value in writes if (count := token_count(value)) is not None), None),
        token_count(answer.get("reasoning_tokens")),
        token_count(prompt.get("audio_tokens")),
        token_count(answer.get("audio_tokens")),
        token_count(hour),
        _dollars(counts.get("cost")),
    )


def _dollars(value: object) -> float | None:
    """OpenRouter's price of the reply; others have an object there, with names of their own."""
    if isinstance(value, dict):
        value = value.get("total_cost")  # Perplexity
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _MOST:
        return None
    return float(value)


_MOST = 1e6
"""Dollars: no reply costs as much, and NaN is not below it."""


def with_reasoning(usage: Usage) -> Usage:
    """xAI counts reasoning apart from the completion, as its total shows."""
    prompt, completion, thoughts = usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens
    if prompt is None or completion is None or not thoughts or usage.total_tokens != prompt + completion + thoughts:
        return usage
    return replace(usage, completion_tokens=completion + thoughts)


def usage_object(usage: Usage | None) -> Object | None:
    """The three required counts, 0 if unknown; the others if known."""
    if usage is None:
        return None
    prompt_tokens, completion_tokens = usage.prompt_tokens or 0, usage.completion_tokens or 0
    written: Object = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    written["total_tokens"] = prompt_tokens + completion_tokens if usage.total_tokens is None else usage.total_tokens
    if usage.cost is not None:
        written["cost"] = usage.cost
    cached, cache_write, audio = usage.cached_tokens, usage.cache_write_tokens, usage.audio_prompt_tokens
    if not (cached is None and cache_write is None and audio is None):
        written["prompt_tokens_details"] = _known(cached_tokens=cached, cache_write_tokens=cache_write, audio_tokens=audio)
    reasoning, audio = usage.reasoning_tokens, usage.audio_completion_tokens
    if not (reasoning is None and audio is None):
        written["completion_tokens_details"] = _known(reasoning_tokens=reasoning, audio_tokens=audio)
    return written


def usage_text(usage: Usage | None) -> bytes:
    """``usage_object`` as JSON."""
    if usage is None:
        return b"null"
    prompt, completion, total = usage.prompt_tokens or 0, usage.completion_tokens or 0, usage.total_tokens
    if (
        usage.cached_tokens is None
        and usage.reasoning_tokens is None
        and usage.cache_write_tokens is None
        and usage.audio_prompt_tokens is None
        and usage.audio_completion_tokens is None
        and usage.cost is None
    ):
        return _USUAL_COUNTS % (prompt, completion, prompt + completion if total is None else total)
    return encoded(usage_object(usage))


_USUAL_COUNTS = b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}'


def _known(**counts: int | None) -> Object:
    return {name: count for name, count in counts.items() if count is not None}


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else {}
