"""A dialect: one vendor's API as clients use it, and how its requests are read."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from msgspec import Struct

from ...config.settings import Limits
from ...errors import BadInput
from ...events import Finish, Usage
from ...types import ChatRequest
from ...wire import checks
from ...wire.contract import TextStream, Wire, Writer
from ...wire.faults import Fault
from ...wire.limits import LIMITS, ReaderLimits
from ...wire.long_strings import LEAST
from ...wire.passthrough import Reading, StreamMonitor, ending_in
from ...wire.placeholders import Placeholders
from .bodies import Object, Opened, open_body, value_of, with_model
from .plain_texts import PlainTexts

if TYPE_CHECKING:
    from ...routing.provider_preferences import ProviderPreferences
    from ..observe.record import Record
    from ..runtime import Runtime
    from ..service import Service

NO_HEADERS: Mapping[bytes, bytes] = MappingProxyType({})


OPENED = replace(LIMITS, depth=sys.maxsize)
"""Limits for a body that was opened, whose depth was checked then."""
RAW = replace(OPENED, raw_schemas=True)
"""The same, for readers that support large schemas as JSON."""


class InboundRequest(Protocol):
    """The request that a dialect reads a chat from."""

    @property
    def opened(self) -> Opened | None: ...

    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def record(self) -> Record:
        """May be made when it is first read: ``request_id`` does not need it."""
        ...

    @property
    def request_id(self) -> str: ...
    @property
    def runtime(self) -> Runtime: ...
    @property
    def service(self) -> Service: ...


class InboundChat(Struct, eq=False):
    """A chat request as its dialect read it: enough to route it and to pass it through, and the whole request when it is
    needed.
    """

    dialect: Dialect
    body: bytes
    fields: Object
    """The body's top-level fields, each still JSON."""
    placeholders: Placeholders | None
    """The detached parts of the body and its fields, which ``restored`` puts back."""
    model: str
    stream: bool
    limits: Limits
    may_pass: bool
    """Whether it may be sent to a backend of the same wire unchanged."""
    reading: ReaderLimits = RAW
    """The limits for a reader of ``body``."""
    models: list[str] | None = None
    """The targets in order, if the request names more than ``model``."""
    lost: tuple[str, ...] = ()
    """Routing fields of the request that the gateway does not support."""
    preferences: ProviderPreferences | None = None
    """The providers that the client prefers."""
    wants_usage: bool = True
    """Whether the client asked for a stream's usage; only on wires where it must be requested."""
    own_form: str = ""
    """Which of its dialect's answer formats, if there are several, the request uses."""
    own: Any = None
    """Data of the dialect's own."""
    prompt_size: int | None = None
    """As ``estimating.prompt_size`` of the request; ``None`` if it must be counted."""
    _request: ChatRequest | None = None

    def request(self) -> ChatRequest:
        """The request, read once; long base64 may be detached, and large schemas may be JSON. Raises ``BadInput``."""
        if self._request is None:
            try:
                self._request = _read(self)
            except BadInput:
                if self.placeholders is None:
                    raise
                self._request = self.with_media()  # reports an error in the original; else a placeholder caused it
        return self._request

    def whole(self) -> ChatRequest:
        """The request without placeholders and with all schemas decoded, for code that inspects it. Raises ``BadInput``."""
        return self.request() if self.size <= LEAST else self._read_again(OPENED)

    def with_media(self) -> ChatRequest:
        """The request without placeholders; large schemas may be JSON. Raises ``BadInput``."""
        return self.request() if self.placeholders is None else self._read_again(self.reading)

    def original_body(self) -> bytes:
        """The original body."""
        aside = self.placeholders
        return self.body if aside is None else aside.body if self.body is aside.short else aside.restored(self.body)

    def _read_again(self, limits: ReaderLimits) -> ChatRequest:
        again = copy(self)
        again.reading, again.body, again.placeholders = limits, self.original_body(), None
        return _read(again)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body if self.placeholders is None else self.placeholders.body)

    def request_for(self, model: str, *, whole: bool = False) -> ChatRequest:
        """The request for a backend's ``model``; ``whole``: without placeholders."""
        read = self.whole() if whole else self.request()
        request = read.__copy__()
        request.model = model
        if self.stream:
            request.stream_usage = True
        return request


