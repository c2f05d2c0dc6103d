"""A request of another wire as OpenAI's API takes it: what it would answer with 400 is changed, which is reported."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256

from ...types import ChatMessage, ChatRequest, Part, TextPart, ToolCall, ToolResult
from ..efforts import effort_of, fitting
from ..losses import Loss
from .constants import NAME, VENDOR
from .request_writer import EFFORTS

LONGEST_ID = 64
"""Characters of the id of a call."""
LEAST_TOKENS = 16
"""Of an answer's limit."""
_AZURE = "azure-openai-responses"
_THINKS = re.compile(r"(?:.*/)?(?:gpt-[5-9]|gpt-oss|o\d|codex)")
"""Names of models that think; a deployment may be called anything, and others refuse to be asked for encrypted thoughts."""


def adjusted(request: ChatRequest, vendor: str = VENDOR) -> tuple[ChatRequest, list[Loss]]:
    """The request with what the API refuses changed, and what of its meaning that cost. ``request`` itself stays as it is."""
    better, losses = replace(request), list[Loss]()
    better.messages = [_named(turn) for turn in request.messages]
    if request.wire == NAME:
        return better, losses  # all else is the client's own word
    better.messages = [_joined(turn) for turn in better.messages]
    if vendor not in (VENDOR, _AZURE):
        return better, losses
    if request.max_tokens is not None and request.max_tokens < LEAST_TOKENS:
        better.max_tokens = LEAST_TOKENS
        losses.append(Loss("max_tokens", "emulated", f"the API requires at least {LEAST_TOKENS}: {LEAST_TOKENS} are sent"))
    if request.reasoning is not None:
        better.reasoning, reasoning_losses = fitting(request.reasoning, effort_of(request.reasoning, EFFORTS), request.model)
        losses += reasoning_losses
    if _asks_for_thoughts(request, vendor):
        better.store = False  # with which encrypted thoughts are asked for
    return better, losses


def _asks_for_thoughts(request: ChatRequest, vendor: str) -> bool:
    """Whether thoughts are to travel with the conversation: no other wire has a way to come back to what is stored here."""
    if request.wire is None or request.store is not None or request.previous is not None:
        return False
    return vendor == VENDOR or _THINKS.match(request.model) is not None


def _named(turn: ChatMessage) -> ChatMessage:
    """Ids of calls, and of their results, that are too long become what always stands for them."""
    if not any(isinstance(part, ToolCall | ToolResult) and len(part.id) > LONGEST_ID for part in turn.parts):
        return turn
    return replace(turn, parts=[_short(part) for part in turn.parts])


def _short(part: Part) -> Part:
    if not isinstance(part, ToolCall | ToolResult) or len(part.id) <= LONGEST_ID:
        return part
    name = f"call_{sha256(part.id.encode('utf-8', 'replace')).hexdigest()[:40]}"
    extra = part.extra
    if extra and extra.get("call_id") == part.id:
        extra = {**extra, "call_id": name}
    return replace(part, id=name, extra=extra)


def _joined(turn: ChatMessage) -> ChatMessage:
    """Neighbouring texts of the assistant as one: several are parts of an output item, which has an id and a status."""
    if turn.role != "assistant" or len(turn.parts) < 2:
        return turn
    parts: list[Part] = []
    for part in turn.parts:
        if isinstance(part, TextPart) and parts and isinstance(last := parts[-1], TextPart):
            parts[-1] = replace(last, text=last.text + part.text)
        else:
            parts.append(part)
    return replace(turn, parts=parts)
