"""The contract of a vendor's wire and of its readers and writers; and the lookup of a wire by name: a folder of ``wire/``.

A wire's folder is a value of the type ``Wire``: its functions are the methods. Each declares that in ``_IMPLEMENTS`` of its
``__init__.py``, so that mypy reports members that are missing or have another signature. ``vendor`` is whose opaque parts
(signatures, encrypted reasoning) a body holds: a request contains only those of the vendor that receives it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, runtime_checkable

from msgspec import Struct

from ..errors import BadInput
from ..events import Finish, Start, Text

if TYPE_CHECKING:
    from ..events import Event, Usage
    from ..types import ChatRequest
    from .faults import Fault
    from .field import SupportTable
    from .limits import ReaderLimits
    from .losses import Loss
    from .plain_reply import PlainReply


class Reader(Protocol):
    """Reads the bytes of one reply into events, without I/O. It never raises: an error is reported as a ``Finish``.

    After the ``Finish``, ``done`` is true and further bytes are ignored.
    """

    done: bool

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes; it may be cut anywhere."""

    def end(self) -> list[Event]:
        """Call this at the end of the body: the last events, which end with a ``Finish`` unless one was returned before."""


class Writer(Protocol):
    """Writes the events of one answer as bytes. If ``streams`` is false, all of it is held until ``end``.

    ``status``, ``content_type`` and ``headers`` are read before the first bytes: of a stream at once, otherwise after
    ``end``, so that a failure can still set its status.
    """

    streams: bool
    status: int
    content_type: str
    headers: list[tuple[str, str]]

    def write(self, events: list[Event]) -> bytes:
        """The bytes of these events, ``b""`` if there are none yet. The last event of an answer is its ``Finish``."""

    def end(self) -> bytes:
        """The end of the body, after the ``Finish`` was written."""


class WritesTextPieces(Protocol):
    """A member that writers of streams may have."""

    def text_piece(self, text: str) -> bytes:
        """What ``write`` returns for a ``Text`` of the first answer alone. ``text`` is not empty."""


class WritesPlain(Protocol):
    """A member that writers of whole answers may have."""

    def plain(self, reply: PlainReply) -> bytes:
        """What ``write`` and ``end`` return for the events of this reply."""


ReplyReader: TypeAlias = Reader
"""``Reader`` for use in classes with a member of that name."""


class Wire(Protocol):
    """A vendor's API as pure functions, both halves."""

    @property
    def NAME(self) -> str:  # noqa: N802  # a constant of a module
        """The name in configurations: ``openai-chat``."""

    @property
    def VENDOR(self) -> str:  # noqa: N802
        """The vendor whose opaque parts have no tag on this wire: the vendor that designed it."""

    @property
    def SUPPORT(self) -> SupportTable:  # noqa: N802
        """What happens to each field of a request."""

    # The client side.

    def adjusted(self, request: ChatRequest, vendor: str = ...) -> tuple[ChatRequest, list[Loss]]:
        """The request as the API accepts it, and the losses of that. ``request`` is not changed.

        For APIs that answer 400 to requests that they could answer after a small change. Separate from ``write_request``, which
        writes the request unchanged. Raises ``BadInput`` for a request that no change makes acceptable.
        """

    def write_request(self, request: ChatRequest, vendor: str = ...) -> dict[str, Any]:
        """The body as a value for JSON. Fields that ``SUPPORT`` drops are omitted without a report.

        Raises ``BadInput`` for a request that is invalid on every wire.
        """

    def path(self, request: ChatRequest) -> str:
        """The path after the base URL, with its query if it has one. Raises ``BadInput`` for an invalid model name."""

    def read_reply(self, body: bytes, vendor: str = ..., limits: ReaderLimits = ...) -> list[Event]:
        """The events of a whole reply; the last is its ``Finish``. Never raises."""

    def Reader(self, vendor: str = ..., limits: ReaderLimits = ...) -> ReplyReader:  # noqa: N802  # a class
        """A reader of a streamed reply."""

    def read_fault(self, status: int, body: bytes) -> Fault:
        """The error that a response other than 2xx reports. Never raises."""

    # The server side.

    def read_request(
        self, body: bytes, model: str | None = ..., stream: bool | None = ..., limits: ReaderLimits = ...
    ) -> ChatRequest:
        """The request in a body; ``model`` and ``stream`` are from the path if this wire has them there.

        Raises ``BadInput`` naming the field.
        """

    def writer(self, request: ChatRequest, id: str, created: int, model: str | None = ...) -> Writer:  # noqa: A002
        """A writer of the answer to ``request``, which streams if the request does.

        ``id`` is the reply's id without the wire's prefix, ``created`` is in seconds since 1970, ``model`` is the name in the
        answer if it differs from the request's.
        """

    def write_fault(self, fault: Fault) -> bytes:
        """The body of a response other than 2xx."""


