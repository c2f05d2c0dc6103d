"""One reply as a value, and how it comes together from events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from ..events import Citation, Event, Finish, Logprobs, Media, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage, Verdict
from ..types import ChatMessage, ChatRequest, Part, ReasoningPart, RefusalPart, TextPart, ToolCall
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


class Growing:
    """Text that comes in pieces and may be read after each of them, without all of it being copied each time."""

    __slots__ = ("_text", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        """What came since it was last read."""
        self._text = ""

    @property
    def text(self) -> str:
        if self.pieces:
            text, self._text = self._text, ""
            text += "".join(self.pieces)  # grows in place where no other name holds it
            self.pieces.clear()
            self._text = text
        return self._text


@dataclass(slots=True)
class Collected:
    """What came of a reply so far."""

    start: Start = field(default_factory=Start)
    answer: Growing = field(default_factory=Growing)
    others: dict[int, list[str]] = field(default_factory=dict)
    """The pieces of the answers other than the first."""
    thoughts: list[ReasoningPart] = field(default_factory=list)
    thinking: Growing = field(default_factory=Growing)
    """The texts of all thoughts, a blank line between them; of no use once their blocks came out of order."""
    block: int | None = None
    """The last one that had text; -1 where an earlier one went on after it."""
    refusals: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    sources: list[Citation] = field(default_factory=list)
    media: list[Media] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage | None = None
    finish: Finish | None = None

    def take(self, event: Event) -> None:
        match event:
            case Text():
                self._place(event.choice).append(event.text)
            case Reasoning():
                self._think(event)
            case ToolCallPiece(choice=0):
                self._call(event)
            case Citation(choice=0):
                self.sources.append(event)
            case Refusal(choice=0):
                self.refusals.append(event.text)
            case Media(choice=0):
                self.media.append(event)
            case Logprobs(choice=0):
                self.logprobs += event.tokens
            case Start():
                self.start = event
            case Usage():
                self.usage = event
            case Finish():
                self.finish = event

    def _place(self, choice: int) -> list[str]:
        return self.answer.pieces if choice == 0 else self.others.setdefault(choice, [])

    def _think(self, piece: Reasoning) -> None:
        if piece.choice:
            return
        while len(self.thoughts) <= piece.block:
            self.thoughts.append(ReasoningPart())
        thought = self.thoughts[piece.block]
        text, thought.text = thought.text, ""
        text += piece.text  # in place: no other name holds it
        thought.text = text
        if piece.text:
            self._thought(piece)
        thought.opaque = piece.opaque or thought.opaque

    def _thought(self, piece: Reasoning) -> None:
        last = self.block
        if last is not None and last != piece.block:
            self.thinking.pieces.append("\n\n")
        self.block = piece.block if last is None or 0 <= last <= piece.block else -1
        self.thinking.pieces.append(piece.text)

    def _call(self, piece: ToolCallPiece) -> None:
        while len(self.calls) <= piece.index:
            self.calls.append(ToolCall("", ""))
        call = self.calls[piece.index]
        call.id = piece.id or call.id
        call.name = piece.name or call.name
        call.kind = piece.kind
        arguments, call.arguments = call.arguments, ""
        arguments += piece.arguments  # in place, as above
        call.arguments = arguments
        call.opaque = piece.opaque or call.opaque

    @property
    def text(self) -> str:
        return self.answer.text

    @property
    def reasoning(self) -> str:
        if self.block != -1:
            return self.thinking.text
        return "\n\n".join(thought.text for thought in self.thoughts if thought.text)

    def counted(self, request: ChatRequest) -> Usage:
        """The backend's count; a guess, marked as one, where it gave none."""
        return self.usage or _guessed(request, self)


def _guessed(request: ChatRequest, came: Collected) -> Usage:
    written = [came.text, *(thought.text for thought in came.thoughts), *(call.arguments for call in came.calls)]
    prompt, answer = estimated_prompt(request), -(-size_of("".join(written)) // BYTES_A_TOKEN)
    return Usage(prompt, answer, prompt + answer, estimated=True)
