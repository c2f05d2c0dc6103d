"""API vendors, and servers of one's own that speak a vendor's wire: each a row of data, none a file."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING, Any, ClassVar, cast

from .. import config
from ..config._strict import Strict
from ..config.rows import Row, row_of
from ..errors import BackendError, BadInput, NotReady, StatusError, shown
from ..events import Event
from ..types import Ask, Messages
from ..wire import embeddings, models
from ..wire._json import encoded, sendable
from ..wire.adapting import AS_FUNCTION, AsFunctions, Calls, adapted, readable
from ..wire.embeddings import Embed, Embeddings
from ..wire.hints import comes_back
from ..wire.ledger import Fates, emulated
from ..wire.limits import LIMITS, Limits
from ..wire.models import ModelInfo
from ..wire.wires import adjusted, wire
from ._ask import KEYWORDS, ask_of
from ._base import AsyncGeneratorProvider
from ._call import Call, call_of, key_of
from ._catalogue import files
from ._endpoint import address, distrusted, key_header, known
from ._fitting import changes, fitted, fitted_as_it_came, taken_along
from ._notes import Notes
from ._relay import Relay, rate_limits

if TYPE_CHECKING:
    from ..http.exchange import Answer, Exchange

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of a reply that is read whole."""


class Vendor(AsyncGeneratorProvider):
    """Asks the API that ``row`` describes. Options: ``api_key``, ``on_loss``, and every keyword of ``polychat.ask``."""

    row: ClassVar[Row]
    working = True
    supports_system_message = True
    supports_message_history = True
    options: ClassVar[tuple[str, ...]] = ("api_key", *KEYWORDS)
    timeout: ClassVar[float | None] = 600.0
    """Models that think take their time."""

    @classmethod
    def reply(
        cls, model: str | None, messages: Messages, call: Call, *, api_key: str | None = None, **keywords: Any
    ) -> AsyncGenerator[list[Event], None]:
        ask, _ = ask_of(messages, model or "", keywords)
        ask.stream = ask.stream_usage = True
        return cls._replied(ask, call, Notes(), key_of(api_key))

    @classmethod
    def answers(cls, ask: Ask, notes: Notes, proxy: str | None = None, **kwargs: Any) -> AsyncGenerator[list[Event], None]:
        return cls._replied(ask, None, notes, key_of(kwargs.get("api_key")), {"proxy": proxy, **kwargs})

    @classmethod
    async def _replied(
        cls, ask: Ask, call: Call | None, notes: Notes, api_key: str | None, options: dict[str, Any] | None = None
    ) -> AsyncGenerator[list[Event], None]:
        row, spoken, tag = cls.row, wire(cls.row.wire), cls.tag()
        call = call or cls._call(None, options or {})
        notes.url = call.base_url
        if not ask.model:
            raise BadInput(f"name a model: {row.name}/MODEL (polychat models {row.name} lists them)", field="model")
        if ask.extra and ask.wire is None:
            ask.wire = spoken.NAME  # a caller's ``extra`` is in the words of the wire it goes to
        ask, along = taken_along(ask, row)
        ask, calls = cls._adapted(notes.settle(ask, cls._fates(), spoken.NAME, tag))
        ask, changed = adjusted(spoken, ask, tag)
        notes.add(changed)
        body = sendable(fitted({**spoken.write_request(ask, vendor=tag), **along}, row, notes))
        async with cls._exchange(call, "POST", spoken.path(ask), api_key, body) as response:
            notes.limits = rate_limits(response)
            if not response.ok:
                raise await cls.refusal(response)
            if not ask.stream:
                notes.raw = await response.read(MAX_REPLY)
                events = spoken.read_reply(notes.raw, vendor=tag, limits=_limits(ask))
                yield events if calls is None else calls.take(events)
                return
            async with aclosing(response.events(spoken.Reader(vendor=tag, limits=_limits(ask)))) as batches:
                async for batch in batches:
                    yield batch if calls is None else calls.take(batch)

    @classmethod
    def _fates(cls) -> Fates:
        """What becomes of an ask's fields on the vendor's wire, as this vendor speaks it."""
        return wire(cls.row.wire).FATES if cls.row.custom_tools else _without_custom(cls.row.wire)

    @classmethod
    def _adapted(cls, ask: Ask) -> tuple[Ask, Calls | AsFunctions | None]:
        """The ask with tools as this vendor takes them, and what gives the calls of the reply back as they were asked for."""
        spoken = cls.row.wire
        if ask.wire == spoken:
            return ask, None  # in its own words: the vendor itself is to say what it does not take
        calls: Calls | AsFunctions | None = None
        if ask.tools or any(turn.role == "assistant" for turn in ask.turns):  # else it has no tools, calls or thoughts
            custom = cls._fates()["tools.custom"].kind == "kept"
            ask, calls = adapted(readable(ask, cls.tag()), custom=custom)
        if calls is None and spoken == "openai-responses" and ask.wire is not None and not _knows_custom(ask.wire):
            return ask, AsFunctions()  # its backend may call what nobody asked for by name
        return ask, calls

    @classmethod
    def relay(cls, wire: str) -> Relay | None:
        row = cls.row
        if row.wire != wire:
            return None
        from ..http.exchange import fast_way  # no import of a provider loads an HTTP client

        base = cls.address()
        if (way := fast_way(base)) is None:
            return None
        headers = _headers(row, None)
        fit = partial(fitted_as_it_came, row=row) if changes(row) else None
        return Relay(base, way, headers, fit, usage=row.stream_usage, refusal=cls.refusal)

    @classmethod
    async def list_models(cls, proxy: str | None = None, **kwargs: Any) -> list[ModelInfo]:
        """What the vendor says it serves. Raises ``NotReady`` where it has no list, and what an ask raises."""
        row = cls.row
        if not row.models:
            raise NotReady(f"{row.title or row.name} has no list of its models: see {row.source or 'its documentation'}")
        call = cls._call(proxy, kwargs)
        if row.models.startswith("https://") and call.base_url != row.base_url.rstrip("/"):
            raise NotReady(
                f"{row.title or row.name} was moved to another address, and where it has its list there is not known"
            )
        body = await cls._asked(call, "GET", row.models, None)
        return models.read_models(row.models_shape or row.wire, body)

    @classmethod
    async def count(cls, ask: Ask, proxy: str | None = None, **kwargs: Any) -> int | None:
        spoken: Any = wire(cls.row.wire)
        if not hasattr(spoken, "write_count_request"):
            return None
        call, tag = cls._call(proxy, kwargs), cls.tag()
        asked, _ = adjusted(spoken, ask, tag)
        body = await cls._asked(call, "POST", spoken.count_path(ask), encoded(spoken.write_count_request(asked, vendor=tag)))
        tokens: int = spoken.read_count(body)
        return tokens

    @classmethod
    async def embed(cls, asked: Embed, proxy: str | None = None, **kwargs: Any) -> Embeddings:
        """One vector a text. Raises ``BadInput`` where the vendor has no embeddings, and what an ask raises."""
        if not cls.row.embeddings and cls.row.name in known():  # a server of one's own speaks for itself
            raise BadInput(f"{cls.row.title or cls.row.name} has no embeddings that polychat knows of", field="model")
        shape = embeddings.shape_of(cls.row.wire)
        call = cls._call(proxy, kwargs)
        body = await cls._asked(call, "POST", embeddings.path(shape, asked), encoded(embeddings.write_request(shape, asked)))
        return embeddings.read_reply(shape, body, count=len(asked.inputs))

    @classmethod
    def address(cls) -> str:
        return _at(cast(Any, cls), int(monotonic()))

    @classmethod
    def tag(cls) -> str:
        """Whose opaque parts this vendor's are. A vendor may have several rows, one for each wire it speaks."""
        return _tag(cls.row.name, cls.row.wire)

    @classmethod
    def _call(cls, proxy: str | None, kwargs: dict[str, Any]) -> Call:
        return call_of(cls, proxy, kwargs)

    @classmethod
    async def _asked(cls, call: Call, method: str, path: str, body: bytes | None) -> bytes:
        api_key = key_of(call.own.get("api_key"))
        async with cls._exchange(call, method, path, api_key, body) as response:
            if not response.ok:
                raise await cls.refusal(response)
            return await response.read(MAX_REPLY)

    @classmethod
    def _exchange(cls, call: Call, method: str, path: str, api_key: str | None, body: bytes | None) -> Exchange:
        headers = _with_key(cast(Any, cls), int(monotonic())) if api_key is None else _headers(cls.row, api_key)
        return call.exchange(method, path if path.startswith("https://") else call.base_url + path, headers, body)

    @classmethod
    async def refusal(cls, response: Answer) -> StatusError:
        """The error of a status other than 2xx, with what the vendor says of it."""
        try:
            body = await response.read()
        except BackendError:  # the status is known all the same
            body = b""
        fault = wire(cls.row.wire).read_fault(response.status, body)
        error = response.error(shown(fault.message))
        error.kind, error.word, error.param = fault.kind, fault.code, fault.param
        headers = {**fault.headers, **response.headers} if fault.headers else response.headers
        error.retry_after = comes_back(headers, time(), status=response.status, told=fault.retry_after, message=fault.message)
        return response.redacted(error)


