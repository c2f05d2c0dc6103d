"""The contract every provider keeps, and what it gives for one method: ``reply``."""

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
    """What speaks to one backend. Nothing is kept on the class: call it, or an instance of it, from any loop.

    A subclass fills in the form (the attributes) and writes ``reply``. One that comes from elsewhere and has only
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
    """The answering half, where the service brings one."""
    options: ClassVar[tuple[str, ...] | None] = None
    """What ``reply`` takes by keyword, where its signature does not say it."""

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
        """Ask the backend: the events of one reply, in batches, a batch a network read; the last one is its ``Finish``.

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
        """``reply`` with the keywords of the contract, its errors marked with the provider's name; no credential in either."""
        secrets: Secrets | None = None
        try:
            if _same(cls.reply, Provider.reply):
                kwargs.pop("config", None)  # a class without ``reply`` does not know it
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
        """``events`` of a ``ChatRequest``: what of it does not reach the backend is noted, refused or warned of."""
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
        """The request without what does not reach the backend, which ``call_info`` notes, refuses or warns of."""
        return call_info.apply_loss_policy(request, support_table_of(cls, options_of(cls)), cls.__name__, cls.__name__)

    @classmethod
    def models_of(cls, config: Config | None = None) -> list[str]:
        """The models that it names without asking its backend, by this configuration; ``None``: by the person's own file."""
        return cls.get_models() if hasattr(cls, "get_models") else []

    @classmethod
    async def list_models(cls, proxy: str | None = None, **kwargs: Any) -> list[ModelInfo]:
        """What the backend serves; the provider's own list where the backend cannot be asked."""
        return [ModelInfo(name) for name in cls.models_of(kwargs.get("config"))]

    @classmethod
    async def count(cls, request: ChatRequest, proxy: str | None = None, **kwargs: Any) -> int | None:
        """How many tokens the request's prompt is, by the backend's own count; ``None`` where it has none."""
        return None

    @classmethod
    async def embed(cls, request: Embed, proxy: str | None = None, **kwargs: Any) -> Embeddings:
        """One vector a text. Raises ``BadInput`` where the provider has no embeddings."""
        raise BadInput(f"{cls.__name__} does not support embeddings: use another model", field="model")

    @classmethod
    async def create_async_generator(
        cls, model: str | None, messages: Messages, proxy: str | None = None, **kwargs: Any
    ) -> AsyncResult:
        """The answer as pieces of text.

        Keywords: ``proxy``, ``timeout`` (seconds in total, or ``Timeouts``), ``base_url``, ``cookies``, ``headers``,
        and the provider's own.
        Raises ``PolychatError``; after a cut, ``Truncated`` follows what came and holds it in ``text``.
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
    """The error with the provider's name and what of the reply came before it."""
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
        """The names that can be asked for; the default alone where there is no list."""
        return list(cls.models) or ([cls.default_model] if cls.default_model else [])

    @classmethod
    def get_model(cls, model: str | None) -> str:
        """``model`` if it is one of ``models``, else ``default_model``."""
        return model if model and model in cls.get_models() else cls.default_model