class Dialect:
    """One dialect. A subclass names its wire; most need nothing else."""

    name: ClassVar[str]
    wire: ClassVar[Wire]
    heartbeat: ClassVar[bytes] = b": waiting\n\n"
    """The heartbeat in a stream while the backend is silent; empty if the dialect has none."""
    stream_type: ClassVar[str] = "text/event-stream"
    """The content type of its streams."""
    piece_end: ClassVar[bytes] = b"\n\n"
    """The end of each piece of its streams."""
    id_header: ClassVar[bytes] = b""
    """The header of its clients for a request's id, if it is not ``x-request-id``."""
    models_path: ClassVar[str] = "/v1/models"
    """The path of its list of models."""
    model_member: ClassVar[str] = "model"
    """The member of its replies that holds the model's name."""
    compares: ClassVar[bool] = False
    """Whether its clients compare the model in a reply with the one in the request. If not, replies pass unchanged."""
    passes: ClassVar[bool] = True
    """Whether requests may be sent to a backend of the same wire unchanged."""
    writes_text: ClassVar[bool] = False
    """Whether it has ``write_text`` and ``write_text_stream``."""
    streams: ClassVar[bool] = False
    """Whether a request without ``stream`` asks for a stream."""
    forwards: ClassVar[tuple[str, ...]] = ()
    """Headers of the client that are forwarded to a backend of the same wire."""

    _path = ""

    def inbound(self, request: InboundRequest) -> InboundChat:
        """The chat in a request. Raises ``BadInput`` naming the field."""
        limits = request.runtime.limits
        body, fields, placeholders = request.opened or open_body(request.body, limits)
        model = value_of(fields, "model")
        if not isinstance(model, str) or not model:
            raise checks.bad("model", f"text: provider/model, or a name that {self.models_path} lists", model)
        stream = None
        if "stream" in fields and (stream := value_of(fields, "stream")) is not None:
            stream = checks.flag(stream, "stream")
        stream = self.streams if stream is None else stream
        return InboundChat(self, body, fields, placeholders, model, stream, limits, self.passes)

    def read(self, inbound: InboundChat) -> ChatRequest:
        """The whole request. Raises ``BadInput``."""
        return self.wire.read_request(inbound.body, limits=inbound.reading)

    def plain_texts(self, inbound: InboundChat) -> PlainTexts | None:
        """The texts of a request's messages, if they are all that differs between requests that ``read`` reads the same except
        for them; ``None`` for any other request.
        """
        return None

    def writer(self, inbound: InboundChat, ask: ChatRequest, name: str, created: int) -> Writer:
        """The writer of the answer; ``name`` is the reply's id."""
        return self.wire.writer(ask, name, created, inbound.model)

    def write_text(self, inbound: InboundChat, text: str, usage: Usage, finish: Finish, name: str, created: int) -> bytes:
        """What ``writer`` writes of a whole answer that is one text: see ``WritesText``."""
        raise NotImplementedError

    def write_text_stream(self, inbound: InboundChat, stream: TextStream, name: str, created: int) -> tuple[bytes, str]:
        """What ``writer`` writes of a stream that is one text, and its content type."""
        raise NotImplementedError

    def path(self, model: str, *, stream: bool) -> str:
        """The path at a backend of the same wire, after its base URL."""
        if not self._path:
            self._path = self.wire.path(ChatRequest(model, [], stream=stream))
        return self._path

    def relayed(self, inbound: InboundChat, model: str, *, usage: bool, fields: Object | None = None) -> bytes:
        """The body for a backend of the same wire, each field once, so that the backend reads the same as was read here.

        ``usage``: request usage at the end of its stream, if that must be requested. ``fields`` replace those of
        the body if they differ.
        """
        return with_model(inbound.fields if fields is None else fields, model)

    def ending(self, body: bytes) -> tuple[Finish, Usage | None, str | None]:
        """The finish, usage and model of a whole reply that is passed through."""
        return ending_in(self.wire.read_reply(body))

    def monitor(self, inbound: InboundChat) -> StreamMonitor:
        """The monitor of a stream that is passed through."""
        return Reading(self.wire.Reader())

    def passed_at_once(self, inbound: InboundChat, body: bytes) -> tuple[bytes, Finish, Usage | None, str | None] | None:
        """What ``monitor`` forwards of a stream that came whole, and its finish, usage and model; ``None`` if ``monitor`` is to
        read it.
        """
        return None

    def continue_stream(self, writer: Writer, monitor: StreamMonitor) -> None:
        """Prepare ``writer`` to end a passed stream that was cut off, as part of the same reply if the dialect shows that."""

    def seam(self, note: str) -> bytes:
        """The marker in a stream that another target continues, for dialects whose clients accept events outside a reply."""
        return f": {note}\n\n".encode("ascii", "replace") if self.heartbeat else b""

    def refusal(
        self, fault: Fault, request_id: str | None = None, headers: Mapping[bytes, bytes] = NO_HEADERS
    ) -> tuple[int, bytes]:
        """Status and body of a failed request with this id and these headers, at ``endpoint`` if there is one."""
        return fault.status, self.wire.write_fault(fault)


def _read(inbound: InboundChat) -> ChatRequest:
    """The request, by its dialect. Reading a large body makes a great many objects, none of them garbage: looking for it
    would double the time. Raises ``BadInput``, also for a call's arguments that are nested deeper than the limit of a
    body: on some wires they are a text in it.
    """
    if len(inbound.body) < _MANY or not gc.isenabled():
        request = inbound.dialect.read(inbound)
    else:
        gc.disable()
        try:
            request = inbound.dialect.read(inbound)
        finally:
            gc.enable()
    checks.check_arguments(request, inbound.limits.depth)
    return request


_MANY = 256 * 1024
"""Bytes of a body above which garbage collection is paused while it is read."""