# Looked for once a second: that is half a dozen names to look up in ``os.environ``, which is slow.


@lru_cache(maxsize=256)
def _at(provider: Any, second: int) -> str:
    return address(provider.row)


@lru_cache(maxsize=256)
def _with_key(provider: Any, second: int) -> Mapping[str, str]:
    return _headers(provider.row, None)


@lru_cache(maxsize=64)
def _knows_custom(name: str) -> bool:
    """Whether those who speak this wire know calls of free text."""
    return wire(name).FATES["tools.custom"].kind == "kept"


@lru_cache(maxsize=1024)
def _tag(name: str, spoken: str) -> str:
    native = wire(spoken).VENDOR
    return native if name == native or name.startswith(f"{native}-") else name


@lru_cache(maxsize=64)
def _without_custom(name: str) -> Fates:
    """The fates of a wire at a vendor that takes no custom tools there."""
    fates = wire(name).FATES
    return {**fates, "tools.custom": emulated(AS_FUNCTION)} if _knows_custom(name) else fates


def _headers(row: Row, api_key: str | None) -> dict[str, str]:
    return {"Content-Type": "application/json", **row.headers, **key_header(row, api_key)}


def _limits(ask: Ask) -> Limits:
    """Calls without ids (Gemini's, Ollama's) get some that no earlier turn of the conversation has: other vendors insist."""
    return replace(LIMITS, made_up=f"call_{secrets.token_hex(4)}_") if ask.tools else LIMITS


