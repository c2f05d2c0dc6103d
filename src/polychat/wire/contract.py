"""What every vendor's wire is, what reads and writes a reply on it, and finding a wire by name: it is a folder of this room.

A wire's folder is a value of the type ``Wire``: its functions are the methods. Each says so of itself, in ``_FITS`` of its
``__init__.py``, and mypy finds what it lacks, or has with another signature. ``vendor`` is whose opaque parts (signatures,
encrypted reasoning) a body holds: only those of the vendor that is asked go into a request.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, runtime_checkable

from ..errors import BadInput

if TYPE_CHECKING:
    from ..events import Event
    from ..types import ChatRequest
    from .faults import Fault
    from .field import SupportTable
    from .limits import ReaderLimits
    from .losses import Loss


class Reader(Protocol):
    """Bytes of one reply into events, without I/O. It never raises: what goes wrong is a ``Finish`` with its error.

    After the ``Finish``, ``done`` is true and further bytes are ignored.
    """

    done: bool

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes; cut anywhere."""

    def end(self) -> list[Event]:
        """Call this when the body is over: the last events, which end with a ``Finish`` unless one was given before."""


class Writer(Protocol):
    """Events of one answer into bytes. With ``streams`` false everything is held and ``end`` gives the whole.

    ``status``, ``content_type`` and ``headers`` are read before the first bytes: at once for a stream; after ``end`` for
    the rest, so that a failure may still choose its status.
    """

    streams: bool
    status: int
    content_type: str
    headers: list[tuple[str, str]]

    def write(self, events: list[Event]) -> bytes:
        """The bytes of these events, ``b""`` if none yet. The last event of an answer is its ``Finish``."""

    def end(self) -> bytes:
        """What closes the body after the ``Finish`` was written."""


ReplyReader: TypeAlias = Reader
"""``Reader`` where a member has that name."""


class Wire(Protocol):
    """A vendor's API as pure functions, both halves."""

    @property
    def NAME(self) -> str:  # noqa: N802  # a constant of a module
        """The name in configurations: ``openai-chat``."""

    @property
    def VENDOR(self) -> str:  # noqa: N802
        """The vendor whose opaque parts travel untagged on this wire: its inventor."""

    @property
    def SUPPORT(self) -> SupportTable:  # noqa: N802
        """What becomes of each field of a request."""

    # The half that asks.

    def adjusted(self, request: ChatRequest, vendor: str = ...) -> tuple[ChatRequest, list[Loss]]:
        """The request as the API accepts it, and the losses of that. ``request`` is not changed.

        For APIs that answer 400 to requests that they could answer after a small change. Separate from ``write_request``, which
        writes what it is given. Raises ``BadInput`` for a request that cannot be changed so.
        """

    def write_request(self, request: ChatRequest, vendor: str = ...) -> dict[str, Any]:
        """The body as a value for JSON. What ``SUPPORT`` drops is left out without a report.

        Raises ``BadInput`` for a request that makes no sense on any wire.
        """

    def path(self, request: ChatRequest) -> str:
        """The path after the base URL, with its query if it has one. Raises ``BadInput`` for an invalid model name."""

    def read_reply(self, body: bytes, vendor: str = ..., limits: ReaderLimits = ...) -> list[Event]:
        """The events of a whole reply; the last is its ``Finish``. Never raises."""

    def Reader(self, vendor: str = ..., limits: ReaderLimits = ...) -> ReplyReader:  # noqa: N802  # a class
        """A reader of a streamed reply."""

    def read_fault(self, status: int, body: bytes) -> Fault:
        """The error that a response other than 2xx reports. Never raises."""

    # The half that answers.

    def read_request(
        self, body: bytes, model: str | None = ..., stream: bool | None = ..., limits: ReaderLimits = ...
    ) -> ChatRequest:
        """The request in a body; ``model`` and ``stream`` are what this wire has in the path.

        Raises ``BadInput`` naming the field.
        """

    def writer(self, request: ChatRequest, id: str, created: int, model: str | None = ...) -> Writer:  # noqa: A002
        """A writer of the answer to ``request``, as a stream if it asks for one.

        ``id`` is the reply's (without the wire's prefix), ``created`` in seconds since 1970, ``model`` the name to answer under
        where it is not the request's.
        """

    def write_fault(self, fault: Fault) -> bytes:
        """The body of a response other than 2xx."""


@runtime_checkable
class GoesOn(Protocol):
    """A wire whose API accepts the beginning of an answer as a last assistant message."""

    def goes_on(self, model: str) -> bool:
        """Whether this model accepts it."""


@runtime_checkable
class Counts(Protocol):
    """A wire whose API counts the tokens of a request, both halves."""

    def count_path(self, request: ChatRequest) -> str:
        """The path after the base URL at which tokens are counted. Raises ``BadInput`` for an invalid model name."""

    def write_count_request(self, request: ChatRequest, vendor: str = ...) -> dict[str, Any]:
        """The body that asks how many tokens ``request`` is. Raises as ``write_request`` does."""

    def read_count(self, body: bytes, limits: ReaderLimits = ...) -> int:
        """The tokens that an answer reports. Raises ``BadReply``."""

    def read_count_request(self, body: bytes, model: str | None = ..., limits: ReaderLimits = ...) -> ChatRequest:
        """The request whose tokens to count. Raises ``BadInput`` naming the field."""

    def write_count(self, tokens: int) -> bytes:
        """The answer to such a request."""


_SITES = "sites"
"""The folder for plugins of web sites, which are not vendors' APIs."""


@cache
def names() -> tuple[str, ...]:
    """The names of all wires."""
    package = import_module(__package__)
    folders = (info.name for info in iter_modules(package.__path__) if info.ispkg and info.name != _SITES)
    return tuple(sorted(name.replace("_", "-") for name in folders))


@cache
def wire(name: str) -> Wire:
    """The wire of this name. Raises ``BadInput``, which lists the names."""
    if name not in names():
        raise BadInput(f"no wire {name!r}; there are {', '.join(names())}", field="wire")
    return cast(Wire, import_module(f".{name.replace('-', '_')}", __package__))


@lru_cache(maxsize=256)
def goes_on(name: str, model: str) -> bool:
    """Whether a model on this wire continues a last assistant message. Raises as ``wire``."""
    module: object = wire(name)
    return isinstance(module, GoesOn) and module.goes_on(model)


@cache
def counting(name: str) -> Counts | None:
    """The wire of this name if its API counts tokens. Raises as ``wire`` does."""
    module: object = wire(name)
    return module if isinstance(module, Counts) else None
