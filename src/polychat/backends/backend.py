"""A backend: anything that answers a chat, as one object of one registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import BadInput
from ..events import Event
from ..types import ChatRequest, Messages
from ..wire.embeddings import Embed, Embeddings
from ..wire.models import ModelInfo

if TYPE_CHECKING:
    from ..calls.info import CallInfo
    from ..http.timeouts import Timeouts
    from .compiled import CompiledRequest
    from .direct import DirectRequest
    from .ready import ReadyRequest
    from .relay import Relay


class Backend(ABC):
    """One backend, with its address, its credentials and its part of the configuration.

    It may be used from any number of tasks, loops and threads. Two registries have two objects for the same name, which share
    nothing. The keywords of each call are ``proxy``, ``timeout``, ``base_url``, ``cookies``, ``headers`` and ``options``.
    """

    restores: ClassVar[bool] = False
    """Whether ``answers`` puts ``CallInfo.placeholders`` back and sends schemas that are JSON (``wire/raw_schemas.py``); a
    request for any other backend has neither.
    """

    can: tuple[str, ...] = ()
    """Known abilities of at least some of its models, by the names of ``config.vendor_spec.Capability``."""

    def __init__(self, name: str, *, url: str, working: bool, options: tuple[str, ...], default_model: str = "") -> None:
        self.name = name
        """The name in replies and errors: ``Local``, ``openai``."""
        self.label = name.lower()
        """The name in targets: ``local/…``."""
        self.url = url
        """Its public address, which the environment does not change: its prices are found by it."""
        self.working = working
        self.options = options
        """The keywords that it accepts in addition to the common ones."""
        self.default_model = default_model
        """The model for requests that name none; empty: the backend chooses, or requires a name."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @abstractmethod
    def answers(
        self, request: ChatRequest, call_info: CallInfo, proxy: str | None = None, **options: Any
    ) -> AsyncGenerator[list[Event], None]:
        """The events of one reply, in batches; the last is its ``Finish``. Errors before the first event are raised."""

    def compiled(self, request: ChatRequest) -> CompiledRequest | None:
        """The request for ``answers_compiled``, whose texts are stand-ins: see ``compiled.py``.

        ``None`` if it must be written again for each call: it loses something, or it raises, which ``answers`` then does.
        """
        return None

    def answers_compiled(
        self, compiled: CompiledRequest, body: bytes, call_info: CallInfo, options: dict[str, Any]
    ) -> AsyncGenerator[list[Event], None]:
        """``answers`` to a request that ``compiled`` returned, always with the same options; ``body`` is its body with
        texts.
        """
        raise NotImplementedError

    def ready(self, compiled: CompiledRequest, options: dict[str, Any]) -> ReadyRequest:
        """What ``answers_compiled`` sends a body with, under the same conditions. Raises ``BadInput`` and ``NotReady``."""
        raise NotImplementedError

    def direct(self, request: ChatRequest, call_info: CallInfo, timeouts: Timeouts) -> DirectRequest:
        """The request that ``answers`` would send for a whole reply, for callers that send it without waiting.

        Raises as ``answers``. A backend that cannot know does not define it.
        """
        raise NotImplementedError

    @abstractmethod
    def rehearse(self, request: ChatRequest, call_info: CallInfo) -> None:
        """The part of ``answers`` before a request is sent: ``call_info`` gets the losses.

        Raises errors that are known beforehand, such as ``NotReady`` for a missing key.
        """

    @abstractmethod
    def events(
        self, model: str | None, messages: Messages, proxy: str | None = None, **options: Any
    ) -> AsyncGenerator[list[Event], None]:
        """``answers`` to a conversation as callers write it, every setting a keyword."""

    @abstractmethod
    def address(self) -> str:
        """The address unless ``base_url`` is given. Raises ``NotReady`` if the service is known to be gone."""

    def quota_domain(self) -> str:
        """A name that all backends have in common whose requests share a key, and so its quota."""
        return self.label

    def continues(self, model: str) -> bool:
        """Whether the answer to a conversation that ends with an assistant message continues that message."""
        return False

    def models(self) -> list[str]:
        """The models that are known without a request. Raises ``NotReady`` if they cannot be determined."""
        return []

    def offers(self, model: str) -> bool:
        """Whether clients of the gateway may request this model by its name."""
        return True

    @property
    def is_installed(self) -> bool:
        """Whether the optional packages are here without which it answers nothing."""
        return True

    @property
    def has_page(self) -> bool:
        """Whether its address is a page for browsers."""
        return False

    @property
    def lists_models(self) -> bool:
        """Whether ``list_models`` sends a request."""
        return False

    @property
    def lacks_key(self) -> bool:
        """Whether it needs a key and none is set."""
        return False

    def tag(self) -> str:
        """The vendor of its replies' opaque parts; it gets back those with the same tag."""
        return self.name

    def relay(self, wire: str) -> Relay | None:
        """Where requests on this wire may be sent unchanged; ``None``: nowhere. Raises ``NotReady`` if a key is missing."""
        return None

    async def list_models(self, proxy: str | None = None, **options: Any) -> list[ModelInfo]:
        """The models that it lists; if it has no list, those that its entry names."""
        return [ModelInfo(name) for name in self.models()]

    @property
    def counts(self) -> bool:
        """Whether it counts tokens itself: otherwise ``count`` returns ``None`` and sends no request."""
        return False

    async def count(
        self, request: ChatRequest, proxy: str | None = None, call_info: CallInfo | None = None, **options: Any
    ) -> int | None:
        """The tokens of the prompt of ``request``, by the backend's own count; ``None`` if it has none.

        ``call_info``: its placeholders, for backends that restore them.
        """
        return None

    async def embed(self, request: Embed, proxy: str | None = None, **options: Any) -> Embeddings:
        """One vector for each text. Raises ``BadInput`` if it has no embeddings."""
        raise BadInput(f"{self.name} does not support embeddings: use another model", field="model")