def vendors() -> Mapping[str, Row]:
    """Every vendor: those of vendors.toml, and those of polychat.toml, which go over them. Raises ``BadInput``."""
    configured = config.current()
    if not configured.providers:
        return known()
    if not _last or _last[0][0] is not configured:
        _last[:] = [(configured, _with(configured))]
    return _last[0][1]


_last: list[tuple[config.Config, Mapping[str, Row]]] = []
"""The file in force and its rows, kept while it does not change."""


def _with(configured: config.Config) -> Mapping[str, Row]:
    strict = Strict(configured.file or Path(config.FILE))
    own = {}
    for name, table in configured.providers.items():
        key = f"providers.{name}"
        if name in files():
            raise strict.error(key, "is the name of a provider that polychat brings: choose another")
        own[name] = row_of(name, table, strict, key, known().get(name))
    if configured.from_folder:
        own = {name: replace(row, untrusted=frozenset(configured.providers[name])) for name, row in own.items()}
        for name, row in own.items():
            if (refused := distrusted(row)) is not None:
                raise strict.error(f"providers.{name}.{refused[0]}", refused[1])
    return {**known(), **own}


def vendor(name: str) -> type[Vendor] | None:
    """The provider of one row; ``None`` where there is no such row. The same class for the same row."""
    row = vendors().get(name)
    return None if row is None else _class_of(row)


_classes: dict[str, type[Vendor]] = {}


def _class_of(row: Row) -> type[Vendor]:
    found = _classes.get(row.name)
    if found is None or found.row is not row:
        about = {"row": row, "url": row.base_url, "evidence": row.source, "__doc__": row.note or row.title}
        _classes[row.name] = found = type(row.name, (Vendor,), about)
    return found
