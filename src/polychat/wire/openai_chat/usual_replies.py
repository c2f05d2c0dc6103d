"""The usual whole reply, decoded by type: one answer that is text, why it ended, and the counts of tokens.

As in ``usual_chunks``: members that servers send without content have a type that accepts only such values, and a reply of any
other form is rejected, to be read member by member.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct
from msgspec.json import Decoder

from ...events import Event, Finish, Start, Text, Usage
from .usage import with_reasoning

Count: TypeAlias = Annotated[int, Meta(ge=0)]
Nothing: TypeAlias = tuple[()] | None


class UsualPrompt(Struct, forbid_unknown_fields=True):
    """What the prompt's tokens were."""

    cached_tokens: Count | None = None
    audio_tokens: Count | None = None


class UsualCompletion(Struct, forbid_unknown_fields=True):
    """What the answer's tokens were. The last two are of predicted outputs, which no event reports."""

    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class UsualUsage(Struct, forbid_unknown_fields=True):
    """The counts, by OpenAI's names."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count | None = None
    prompt_tokens_details: UsualPrompt | None = None
    completion_tokens_details: UsualCompletion | None = None


class UsualMessage(Struct, forbid_unknown_fields=True):
    """The answer."""

    content: str
    role: str | None = None
    refusal: None = None
    annotations: Nothing = None
    tool_calls: Nothing = None
    function_call: None = None
    audio: None = None
    reasoning_content: None = None


class UsualAnswer(Struct, forbid_unknown_fields=True):
    """The only choice of a reply."""

    message: UsualMessage
    finish_reason: Literal["stop", "length", "content_filter"]
    index: Literal[0] = 0
    logprobs: None = None
    stop_reason: None = None


class UsualReply(Struct, forbid_unknown_fields=True):
    """A reply without error, calls or sources."""

    choices: tuple[UsualAnswer]
    id: str | None = None
    model: str | None = None
    object: str | None = None
    created: int | float | None = None
    usage: UsualUsage | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None


_decode = Decoder(UsualReply).decode


def usual_reply(body: bytes) -> list[Event] | None:
    """The events of a usual reply, the last its ``Finish``; ``None`` for any other body."""
    try:
        reply = _decode(body)
    except ValueError:
        return None
    answer = reply.choices[0]
    if not answer.message.content:
        return None
    events: list[Event] = [Text(answer.message.content)]
    if reply.id or reply.model:
        events.insert(0, Start(reply.id or None, reply.model or None))
    if reply.usage is not None:
        events.append(_usage(reply.usage))
    events.append(Finish("complete", answer.finish_reason))
    return events


def _usage(counts: UsualUsage) -> Usage:
    prompt, completion = counts.prompt_tokens_details, counts.completion_tokens_details
    cached = prompt_audio = reasoning = completion_audio = None
    if prompt is not None:
        cached, prompt_audio = prompt.cached_tokens, prompt.audio_tokens
    if completion is not None:
        reasoning, completion_audio = completion.reasoning_tokens, completion.audio_tokens
    usage = Usage(
        counts.prompt_tokens,
        counts.completion_tokens,
        counts.total_tokens,
        cached,
        reasoning_tokens=reasoning,
        audio_prompt_tokens=prompt_audio,
        audio_completion_tokens=completion_audio,
    )
    return with_reasoning(usage) if reasoning else usage
