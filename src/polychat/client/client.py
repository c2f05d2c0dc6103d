"""``Client``: what many asks have in common, and OpenAI's shape for people who come with code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..types import Conversation
from ..wire.embeddings import Embeddings
from .calls import ask, embed, stream
from .openai_shape import Chat
from .reply import Reply
from .streaming import Stream


class Client:
    """``ask``, ``stream`` and ``embed`` with a model and options of its own under those of each call.

    ``client.chat.completions.create(…)`` takes and gives what OpenAI's client does. Nothing is held open: there is nothing to
    close, and one client serves any number of tasks and event loops.
    """

    def __init__(self, model: str | None = None, **options: Any) -> None:
        self.model = model
        self.options = options
        self.chat = Chat(model, options)

    async def ask(self, prompt: str | Conversation, **options: Any) -> Reply:
        """As ``polychat.ask``."""
        return await ask(prompt, **self._with(options))

    def stream(self, prompt: str | Conversation, **options: Any) -> Stream:
        """As ``polychat.stream``."""
        return stream(prompt, **self._with(options))

    async def embed(self, texts: str | Sequence[str], **options: Any) -> Embeddings:
        """As ``polychat.embed``."""
        return await embed(texts, **self._with(options))

    def _with(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"model": self.model, **self.options, **options}
