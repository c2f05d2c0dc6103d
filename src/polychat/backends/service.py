"""A provider's class as a backend: chat sites, models on this machine, and classes of the user's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from ..calls.call import options_of
from ..config import Config
from ..events import Event
from ..providers.contract import Provider
from ..types import ChatRequest, Messages
from ..wire.embeddings import Embed, Embeddings
from ..wire.models import ModelInfo
from .backend import Backend

if TYPE_CHECKING:
    from ..calls.info import CallInfo


class ServiceBackend(Backend):
    """``provider`` with one configuration, which it uses for everything that it reads."""

    def __init__(self, provider: type[Provider], config: Config) -> None:
        model = str(getattr(provider, "default_model", "") or "")
        super().__init__(
            provider.__name__, url=provider.url, working=provider.working, options=options_of(provider), default_model=model
        )
        self.provider = provider
        self._config = config

    def answers(
        self, request: ChatRequest, call_info: CallInfo, proxy: str | None = None, **options: Any
    ) -> AsyncGenerator[list[Event], None]:
        return self.provider.answers(request, call_info, proxy, **{**options, "config": self._config})

    def rehearse(self, request: ChatRequest, call_info: CallInfo) -> None:
        self.provider.rehearse(request, call_info)

    def events(
        self, model: str | None, messages: Messages, proxy: str | None = None, **options: Any
    ) -> AsyncGenerator[list[Event], None]:
        return self.provider.events(model, messages, proxy, **{**options, "config": self._config})

    def address(self) -> str:
        return self.provider.address()

    def models(self) -> list[str]:
        return self.provider.models_of(self._config)

    @property
    def is_installed(self) -> bool:
        return self.provider.is_installed()

    @property
    def has_page(self) -> bool:
        return bool(self.url)

    def offers(self, model: str) -> bool:
        return not self.provider.listed_only or model in self.models()

    async def list_models(self, proxy: str | None = None, **options: Any) -> list[ModelInfo]:
        return await self.provider.list_models(proxy, **{**options, "config": self._config})

    @property
    def counts(self) -> bool:
        return self.provider.count.__func__ is not Provider.count.__func__  # type: ignore[attr-defined]  # class methods

    async def count(
        self, request: ChatRequest, proxy: str | None = None, call_info: CallInfo | None = None, **options: Any
    ) -> int | None:
        return await self.provider.count(request, proxy, **{**options, "config": self._config})

    async def embed(self, request: Embed, proxy: str | None = None, **options: Any) -> Embeddings:
        return await self.provider.embed(request, proxy, **{**options, "config": self._config})
