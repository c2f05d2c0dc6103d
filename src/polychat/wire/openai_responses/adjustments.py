"""Makes a request of another wire acceptable to OpenAI's API: changes what it would reject with 400, and reports it."""

from __future__ import annotations

import re
from dataclasses import replace

from ...types import ChatMessage, ChatRequest, Part, TextPart, ToolCall, ToolResult
from ..call_ids import replacement_of
from ..efforts import effort_of, supported_thinking
from ..losses import Loss
from .constants import NAME, VENDOR
from .request_writer import EFFORTS

LONGEST_ID = 64
"""Maximum characters of a call's id."""
LEAST_TOKENS = 16
"""Minimum of an answer's token limit."""
_AZURE = "azure-openai-responses"
_THINKS = re.compile(r"(?:.*/)?(?:gpt-[5-9]|gpt-oss|o\d|codex)")
"""Names of models that reason; others reject a request for encrypted reasoning, and a deployment may have any name."""


def adjusted(request: ChatRequest, vendor: str = VENDOR) -> tuple[ChatRequest, list[Loss]]:
    """The request without what the API rejects, and the losses that this causes. ``request`` itself is not changed."""
    better, losses = replace(request), list[Loss]()
    better.messages = [_named(message) for message in request.messages]
    if request.wire == NAME:
        return better, losses  # the client wrote this API's own fields
    better.messages = [_joined(message) for message in better.messages]
    if vendor not in (VENDOR, _AZURE):
        return better, losses
    if request.max_tokens is not None and request.max_tokens < LEAST_TOKENS:
        better.max_tokens = LEAST_TOKENS
        losses.append(Loss("max_tokens", "emulated", f"the API requires at least {LEAST_TOKENS}: {LEAST_TOKENS} are sent"))
    if request.reasoning is not None:
        better.reasoning, reasoning_losses = supported_thinking(
            request.reasoning, effort_of(request.reasoning, EFFORTS), request.model
        )
        losses += reasoning_losses
    if _asks_for_reasoning(request, vendor):
        better.store = False  # which requests encrypted reasoning
    return better, losses


def _asks_for_reasoning(request: ChatRequest, vendor: str) -> bool:
    """Whether the reply must include its reasoning, because no other wire can refer to what is stored at this backend."""
    if request.wire is None or request.store is not None or request.previous is not None:
        return False
    return vendor == VENDOR or _THINKS.match(request.model) is not None


def _named(message: ChatMessage) -> ChatMessage:
    """Ids of calls, and of their results, that are too long get replacements, which are always the same."""
    if not any(isinstance(part, ToolCall | ToolResult) and len(part.id) > LONGEST_ID for part in message.parts):
        return message
    return replace(message, parts=[_short(part) for part in message.parts])


def _short(part: Part) -> Part:
    if not isinstance(part, ToolCall | ToolResult) or len(part.id) <= LONGEST_ID:
        return part
    name = replacement_of(part.id)
    extra = part.extra
    if extra and extra.get("call_id") == part.id:
        extra = {**extra, "call_id": name}
    return replace(part, id=name, extra=extra)


def _joined(message: ChatMessage) -> ChatMessage:
    """Adjacent texts of the assistant as one: several texts are parts of an output item, which has an id and a status."""
    if message.role != "assistant" or len(message.parts) < 2:
        return message
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, TextPart) and parts and isinstance(last := parts[-1], TextPart):
            parts[-1] = replace(last, text=last.text + part.text)
        else:
            parts.append(part)
    return replace(message, parts=parts)
