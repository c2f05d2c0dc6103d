"""``Reply``: a whole reply as one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from msgspec import field

from ..events import Citation, Media, Usage, Verdict
from ..types import ChatMessage, ChatRequest, Part, ReasoningPart, RefusalPart, TextPart, ToolCall
from ..values import Value
from ..wire.assembly import AssembledReply
from ..wire.estimating import BYTES_A_TOKEN, estimated_prompt, size_of
from ..wire.losses import Loss

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # type checkers bring it along; ``default`` is in Python's own from 3.13

    Parsed = TypeVar("Parsed", default=Any)
else:
    from typing import TypeVar

    Parsed = TypeVar("Parsed")


class Reply(Value, Generic[Parsed]):
    """A whole reply. ``Reply[T]`` is the reply to a call with ``schema=T``."""

    provider: str
    model: str | None
    """The model that was requested; ``None`` if the provider chose one."""
    text: str
    verdict: Verdict
    reason: str | None = None
    """Why it ended: ``stop``, ``length``, ``tool_calls``, …, or another value of the backend's own."""
    sources: list[Citation] = field(default_factory=list)
    usage: Usage | None = None
    """Tokens as the backend counted them; an estimate (``usage.estimated``) if it did not count."""
    reasoning: str = ""
    """The text of the model's reasoning; empty if the backend does not send it."""
    thoughts: list[ReasoningPart] = field(default_factory=list)
    """The reasoning in blocks, with the signatures that the vendor requires back: see ``turn``."""
    tool_calls: list[ToolCall] = field(default_factory=list)
    refusal: str = ""
    """Why the model refused to answer, where the backend sends that separately from the text."""
    media: list[Media] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    parsed: Parsed | None = None
    """The answer as a value of the ``schema`` of the call; ``None`` without one, and if the answer has no text."""
    losses: list[Loss] = field(default_factory=list)
    """What of the request did not reach the backend as it was meant."""
    id: str | None = None
    """The backend's id of this reply."""
    served: str | None = None
    """The model that answered, under the backend's name for it."""
    choices: list[str] = field(default_factory=list)
    """The texts of all answers, if ``n`` requested several; ``text`` is the first."""
    raw: bytes | None = None
    """The body as the backend sent it; ``None`` for a reply that was streamed."""
    cost: float | None = None
    """US dollars; ``None`` if no price is known."""
    seams: list[str] = field(default_factory=list)
    """Where another target went on with a text that was cut off, by a route's ``continuation``."""

    def turn(self) -> ChatMessage:
        """The reply as an assistant's message, to continue the conversation: reasoning, text, refusal, tool calls."""
        parts: list[Part] = list(self.thoughts)
        parts += [TextPart(self.text)] if self.text else []
        parts += [RefusalPart(self.refusal)] if self.refusal else []
        return ChatMessage("assistant", [*parts, *self.tool_calls])


def reply_from(
    assembled: AssembledReply,
    provider: str,
    model: str | None,
    verdict: Verdict,
    usage: Usage,
    cost: float | None,
    raw: bytes | None,
) -> Reply[Any]:
    """The reply that was assembled, without ``parsed``, ``losses`` and ``seams``."""
    first, choices = assembled.first, assembled.choices
    text = first.text
    return Reply(
        provider,
        model,
        text,
        verdict,
        None if assembled.finish is None else assembled.finish.reason,
        list(first.citations),
        usage,
        first.reasoning,
        first.thoughts,
        list(first.calls),
        first.refusal,
        first.media,
        list(first.logprobs),
        id=assembled.start.id,
        served=assembled.start.model,
        choices=[text] if len(choices) == 1 else [choice.text for _, choice in sorted(choices.items())],
        raw=raw,
        cost=cost,
    )


def estimated(request: ChatRequest, assembled: AssembledReply) -> Usage:
    """Tokens of a request and its reply, estimated and marked as such, where the backend did not count them."""
    first = assembled.first
    written = [first.text, *(thought.text for thought in first.thoughts), *(call.arguments for call in first.calls)]
    prompt, answer = estimated_prompt(request), -(-size_of("".join(written)) // BYTES_A_TOKEN)
    return Usage(prompt, answer, prompt + answer, estimated=True)
