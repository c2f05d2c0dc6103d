"""One reply as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from ..events import Citation, Media, Usage, Verdict
from ..types import ChatMessage, ChatRequest, Part, ReasoningPart, RefusalPart, TextPart, ToolCall
from ..wire.assembly import AssembledReply
from ..wire.estimating import BYTES_A_TOKEN, estimated_prompt, size_of
from ..wire.losses import Loss

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # type checkers bring it along; ``default`` is in Python's own from 3.13

    Parsed = TypeVar("Parsed", default=Any)
else:
    from typing import TypeVar

    Parsed = TypeVar("Parsed")


@dataclass(slots=True)
class Reply(Generic[Parsed]):
    """One reply, whole. ``Reply[T]`` is one to an ask with ``schema=T``."""

    provider: str
    model: str | None
    """The model asked for; ``None`` where the provider chose."""
    text: str
    verdict: Verdict
    reason: str | None = None
    """Why it ended: ``stop``, ``length``, ``tool_calls``, …, or the backend's own word."""
    sources: list[Citation] = field(default_factory=list)
    usage: Usage | None = None
    """Tokens as the backend counted them, or guessed (``usage.estimated``) where it did not."""
    reasoning: str = ""
    """The model's thoughts, where it told them."""
    thoughts: list[ReasoningPart] = field(default_factory=list)
    """The same in blocks, with what the vendor wants back: see ``turn``."""
    tool_calls: list[ToolCall] = field(default_factory=list)
    refusal: str = ""
    """The model's words for why it did not answer, where they come apart from its text."""
    media: list[Media] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    parsed: Parsed | None = None
    """The answer as a value of the schema that was asked for; ``None`` without one, and where the answer has no text."""
    losses: list[Loss] = field(default_factory=list)
    """What of the ask did not reach the backend as it was meant."""
    id: str | None = None
    """The backend's name for this reply."""
    served: str | None = None
    """The model that answered, by the backend's name for it."""
    choices: list[str] = field(default_factory=list)
    """The texts of all answers, where ``n`` asked for several; ``text`` is the first."""
    raw: bytes | None = None
    """The body as it came, where it came whole: not of a stream."""
    cost: float | None = None
    """US dollars; ``None``: unpriced."""

    def turn(self) -> ChatMessage:
        """The reply as the assistant's turn of the conversation, to ask on with: thoughts, text, calls."""
        parts: list[Part] = list(self.thoughts)
        parts += [TextPart(self.text)] if self.text else []
        parts += [RefusalPart(self.refusal)] if self.refusal else []
        return ChatMessage("assistant", [*parts, *self.tool_calls])


def counted(request: ChatRequest, came: AssembledReply) -> Usage:
    """The backend's count of a reply; a guess, marked as one, where it gave none."""
    if came.usage is not None:
        return came.usage
    first = came.first
    written = [first.text, *(thought.text for thought in first.thoughts), *(call.arguments for call in first.calls)]
    prompt, answer = estimated_prompt(request), -(-size_of("".join(written)) // BYTES_A_TOKEN)
    return Usage(prompt, answer, prompt + answer, estimated=True)
