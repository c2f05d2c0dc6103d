"""The types that all packages share: conversations, messages, their parts, tools, and requests.

Callers write messages as dicts of OpenAI's shape (``Messages``). Between packages they travel as a ``ChatRequest``, in terms
that all vendors' APIs can be translated into and out of; ``wire/losses.py`` has what each wire does with each field.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import field

from .values import Value

Message: TypeAlias = Mapping[str, Any]
"""One message: ``{"role": "user", "content": "…"}``. ``content`` is text, or a list of ``{"type": "text", "text": …}``."""

Messages: TypeAlias = Sequence[Message]
"""A conversation, oldest message first."""

AsyncResult: TypeAlias = AsyncGenerator[str, None]
"""What ``create_async_generator`` gives: pieces of text. Close it (``aclosing``) if you stop before its end."""

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class TextPart(Value):
    text: str
    cache: str | None = None
    """The backend may cache the conversation up to here, for this long: ``5m`` or ``1h``."""
    extra: dict[str, Any] | None = None
    """Fields that only the wire it was read from has, by that wire's names. The same holds for ``extra`` of every type here."""


class ImagePart(Value):
    """An image. Exactly one of ``url`` and ``data`` is set."""

    url: str | None = None
    data: bytes | None = None
    media_type: str | None = None
    """Such as ``image/png``; always there with ``data``."""
    detail: str | None = None
    """How closely to look: ``low``, ``high`` or ``auto``."""
    cache: str | None = None
    extra: dict[str, Any] | None = None


class AudioPart(Value):
    data: bytes
    media_type: str
    """``audio/wav``, ``audio/mpeg``, …"""
    extra: dict[str, Any] | None = None


class FilePart(Value):
    """A document. Exactly one of ``url``, ``data`` and ``id`` (of a file that the backend already has) is set."""

    url: str | None = None
    data: bytes | None = None
    id: str | None = None
    media_type: str | None = None
    """Such as ``application/pdf``; always there with ``data``."""
    name: str | None = None
    cache: str | None = None
    extra: dict[str, Any] | None = None


class Opaque(Value, gc=False):
    """Data that a vendor requires back unchanged in a later request: a signature, encrypted reasoning. No other vendor can
    use it.
    """

    vendor: str
    data: str
    id: str | None = None
    """The vendor's name for the item it belongs to."""
    redacted: bool = False
    """``data`` replaces reasoning that may not be shown; there is no text."""


class ReasoningPart(Value):
    """The model's reasoning before its answer."""

    text: str = ""
    opaque: Opaque | None = None
    extra: dict[str, Any] | None = None


class RefusalPart(Value, gc=False):
    """The model's refusal to answer, in its own words."""

    text: str


class ToolCall(Value):
    """A tool call of the model. ``arguments`` is the text it wrote: of a function, JSON unless the reply was cut short."""

    id: str
    name: str
    arguments: str = ""
    """As the model wrote it; of a function, empty is as good as ``{}``."""
    opaque: Opaque | None = None
    cache: str | None = None
    extra: dict[str, Any] | None = None
    kind: str = "function"
    """``custom``: ``arguments`` is free text. Else what the wire calls an action that the client carries out, such as
    ``local_shell_call``: ``arguments`` is the action as JSON."""


class ToolResult(Value):
    """The result of the call ``id``."""

    id: str
    parts: list[TextPart | ImagePart | FilePart] = field(default_factory=list)
    name: str | None = None
    """Of the tool; some wires want it back."""
    is_error: bool = False
    cache: str | None = None
    extra: dict[str, Any] | None = None


Part: TypeAlias = TextPart | ImagePart | AudioPart | FilePart | ReasoningPart | RefusalPart | ToolCall | ToolResult


class ChatMessage(Value):
    """One message of a conversation. A ``tool`` message holds only ``ToolResult`` parts; no other role has them."""

    role: Role
    parts: list[Part]
    name: str | None = None
    """Which of several people or agents speaks."""
    extra: dict[str, Any] | None = None


Conversation: TypeAlias = Sequence[Message | ChatMessage]
"""Messages as people write them, as a reply gives them (``reply.turn()``), or both."""


class Tool(Value):
    """A function the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """JSON schema of an object; ``None``: no arguments."""
    strict: bool | None = None
    """The arguments must follow the schema to the letter."""
    cache: str | None = None
    extra: dict[str, Any] | None = None
    kind: Literal["function", "custom"] = "function"
    """``custom``: the model writes free text instead of arguments."""
    format: dict[str, Any] | None = None
    """The grammar of that text, as OpenAI describes it; ``None``: any text."""
    namespace: str | None = None
    """The group that the tool came in, where its wire has such; ``name`` is then the whole name, ``group__name``."""


class HostedTool(Value):
    """A tool that the backend itself runs (web search, code), by its own wire's description; no other wire knows it."""

    kind: str
    """What its wire calls it, such as ``web_search_20250305``."""
    spec: dict[str, Any]
    """The whole description, as that wire writes it."""


class ToolChoice(Value, gc=False):
    """``required``: some tool; ``named``: the tool ``name``."""

    mode: Literal["auto", "none", "required", "named"]
    name: str | None = None


class Format(Value):
    """The format of the answer. ``schema`` is set exactly where ``kind`` is ``schema``."""

    kind: Literal["text", "json", "schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Thinking(Value, gc=False):
    """How much to think first."""

    effort: Effort | None = None
    budget: int | None = None
    """Maximum number of reasoning tokens; 0 is none, -1 leaves it to the model."""
    summary: str | None = None
    """Whether the reply shows the reasoning, and how: ``auto``, ``concise``, ``detailed``; ``none`` hides it."""


class ChatRequest(Value):
    """One request of a chat, in the terms that all wires share. ``None`` (or empty) is "not set": the backend decides."""

    model: str
    messages: list[ChatMessage]
    tools: list[Tool | HostedTool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    format: Format | None = None
    max_tokens: int | None = None
    """Maximum number of tokens of the answer, including reasoning if the backend counts it so."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    logprobs: int | None = None
    """``0``: of what was chosen; more: of that many alternatives each, too."""
    logit_bias: dict[str, float] | None = None
    n: int | None = None
    """Number of answers."""
    reasoning: Thinking | None = None
    verbosity: str | None = None
    """``low``, ``medium`` or ``high``."""
    metadata: dict[str, str] | None = None
    user: str | None = None
    """An identifier of the end user, without personal data."""
    service_tier: str | None = None
    store: bool | None = None
    """The backend may keep the reply, for ``previous``."""
    previous: str | None = None
    """The id of the stored reply that this request continues."""
    stream: bool = False
    stream_usage: bool | None = None
    """Whether a stream ends with its usage, on the wire where that must be requested."""
    wire: str | None = None
    """The wire this was read from, whose names every ``extra`` uses. ``None`` where a caller made it."""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def turns(self) -> list[ChatMessage]:
        """The earlier name of ``messages``."""
        return self.messages

    @turns.setter
    def turns(self, messages: list[ChatMessage]) -> None:
        self.messages = messages


Turn = ChatMessage
Ask = ChatRequest
"""Their earlier names."""
