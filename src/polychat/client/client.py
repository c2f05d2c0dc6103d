"""``Client``: what many asks have in common, and OpenAI's shape for people who come with code."""

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
from .targets import Targets, own_targets, targets_of

if TYPE_CHECKING:
    from .keywords import CallKeywords, Keywords


class Client:
    """``ask``, ``stream`` and ``embed`` with a model and options of its own under those of each call.

    ``config`` is the path of a polychat.toml, read now, or a ``polychat.config.Config``, in place of your own file: two clients
    with two of them meet nowhere.

    ``client.chat.completions.create(…)`` takes and gives what OpenAI's client does. Nothing is held open: there is nothing to
    close, and one client serves any number of tasks and event loops.
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
        named = {"system": system, "schema": schema}
        self.options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        self.options |= {**keywords, **(options or {})}
        self._configured = None if config is None else targets_of(config)
        self.chat = Chat(model, self.options, self._targets)

    @overload
    async def ask(
        self,
        prompt: str | Conversation,
        *,
        schema: type[Parsed],
        model: str | None = None,
        system: str | None = None,
        options: Mapping[str, Any] | None = None,
        **keywords: Unpack[Keywords],
    ) -> Reply[Parsed]: ...
    @overload
    async def ask(
        self,
        prompt: str | Conversation,
        *,
        schema: Any = None,
        model: str | None = None,
        system: str | None = None,
        options: Mapping[str, Any] | None = None,
        **keywords: Unpack[Keywords],
    ) -> Reply[Any]: ...
    async def ask(self, prompt: str | Conversation, *, options: Mapping[str, Any] | None = None, **keywords: Any) -> Reply[Any]:
        """As ``polychat.ask``."""
        return await reply_of(self._targets(), prompt, *self._with(keywords, options))

    @overload
    def stream(
        self,
        prompt: str | Conversation,
        *,
        schema: type[Parsed],
        model: str | None = None,
        system: str | None = None,
        options: Mapping[str, Any] | None = None,
        **keywords: Unpack[Keywords],
    ) -> Stream[Parsed]: ...
    @overload
    def stream(
        self,
        prompt: str | Conversation,
        *,
        schema: Any = None,
        model: str | None = None,
        system: str | None = None,
        options: Mapping[str, Any] | None = None,
        **keywords: Unpack[Keywords],
    ) -> Stream[Any]: ...
    def stream(self, prompt: str | Conversation, *, options: Mapping[str, Any] | None = None, **keywords: Any) -> Stream[Any]:
        """As ``polychat.stream``."""
        return stream_of(self._targets(), prompt, *self._with(keywords, options))

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str | None = None,
        dimensions: int | None = None,
        user: str | None = None,
        options: Mapping[str, Any] | None = None,
        **asking: Unpack[CallKeywords],
    ) -> Embeddings:
        """As ``polychat.embed``."""
        model, _, rest = self._with({**asking, **({} if model is None else {"model": model})}, options)
        return await vectors_of(self._targets(), texts, model, dimensions, user, rest)

    def _targets(self) -> Targets:
        return self._configured or own_targets()

    def _with(self, keywords: dict[str, Any], options: Mapping[str, Any] | None) -> tuple[Any, Any, dict[str, Any]]:
        """The model, the system message, and all else of one call."""
        rest = {"model": self.model, **self.options, **keywords, **(options or {})}
        return rest.pop("model"), rest.pop("system", None), rest
