"""The contract of every provider, and the methods that it gets from one: ``reply``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

from ..calls.call import Call, call_of, options_of
from ..calls.info import CallInfo
from ..calls.threads import pieces_of
from ..config.environment import variable as set_to
from ..errors import BackendError, BadInput, NotReady, PolychatError
from ..events import Event, Finish, Text
from ..redact import Secrets
from ..types import AsyncResult, ChatRequest, Messages
from ..wire.answering import Site
from ..wire.embeddings import Embed, Embeddings
from ..wire.models import ModelInfo
from ._reach import messages_of, options_from, support_table_of
from ._redacted import Redacted, secrets_in

if TYPE_CHECKING:
    from ..config import Config


class Provider:
    """A client of one service. The class has no state: it may be used, as a class or an instance, from any loop.

    A subclass sets the attributes and defines ``reply``. One from another code base that has only
    ``create_async_generator`` or ``create_async`` works as well.
    """

    url: ClassVar[str] = ""
    working: ClassVar[bool] = False
    _gone: ClassVar[str | None] = None
    """The public address of a service that does not work."""
    evidence: ClassVar[str] = ""
    """How ``working`` is known."""
    supports_stream: ClassVar[bool] = False
    supports_system_message: ClassVar[bool] = False
    supports_message_history: ClassVar[bool] = False
    supports_gpt_35_turbo: ClassVar[bool] = False
    listed_only: ClassVar[bool] = False
    """Whether clients of the gateway may request only the models it names: any other name is a file of this machine."""
    site: ClassVar[type[Site] | None] = None
    """The server side, if the service has one."""
    options: ClassVar[tuple[str, ...] | None] = None
    """The keywords of ``reply``, if its signature does not show them."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if vars(cls).get("working") is False:
            cls._gone = cls.url

    @classmethod
    def address(cls) -> str:
        """The address unless ``base_url`` is given: ``<NAME>_BASE_URL``, else the class's ``url``.

        Raises ``NotReady`` where the service there is known not to work: no message goes to the present owner of its address.
        """
        if not cls.url:
            return ""
        variable = f"{cls.__name__.upper()}_BASE_URL"
        if moved := set_to(variable).strip():
            return moved
        if cls.url == cls._gone:
            why = f" ({cls.evidence})" if cls.evidence else ""
            raise NotReady(
                f"{cls.__name__} does not work at {cls.url}{why}, and nothing was sent there: "
                f"name where the same service runs with base_url or {variable}"
            )
        return cls.url

    @classmethod
    async def reply(cls, model: str | None, messages: Messages, call: Call) -> AsyncGenerator[list[Event], None]:
        """Send the request: the events of one reply, a batch for each network read; the last event is its ``Finish``.

        Errors before the first event are raised; later ones are in the ``Finish``. A provider's options are keyword-only
        parameters here.
        """
        async with aclosing(_borrowed(cls, model, messages, call.proxy, {})) as batches:
            async for batch in batches:
                yield batch

    @classmethod
    async def events(
        cls, model: str | None, messages: Messages, proxy: str | None = None, **kwargs: Any
    ) -> AsyncGenerator[list[Event], None]:
        """``reply`` with the contract's keywords; errors name the provider; neither events nor errors contain credentials."""
        secrets: Secrets | None = None
        try:
            if _same(cls.reply, Provider.reply):
                kwargs.pop("config", None)  # a class without ``reply`` does not accept it
                batches = _borrowed(cls, model, messages, proxy, kwargs)
            else:
                call = call_of(cls, proxy, kwargs)
                secrets = secrets_in(call)
                batches = cls.reply(model, messages, call, **call.own)
            redacted = None if secrets is None else Redacted(secrets)
            async with aclosing(batches):
                async for batch in batches:
                    yield batch if redacted is None else redacted.batch(batch)
        except PolychatError as error:
            error.provider = error.provider or cls.__name__
            if secrets is not None:
                secrets.error(error)
            raise

    @classmethod
    async def answers(
        cls, request: ChatRequest, call_info: CallInfo, proxy: str | None = None, **kwargs: Any
    ) -> AsyncGenerator[list[Event], None]:
        """``events`` of a ``ChatRequest``: losses are recorded, refused or warned of."""
        options = options_of(cls)
        cls.rehearse(request, call_info)
        messages = messages_of(request)
        async with aclosing(
            cls.events(request.model or None, messages, proxy, **options_from(request, options), **kwargs)
        ) as batches:
            async for batch in batches:
                yield batch

    @classmethod
    def rehearse(cls, request: ChatRequest, call_info: CallInfo) -> ChatRequest:
        """The request without the fields that the backend does not support, which are recorded, refused or warned of."""
        return call_info.apply_loss_policy(request, support_table_of(cls, options_of(cls)), cls.__name__, cls.__name__)

    @classmethod
    def models_of(cls, config: Config | None = None) -> list[str]:
        """The models that it names without a request, with this configuration; ``None``: with the user's own file."""
        return cls.get_models() if hasattr(cls, "get_models") else []

    @classmethod
    def is_installed(cls) -> bool:
        """Whether the optional packages are here without which it answers nothing."""
        return True

    @classmethod
    async def list_models(cls, proxy: str | None = None, **kwargs: Any) -> list[ModelInfo]:
        """The models that the backend serves; the provider's own list if the backend cannot be requested."""
        return [ModelInfo(name) for name in cls.models_of(kwargs.get("config"))]

    @classmethod
    async def count(cls, request: ChatRequest, proxy: str | None = None, **kwargs: Any) -> int | None:
        """The tokens of the request's prompt, by the backend's own count; ``None`` if it has none."""
        return None

    @classmethod
    async def embed(cls, request: Embed, proxy: str | None = None, **kwargs: Any) -> Embeddings:
        """One vector for each text. Raises ``BadInput`` if the provider has no embeddings."""
        raise BadInput(f"{cls.__name__} does not support embeddings: use another model", field="model")

    @classmethod
    async def create_async_generator(
        cls, model: str | None, messages: Messages, proxy: str | None = None, **kwargs: Any
    ) -> AsyncResult:
        """The answer as pieces of text.

        Keywords: ``proxy``, ``timeout`` (seconds in total, or ``Timeouts``), ``base_url``, ``cookies``, ``headers``,
        and the provider's own.
        Raises ``PolychatError``; a reply that is cut off ends with ``Truncated``, whose ``text`` has the received part.
        """
        so_far: list[str] = []
        async with aclosing(cls.events(model, messages, proxy, **kwargs)) as batches:
            async for batch in batches:
                for event in batch:
                    if type(event) is Text:
                        so_far.append(event.text)
                        yield event.text
                    elif type(event) is Finish and event.error is not None:
                        raise blamed(event.error, cls.__name__, so_far)

    @classmethod
    async def create_async(cls, model: str | None, messages: Messages, proxy: str | None = None, **kwargs: Any) -> str:
        """The whole answer. Keywords and errors as for ``create_async_generator``."""
        async with aclosing(cls.create_async_generator(model, messages, proxy, **kwargs)) as pieces:
            return "".join([piece async for piece in pieces])

    @classmethod
    def create_completion(
        cls, model: str | None, messages: Messages, proxy: str | None = None, **kwargs: Any
    ) -> Generator[str, None, None]:
        """The pieces for code without an event loop, or in one that runs: the request runs in a thread of its own.

        Closing the generator cancels the request.
        """
        return pieces_of(lambda: cls.create_async_generator(model, messages, proxy, **kwargs))


