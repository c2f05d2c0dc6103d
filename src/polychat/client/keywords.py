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
    """How a request is sent. ``None`` leaves a keyword out, except that ``timeout=None`` means no limit."""

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
    """The fields of a request besides its prompt, ``model``, ``system`` and ``schema``. ``None`` leaves a field out."""

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

    models: Sequence[str] | None
    """Models that are called, in this order, if ``model`` fails."""

    provider: Mapping[str, Any] | None
    """Which providers may answer, and in which order: OpenRouter's object."""

    parallel_tool_calls: bool | None
    """Whether the model may call several tools at once."""

    max_tokens: int | None
    """The maximum number of tokens in the reply."""

    temperature: float | None
    """The randomness of the reply: at 0 the most likely tokens."""

    top_p: float | None
    """Sample from the most likely tokens whose probabilities add up to this."""

    top_k: int | None
    """Sample from this many of the most likely tokens."""

    min_p: float | None
    """Exclude tokens less likely than this fraction of the most likely one."""

    frequency_penalty: float | None
    """Reduce the probability of tokens by how often they occurred."""

    presence_penalty: float | None
    """Reduce the probability of tokens that occurred."""

    repetition_penalty: float | None
    """Reduce the probability of tokens that occurred, by this factor; 1 has no effect."""

    seed: int | None
    """The seed for sampling: the same seed gives the same reply if the backend supports it."""

    stop: str | Sequence[str] | None
    """Sequences that end the reply."""

    logprobs: bool | int | None
    """Return the log probabilities of the tokens; a number adds that many alternatives for each token."""

    logit_bias: Mapping[str, float] | None
    """A bias for each token id, added before sampling."""

    n: int | None
    """The number of replies to generate."""

    verbosity: str | None
    """How detailed the reply is."""

    metadata: Mapping[str, str] | None
    """Names and values that the backend stores with the reply."""

    user: str | None
    """An identifier of your end user, without personal data."""

    service_tier: str | None
    """The processing tier, which decides latency and price."""

    store: bool | None
    """Whether the backend may store the reply."""

    previous: str | None
    """The id of the stored reply to continue from."""


class AskKeywords(Keywords, total=False):
    """All keywords of ``ask`` and ``stream`` but ``schema``, on which the type of the reply depends."""

    model: str | None
    """``provider/model``, a route, an alias, or several of these separated by commas."""

    system: str | None
    """A system message, placed before the prompt."""

    options: Mapping[str, Any] | None
    """Further keywords by name, for options that only one provider has."""
