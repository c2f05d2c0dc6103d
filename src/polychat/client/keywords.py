"""The keywords of ``polychat.ask`` and ``stream``, for editors and type checkers.

``make fix`` writes this file from the tables in ``wire/fields.py`` and ``calls/request.py``: type checkers read source alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias, TypedDict

from ..http.timeouts import Timeouts
from ..types import Effort, Format, HostedTool, Thinking, Tool, ToolChoice

OneTool: TypeAlias = Tool | HostedTool | Mapping[str, Any] | Callable[..., object]
Attachment: TypeAlias = str | bytes | bytearray | PathLike[str]


class CallKeywords(TypedDict, total=False):
    """How to ask. Each may be ``None``, which is the same as not saying it, but for ``timeout``."""

    on_loss: Literal["refuse", "warn", "report", "allow"] | None
    """What to do if the backend does not support a field."""

    proxy: str | None
    """The URL of a proxy."""

    timeout: float | Timeouts | None
    """Seconds for the whole request, or Timeouts; None means no limit."""

    base_url: str | None
    """The address of another instance of the same service."""

    api_key: str | None
    """Of an API vendor."""

    cookies: Mapping[str, str] | None
    """Cookies of a chat site, by name."""

    headers: Mapping[str, str] | None
    """Headers that override the provider's own."""


class Keywords(CallKeywords, total=False):
    """What an ask may say besides its prompt, ``model``, ``system`` and ``schema``. ``None`` is the same as not saying it."""

    tools: OneTool | Sequence[OneTool] | None
    """Functions the model may call: Python functions, or OpenAI tool definitions."""

    tool_choice: str | Mapping[str, Any] | ToolChoice | None
    """Which tools may be called: "auto", "none", "required", or one by name."""

    response_format: Mapping[str, Any] | Format | None
    """The response format, as in OpenAI's API; see schema."""

    images: Attachment | Sequence[Attachment] | None
    """Paths, URLs or bytes, placed before the text of the last user message."""

    files: Attachment | Sequence[Attachment] | None
    """Documents: paths, URLs or bytes."""

    reasoning: Effort | int | bool | Thinking | None
    """How much to reason: an effort, or a maximum number of reasoning tokens."""

    extra: Mapping[str, Any] | None
    """Request fields under the API's own names."""

    parallel_tool_calls: bool | None
    """Whether several tools may be called at once."""

    max_tokens: int | None
    """Tokens of the answer at most."""

    temperature: float | None
    """How freely tokens are chosen: at 0 the likeliest."""

    top_p: float | None
    """Choose among the likeliest tokens that together are this likely."""

    top_k: int | None
    """Choose among so many of the likeliest tokens."""

    min_p: float | None
    """Leave out tokens that are less likely than this part of the likeliest."""

    frequency_penalty: float | None
    """Against tokens, by how often they came."""

    presence_penalty: float | None
    """Against tokens that came."""

    repetition_penalty: float | None
    """Makes tokens that came so many times less likely: 1 changes nothing."""

    seed: int | None
    """Of the same seed come the same answers, as far as the backend can."""

    stop: str | Sequence[str] | None
    """Texts that end the answer."""

    logprobs: bool | int | None
    """Probabilities of tokens: of those chosen, and of so many others for each."""

    logit_bias: Mapping[str, float] | None
    """A number for each token, by which it is likelier or less likely."""

    n: int | None
    """How many answers to the one question."""

    verbosity: str | None
    """How wordy the answer is."""

    metadata: Mapping[str, str] | None
    """Names and texts that the backend keeps with the reply."""

    user: str | None
    """Who asks, by a name that means nothing to others."""

    service_tier: str | None
    """How fast, and at which price."""

    store: bool | None
    """The backend may keep the reply."""

    previous: str | None
    """The id of the stored reply that this goes on from."""
