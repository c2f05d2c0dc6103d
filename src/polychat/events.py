"""The events that a reply consists of. Readers turn bytes into events, writers turn events into bytes.

Where a request asked for several answers (``n``), ``choice`` is the index of the answer; otherwise it is 0.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from .errors import BackendError
from .types import Opaque
from .values import Value

Verdict: TypeAlias = Literal["complete", "truncated", "failed", "cancelled"]
"""How a reply ended. Every reply has exactly one, and nothing invents one."""


class Start(Value, gc=False):
    """The id and model that the backend sends before the first piece of a reply: at most one ``Start`` per reply."""

    id: str | None = None
    model: str | None = None
    """The model that answers, by the backend's name; it may differ from the requested one."""


class Text(Value, gc=False):
    """The next piece of the answer; never empty."""

    text: str
    choice: int = 0


class Reasoning(Value, gc=False):
    """The next piece of the model's reasoning. ``opaque`` comes with the last piece of its block, whose text may be empty."""

    text: str = ""
    opaque: Opaque | None = None
    block: int = 0
    """Reasoning comes in blocks, counted from 0; each may have an ``opaque`` of its own."""
    choice: int = 0


class ToolCallPiece(Value, gc=False):
    """The next piece of a call. The first of a call has ``id`` and ``name``; ``arguments`` are pieces of JSON to be joined."""

    index: int
    """Which call of this choice, counted from 0 without gaps."""
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    opaque: Opaque | None = None
    choice: int = 0
    kind: str = "function"
    """As ``ToolCall.kind`` has it; the same in every piece of a call."""


class Refusal(Value, gc=False):
    """The next piece of the model's refusal to answer; never empty."""

    text: str
    choice: int = 0


class Media(Value, gc=False):
    """A whole image or audio that is part of the answer."""

    data: bytes
    media_type: str
    choice: int = 0


class Logprobs(Value):
    """Of the tokens of the last pieces: ``{"token", "logprob", "bytes", "top_logprobs"}`` each, as OpenAI shapes them."""

    tokens: list[dict[str, Any]]
    choice: int = 0


class Citation(Value, gc=False):
    """A page that the backend cites; ``start`` and ``end`` are positions of characters in the answer, where they are known."""

    title: str
    url: str
    snippet: str = ""
    start: int | None = None
    end: int | None = None
    choice: int = 0


class Usage(Value, gc=False):
    """What the request cost in tokens, as the backend counted it; ``None`` where it sent no count.

    ``prompt_tokens`` includes what was cached; ``completion_tokens`` includes reasoning. The other counts are parts of these.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    """Of the prompt, read from a cache."""
    cache_write_tokens: int | None = None
    """Of the prompt, written to a cache."""
    reasoning_tokens: int | None = None
    """Of the completion, reasoning."""
    audio_prompt_tokens: int | None = None
    audio_completion_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    """Of ``cache_write_tokens``, those that are kept for an hour, which cost more."""
    cost: float | None = None
    """US dollars, where the vendor itself reports what the request cost."""
    estimated: bool = False
    """The backend did not count: these are estimates."""


Reason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "pause"]
"""Why a model stopped, in the terms that all wires share. After ``pause`` the model expects a request to continue."""


class Finish(Value):
    """The last event of every reply.

    ``error`` is the exception to raise for the caller; it is set exactly when ``verdict`` is not ``complete``.
    """

    verdict: Verdict
    reason: Reason | str | None = None
    """The common reason that the backend's one maps to, else the backend's own; ``None`` where it gave none."""
    error: BackendError | None = None
    stop_sequence: str | None = None
    """Which of the request's ``stop`` sequences ended it, where the backend reports it."""
    others: dict[int, Reason | str | None] | None = None
    """The reasons of the choices other than 0."""


Source = Citation
"""Its earlier name."""

Event: TypeAlias = Text | Reasoning | ToolCallPiece | Citation | Usage | Finish | Start | Refusal | Media | Logprobs
