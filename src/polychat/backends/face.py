"""Vendors as provider classes: ``polychat.providers`` for code that uses classes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, ClassVar

from ..calls.call import Call, key_of
from ..calls.info import CallInfo
from ..calls.request import KEYWORDS, request_of
from ..config.vendor_spec import VendorSpec
from ..events import Event
from ..providers.catalogue import files, load
from ..providers.contract import AsyncGeneratorProvider, Provider
from ..types import ChatRequest, Messages
from ..wire.embeddings import Embed, Embeddings
from ..wire.models import ModelInfo
from .registry import split, user_registry
from .vendor import TIMEOUT, VendorBackend


class Vendor(AsyncGeneratorProvider):
    """Calls the API that ``row`` describes. Options: ``api_key``, ``on_loss``, and every keyword of ``polychat.ask``."""

    row: ClassVar[VendorSpec]
    backend: ClassVar[VendorBackend]
    working = True
    supports_system_message = True
    supports_message_history = True
    options: ClassVar[tuple[str, ...]] = ("api_key", *KEYWORDS)
    timeout: ClassVar[float | None] = TIMEOUT

    @classmethod
    def reply(
        cls, model: str | None, messages: Messages, call: Call, *, api_key: str | None = None, **keywords: Any
    ) -> AsyncGenerator[list[Event], None]:
        request, _ = request_of(messages, model or "", keywords)
        request.stream = request.stream_usage = True
        return cls.backend.replied(request, call, CallInfo(), key_of(api_key))

    @classmethod
    def answers(
        cls, request: ChatRequest, call_info: CallInfo, proxy: str | None = None, **kwargs: Any
    ) -> AsyncGenerator[list[Event], None]:
        return cls.backend.answers(request, call_info, proxy, **kwargs)

    @classmethod
    async def list_models(cls, proxy: str | None = None, **kwargs: Any) -> list[ModelInfo]:
        return await cls.backend.list_models(proxy, **kwargs)

    @classmethod
    async def count(cls, request: ChatRequest, proxy: str | None = None, **kwargs: Any) -> int | None:
        return await cls.backend.count(request, proxy, **kwargs)

    @classmethod
    async def embed(cls, request: Embed, proxy: str | None = None, **kwargs: Any) -> Embeddings:
        return await cls.backend.embed(request, proxy, **kwargs)

    @classmethod
    def address(cls) -> str:
        return cls.backend.address()


def find(name: str) -> type[Provider]:
    """A provider by name, in any case: a service's class, or one for a vendor of the person's own configuration.

    Raises ``UnknownTarget``, which names the most similar.
    """
    name = name.lower()
    if name in files():
        return load(name)
    backend = user_registry().find(name)
    assert isinstance(backend, VendorBackend)
    return _class_of(backend)


def resolve(target: str) -> tuple[type[Provider], str | None]:
    """``provider/model`` (or ``provider:model``, or a provider alone) as its class and the model's name."""
    provider, model = split(target)
    return find(provider), model


def vendors() -> Mapping[str, VendorSpec]:
    """Every vendor: the built-in ones, and those of the user's own polychat.toml, which override them."""
    return user_registry().vendors()


_classes: dict[str, type[Vendor]] = {}


def _class_of(backend: VendorBackend) -> type[Vendor]:
    """The same class for the same row."""
    row = backend.row
    face = _classes.get(row.name)
    if face is None or face.row is not row:
        about = {"row": row, "backend": backend, "url": row.base_url, "evidence": row.source, "__doc__": row.note or row.title}
        _classes[row.name] = face = type(row.name, (Vendor,), about)
    return face