def blamed(error: BackendError, provider: str, so_far: list[str]) -> BackendError:
    """The error with the provider's name and the text of the reply before it."""
    error.provider = error.provider or provider
    error.text = error.text or "".join(so_far)
    return error


class AsyncGeneratorProvider(Provider):
    """A provider whose service sends its answer in pieces."""

    supports_stream = True


class AsyncProvider(Provider):
    """A provider whose service sends its answer as one piece."""

    @classmethod
    async def create_async(cls, model: str | None, messages: Messages, proxy: str | None = None, **kwargs: Any) -> str:
        """The whole answer. Keywords and errors as for ``Provider.create_async_generator``."""
        async with aclosing(super().create_async_generator(model, messages, proxy, **kwargs)) as pieces:
            return "".join([piece async for piece in pieces])

    @classmethod
    async def create_async_generator(
        cls, model: str | None, messages: Messages, proxy: str | None = None, **kwargs: Any
    ) -> AsyncResult:
        """The whole answer as one piece."""
        yield await cls.create_async(model, messages, proxy, **kwargs)


def _same(method: Any, base: Any) -> bool:
    return getattr(method, "__func__", method) is base.__func__


async def _borrowed(
    provider: type[Provider], model: str | None, messages: Messages, proxy: str | None, kwargs: dict[str, Any]
) -> AsyncGenerator[list[Event], None]:
    """The events of a provider that has only one of the contract's two methods, and no ``reply``."""
    if not any(_same(provider.create_async, base.create_async) for base in (Provider, AsyncProvider)):
        yield [Text(await provider.create_async(model, messages, proxy, **kwargs)), Finish("complete")]
        return
    if any(_same(provider.create_async_generator, base.create_async_generator) for base in (Provider, AsyncProvider)):
        raise NotImplementedError(f"{provider.__name__} has none of reply, create_async_generator and create_async")
    async with aclosing(provider.create_async_generator(model, messages, proxy, **kwargs)) as pieces:
        async for piece in pieces:
            yield [Text(piece)]
    yield [Finish("complete")]


class ProviderModelMixin:
    """Models by name, with a default."""

    default_model: ClassVar[str] = ""
    models: ClassVar[list[str]] = []

    @classmethod
    def get_models(cls) -> list[str]:
        """The names that can be requested; only the default if there is no list."""
        return list(cls.models) or ([cls.default_model] if cls.default_model else [])

    @classmethod
    def get_model(cls, model: str | None) -> str:
        """``model`` if it is one of ``models``, else ``default_model``."""
        return model if model and model in cls.get_models() else cls.default_model