@runtime_checkable
class Continues(Protocol):
    """A wire whose API accepts the beginning of an answer as a last assistant message."""

    def continues(self, model: str) -> bool:
        """Whether this model accepts it."""


@runtime_checkable
class Counts(Protocol):
    """A wire whose API counts the tokens of a request, both halves."""

    def count_path(self, request: ChatRequest) -> str:
        """The path of the token count after the base URL. Raises ``BadInput`` for an invalid model name."""

    def write_count_request(self, request: ChatRequest, vendor: str = ...) -> dict[str, Any]:
        """The body that asks for the token count of ``request``. Raises as ``write_request`` does."""

    def read_count(self, body: bytes, limits: ReaderLimits = ...) -> int:
        """The token count in a response. Raises ``BadReply``."""

    def read_count_request(self, body: bytes, model: str | None = ..., limits: ReaderLimits = ...) -> ChatRequest:
        """The request whose tokens to count. Raises ``BadInput`` naming the field."""

    def write_count(self, tokens: int) -> bytes:
        """The response to such a request."""


@runtime_checkable
class ReadsStreamsWhole(Protocol):
    """A wire that reads the usual stream at once, where all of it has come."""

    def usual_stream(self, body: bytes) -> list[Event] | None:
        """What a new ``Reader`` reads of ``body``, which ends the reply; ``None`` for a body that is to be read by one."""

    def text_stream(self, body: bytes) -> TextStream | None:
        """What these events say, of which there is always a text."""


class TextStream(Struct):
    """A stream that is a text in pieces and nothing else, and came to its end."""

    id: str | None
    model: str | None
    """As in ``Start``."""
    texts: list[str]
    """The pieces; at least one."""
    reason: str
    usage: Usage | None

    def events(self, *, has_start: bool = True) -> list[Event]:
        """The events of the stream, the last its ``Finish``. ``has_start``: whether a ``Start`` is the first."""
        events: list[Event] = [Start(self.id, self.model)] if has_start else []
        events += [Text(text) for text in self.texts]
        if self.usage is not None:
            events.append(self.usage)
        events.append(Finish("complete", self.reason))
        return events


class TextAnswer(Struct, gc=False):
    """A whole reply that is one text and nothing else, came to its end, and has its counts."""

    id: str | None
    model: str | None
    """As in ``Start``."""
    text: str
    reason: str
    usage: Usage


@runtime_checkable
class ReadsTextAnswers(Protocol):
    """A wire that reads the usual whole reply without its events."""

    def text_answer(self, body: bytes) -> TextAnswer | None:
        """What ``read_reply`` reads of ``body``; ``None`` for any other reply."""


@runtime_checkable
class WritesText(Protocol):
    """A wire that writes a whole answer that is one text without a writer."""

    def write_text(self, text: str, usage: Usage, finish: Finish, id: str, created: int, model: str) -> bytes:  # noqa: A002
        """The body that ``writer`` returns for this text, these counts and this complete end."""


_SITES = "sites"
"""The folder of chat sites' plugins, which are not vendors' APIs."""


@cache
def names() -> tuple[str, ...]:
    """The names of all wires."""
    package = import_module(__package__)
    folders = (info.name for info in iter_modules(package.__path__) if info.ispkg and info.name != _SITES)
    return tuple(sorted(name.replace("_", "-") for name in folders))


@cache
def wire_named(name: str) -> Wire:
    """The wire of this name. Raises ``BadInput``, which lists the names."""
    if name not in names():
        raise BadInput(f"no wire {name!r}; there are {', '.join(names())}", field="wire")
    return cast(Wire, import_module(f".{name.replace('-', '_')}", __package__))


@lru_cache(maxsize=256)
def continues(name: str, model: str) -> bool:
    """Whether a model on this wire continues a last assistant message. Raises as ``wire`` does."""
    module: object = wire_named(name)
    return isinstance(module, Continues) and module.continues(model)


@cache
def counting(name: str) -> Counts | None:
    """The wire of this name if its API counts tokens, otherwise ``None``. Raises as ``wire`` does."""
    module: object = wire_named(name)
    return module if isinstance(module, Counts) else None


@cache
def usual_streams(name: str) -> Callable[[bytes], list[Event] | None] | None:
    """``usual_stream`` of the wire of this name, if it has it. Raises as ``wire`` does."""
    module: object = wire_named(name)
    return module.usual_stream if isinstance(module, ReadsStreamsWhole) else None


@cache
def text_streams(name: str) -> Callable[[bytes], TextStream | None] | None:
    """``text_stream`` of the wire of this name, if it has it. Raises as ``wire`` does."""
    module: object = wire_named(name)
    return module.text_stream if isinstance(module, ReadsStreamsWhole) else None


@cache
def text_answers(name: str) -> Callable[[bytes], TextAnswer | None] | None:
    """``text_answer`` of the wire of this name, if it has it. Raises as ``wire`` does."""
    module: object = wire_named(name)
    return module.text_answer if isinstance(module, ReadsTextAnswers) else None
