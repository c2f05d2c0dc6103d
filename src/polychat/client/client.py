"""``Client``: a model and options for many calls, and the interface of OpenAI's client for code that was written for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from ..config import Config
from ..types import Conversation
from ..wire.embeddings import Embeddings
from .calls import reply_of, stream_of, vectors_of
from .openai_shape import Chat
from .reply import Parsed, Reply
from .streaming import Stream
from .targets import Targets, targets_of, user_targets

if TYPE_CHECKING:
    from .keywords import AskKeywords, CallKeywords, Keywords


class Client:
    """``ask``, ``stream`` and ``embed`` with a default model and default options; those of a call override them.

    ``config`` is the path of a polychat.toml, read once, here, or a ``polychat.config.Config``, in place of your own file.
    Clients with different configurations share no backend, no key and no state of routes.

    ``client.chat.completions.create(…)`` takes and returns what OpenAI's client does. A client holds nothing open, needs no
    closing, and may be used from any number of tasks and event loops. Raises ``BadInput`` for a file that cannot be read.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        config: Config | str | Path | None = None,
        system: str | None = None,
        schema: Any = None,
        options: Mapping[str, Any] | None = None,
        **keywords: Unpack[Keywords],
    ) -> None:
        self.model = model
        defaults = {"system": system, "schema": schema}
        self.options: dict[str, Any] = {name: value for name, value in defaults.items() if value is not None}
        self.options |= {**keywords, **(options or {})}
        self._configured = None if config is None else targets_of(config)
        self.chat = Chat(model, self.options, self._targets)

    @overload
    async def ask(
        self, prompt: str | Conversation, *, schema: type[Parsed], **keywords: Unpack[AskKeywords]
    ) -> Reply[Parsed]: ...
    @overload
    async def ask(self, prompt: str | Conversation, *, schema: Any = None, **keywords: Unpack[AskKeywords]) -> Reply[Any]: ...
    async def ask(self, prompt: str | Conversation, *, options: Mapping[str, Any] | None = None, **keywords: Any) -> Reply[Any]:
        """``polychat.ask`` with this client's defaults."""
        return await reply_of(self._targets(), prompt, *self._with(keywords, options))

    @overload
    def stream(
        self, prompt: str | Conversation, *, schema: type[Parsed], **keywords: Unpack[AskKeywords]
    ) -> Stream[Parsed]: ...
    @overload
    def stream(self, prompt: str | Conversation, *, schema: Any = None, **keywords: Unpack[AskKeywords]) -> Stream[Any]: ...
    def stream(self, prompt: str | Conversation, *, options: Mapping[str, Any] | None = None, **keywords: Any) -> Stream[Any]:
        """``polychat.stream`` with this client's defaults."""
        return stream_of(self._targets(), prompt, *self._with(keywords, options))

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str | None = None,
        dimensions: int | None = None,
        user: str | None = None,
        models: Sequence[str] | None = None,
        provider: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **keywords: Unpack[CallKeywords],
    ) -> Embeddings:
        """``polychat.embed`` with this client's defaults."""
        named = (("model", model), ("models", models), ("provider", provider))
        given = {name: value for name, value in named if value is not None}
        model, _, rest = self._with({**keywords, **given}, options)
        return await vectors_of(self._targets(), texts, model, dimensions, user, rest)

    def _targets(self) -> Targets:
        return self._configured or user_targets()

    def _with(self, keywords: dict[str, Any], options: Mapping[str, Any] | None) -> tuple[Any, Any, dict[str, Any]]:
        """The model, the system message and the remaining options of one call: the client's, overridden by the call's."""
        rest = {"model": self.model, **self.options, **keywords, **(options or {})}
        return rest.pop("model"), rest.pop("system", None), rest
