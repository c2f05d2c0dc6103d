"""Responses over WebSocket: one connection, on which each ``response.create`` is answered as a ``POST`` of its own.

Wire facts, by OpenAI's guide "WebSocket mode", the types ``responses_client_event`` and ``responses_server_event`` of its SDK,
and Codex's client:

- A message is ``{"type": "response.create", …}`` with the members of the body of ``POST /v1/responses`` but ``stream``.
- Each event of the answer is one text frame: the JSON object that is the event's data over HTTP.
- A failure before the first event is ``{"type": "error", "status": 400, "error": {…}}``. Codex reads its ``headers`` beside
  ``error``, the SDK in it.
- ``generate: false`` prepares a request without an answer, and gives an id to go on from.
- ``stream_id``, 1 to 256 letters of ``[A-Za-z0-9_.-]``, names a lane. Requests of one lane run in their order, those of
  different lanes at the same time; a lane's events repeat it. There are 32 names, and 16 answers at a time; the rest waits.
- The connection remembers the latest response of each lane, stored or not: a request whose ``previous_response_id`` names one
  sends only what is new. What another lane goes on from is bound when that request begins. A failure with 4xx or 5xx makes the
  lane forget what it went on from.
- Codex sends ``traceparent`` as ``ws_request_header_traceparent`` of ``client_metadata``.
- ``response.steer`` is answered by ``response.steer.failed``, which has its input: clients send that in a ``response.create``.
- A connection lasts 60 minutes, then a request gets ``websocket_connection_limit_reached``.

The backend is asked over HTTP: a remembered response becomes the whole conversation in ``input``, which any backend takes.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from ....errors import BadInput, FaultKind, redact
from ....http.server.asgi import headers_in
from ....http.server.cycle import header_lines
from ....http.server.websocket import MessageCycle, WebSocketConnection, refusal_of, upgraded
from ....wire.faults import Fault
from ....wire.framing import Events, FramingError
from ....wire.json_text import encoded
from ...admission.bodies import BodyMemoryFull, Share
from ...context import RequestContext
from ...endpoint import no_websocket
from ...responder import Refused, retry_after
from ...service import Service
from ..bodies import Object, shallow, value_of
from ..dialect import Dialect
from .conversation import Remembered, conversation, sendable

_MOST_AT_A_TIME = 16
_MOST_NAMED = 32
_MOST_WAITING = 64
"""Requests that wait; then the connection is not read until one of them begins."""
_LONGEST_EVENT = 64 * 1024 * 1024
"""Bytes: the last event repeats the whole reply."""
_STREAM_ID = re.compile("[A-Za-z0-9_.-]{1,256}", re.ASCII)
_HANDSHAKE = (
    *(b"connection", b"upgrade", b"origin", b"content-", b"transfer-", b"expect", b"x-request-id", b"sec-"),
    b"idempotency-",
)
"""Prefixes of headers that belong to the upgrade and not to a message."""
_BETA, _OURS = b"openai-beta", b"responses_websockets="
_HTTP_ONLY = (b"content-", b"cache-control", b"connection", b"x-accel")
"""Prefixes of headers of an answer that mean nothing outside HTTP."""
_UNNAMED, _ENDS = b'"previous_response_id":null', (b"response.completed", b"response.incomplete")
_NAMED = b"event: "
_NOT_FOUND = "previous_response_not_found"
_LOSSES = "x-polychat-losses"
_TRACEPARENT = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


class _Response(msgspec.Struct):
    id: str = ""
    output: msgspec.Raw = msgspec.Raw(b"[]")


class _Ended(msgspec.Struct):
    """The last event of an answer, as far as it is remembered."""

    type: str = ""
    response: _Response | None = None


_ended = msgspec.json.Decoder(_Ended)
_whole = msgspec.json.Decoder(dict[str, msgspec.Raw])
_failure = msgspec.json.Decoder(dict[str, dict[str, Any]])


class Lane:
    """Requests that run one after the other."""

    __slots__ = ("latest", "name", "running", "waiting")

    def __init__(self, name: str | None) -> None:
        self.name = name
        """``None`` for the one that requests without a name are in."""
        self.waiting: deque[tuple[Object, int]] = deque()
        self.running: Create | None = None
        self.latest: Remembered | None = None


def open_session(context: RequestContext, dialect: Dialect) -> None:
    """Go over to WebSocket. Raises ``Refused``."""
    cycle = context.responder.cycle
    if cycle is None or cycle.connection.early_bytes_sent:  # to a client that announced that it sends nothing more
        raise no_websocket(context, "use POST")
    if (refusal := refusal_of(cycle.scope)) is not None:
        raise Refused(Fault(refusal.message, "invalid_request", refusal.status), refusal.headers)
    lines = header_lines([(b"x-request-id", context.record.request_id.encode())])
    service, scope = context.service, dict(cycle.scope)
    context.responder.switch_protocol()
    upgraded(cycle, context.runtime.gateway.websocket, lines, lambda socket: ResponsesSession(socket, service, dialect, scope))


class ResponsesSession:
    """One connection's requests."""

    def __init__(self, socket: WebSocketConnection, service: Service, dialect: Dialect, scope: dict[str, Any]) -> None:
        self.socket, self.service, self.dialect = socket, service, dialect
        self._scope = _scope_of_messages(scope)
        self._lanes: dict[str | None, Lane] = {}
        self._ready: deque[Lane] = deque()
        """Lanes with a request that may begin."""
        self._running: set[Create] = set()
        self._waiting = 0
        total = service.runtime.limits.body_total
        self._arriving, self._queued, self._kept = (Share(service.bodies, total) for _ in range(3))

    # The connection's side.

    @property
    def is_idle(self) -> bool:
        return not self._running and not self._waiting

    def hold(self, size: int) -> bool:
        self._arriving.release()
        try:
            self._arriving.take(size)
        except BodyMemoryFull:
            return False
        return True

    def message(self, data: bytes) -> None:
        name: str | None = None
        try:
            fields = shallow(data, self.service.runtime.limits)
            name = _stream_id(fields)
            kind = value_of(fields, "type")
            if kind == "response.steer":
                self.socket.send(_not_steered(fields))
                return
            if kind != "response.create":
                raise BadInput(f"type is {redact(str(kind), 80)!r}; it must be response.create", field="type")
            if self.socket.is_old:
                raise _refused("websocket_connection_limit_reached", "the connection is too old: open another one", "")
            lane = self._lane(name)
            self._queue(len(data))
        except (BadInput, Refused, BodyMemoryFull) as error:
            self.refuse(_fault_of(error), name)
            self.socket.end_when_idle()
            return
        if lane.running is None and not lane.waiting:
            self._ready.append(lane)
        lane.waiting.append((fields, len(data)))
        self._waiting += 1
        self._begin()
        self._hold_back()

    def _queue(self, size: int) -> None:
        """A message of so many bytes waits. Raises ``BodyMemoryFull``."""
        try:
            self._queued.take(size)
        except BodyMemoryFull:
            self._queued.take(-size)
            raise

    def left(self) -> None:
        for create in list(self._running):
            create.disconnect()
        self._ready.clear()
        self._waiting = 0
        self._lanes.clear()
        for share in (self._queued, self._kept):
            share.release()

    def write_paused(self, paused: bool) -> None:
        for create in self._running:
            create.write_paused(paused)

    # Requests

    def _lane(self, name: str | None) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            if name is not None and len(self._lanes) - (None in self._lanes) >= _MOST_NAMED:
                message = (
                    f"the connection has {_MOST_NAMED} stream ids, which is the limit: use one of them, or another connection"
                )
                raise _refused("websocket_stream_limit_reached", message, "stream_id")
            lane = self._lanes[name] = Lane(name)
        return lane

    def _begin(self) -> None:
        while self._ready and len(self._running) < _MOST_AT_A_TIME:
            lane = self._ready.popleft()
            fields, size = lane.waiting.popleft()
            self._waiting -= 1
            self._queued.take(-size)
            self._start(lane, fields)

    def _start(self, lane: Lane, fields: Object) -> None:
        try:
            name = value_of(fields, "previous_response_id")
            previous = self._remembered(name) if isinstance(name, str) else None
            items = conversation(fields, previous)
            scope = self._scope_for(fields)
        except (BadInput, msgspec.DecodeError) as error:
            self.refuse(_fault_of(error), lane.name)
            self._next(lane)
            return
        create = Create(self, lane, scope, encoded(fields), previous, items)
        lane.running = create
        self._running.add(create)
        self.socket.answer_in_task(create, self.service)
        assert create.task is not None
        create.task.add_done_callback(lambda _: self._over(create))

    def _over(self, create: Create) -> None:
        self._running.discard(create)
        create.lane.running = None
        self._next(create.lane)
        self._begin()
        self._hold_back()
        self.socket.touch()

    def _next(self, lane: Lane) -> None:
        if lane.waiting and self.socket.is_open:
            self._ready.append(lane)

    def _hold_back(self) -> None:
        limit = self.service.runtime.limits.body
        self.socket.hold_back(self._waiting >= _MOST_WAITING or self._queued.size > limit)

    def _scope_for(self, fields: Object) -> dict[str, Any]:
        scope = self._scope
        match value_of(fields, "client_metadata"):
            case {"ws_request_header_traceparent": str(trace)} if _TRACEPARENT.fullmatch(trace):
                header = (b"traceparent", trace.encode("ascii"))
                return _with_headers(scope, [*(pair for pair in scope["headers"] if pair[0] != header[0]), header])
        return _with_headers(scope, list(scope["headers"]))

    # What is remembered

    def _remembered(self, name: str) -> Remembered | None:
        latest = (lane.latest for lane in self._lanes.values())
        return next((response for response in latest if response is not None and response.name == name), None)

    def remember(self, lane: Lane, response: Remembered | None) -> None:
        """``response`` is the lane's latest, if there is room for it."""
        if not self.socket.is_open:
            return
        if lane.latest is not None:
            self._kept.take(-len(lane.latest.items))
        lane.latest = None
        if response is None:
            return
        size = len(response.items)
        if self._kept.size + size > self.service.runtime.gateway.store.bytes:
            return
        try:
            self._kept.take(size)
        except BodyMemoryFull:
            self._kept.take(-size)
            return
        lane.latest = response

    # What is sent

    def refuse(self, fault: Fault, lane: str | None) -> None:
        """Send the error event of a request that the gateway itself refuses."""
        status, body = self.dialect.refusal(fault)
        lines = b"" if fault.retry_after is None else header_lines(retry_after(fault.retry_after))
        self.failure(status, body, lines, lane)

    def failure(self, status: int, body: bytes, lines: bytes, lane: str | None) -> None:
        """Send an error event from the status, body and headers that HTTP would have."""
        try:
            error = _failure.decode(body)["error"]
        except (msgspec.DecodeError, KeyError):
            message = redact(body.decode("utf-8", "replace"), 400)
            error = {"type": "server_error", "code": None, "message": message, "param": None}
        if error.get("code") == _NOT_FOUND:  # another status and type than over HTTP
            status, error["type"] = 400, "invalid_request_error"
        event: dict[str, Any] = {"type": "error", "status": status}
        if headers := _headers_of(lines):
            error["headers"] = event["headers"] = headers
        if lane is not None:
            event["stream_id"] = lane
        self.socket.send(encoded({**event, "error": error}))


class Create(MessageCycle):
    """One ``response.create``, and its answer."""

    __slots__ = ("_body", "_events", "_items", "_losses_sent", "_previous", "_session", "lane")

    def __init__(
        self,
        session: ResponsesSession,
        lane: Lane,
        scope: dict[str, Any],
        body: bytes,
        previous: Remembered | None,
        items: bytes,
    ) -> None:
        """``items`` is the conversation that ``body`` asks to go on with."""
        super().__init__(session.socket, scope, body)
        self.lane = lane
        self._session, self._previous, self._items = session, previous, items
        self._events: Events | None = None
        self._body = b""
        self._losses_sent = False

    def taken(self, data: bytes, more: bool) -> None:
        if self.status != 200:
            self._body += data
            if not more:
                self._forget()
                self._session.failure(self.status, self._body, self.lines, self.lane.name)
            return
        if self._events is None:
            if more and data.startswith(_NAMED) and data.endswith(b"}\n\n") and data.count(b"\n") == 3:
                # One event, as our own writers and most backends send them.
                self._send_event(data[data.index(b"\ndata: {") + 7 : -2])
                return
            self._events = Events(_LONGEST_EVENT, _LONGEST_EVENT)
        try:
            events = self._events.feed(data)
            if not more:
                events += self._events.end()
        except FramingError as error:
            self.failed(502, str(error))
            self.disconnect()
            return
        for _, payload in events:
            if _is_object(payload):
                self._send_event(payload)

    def failed(self, status: int, message: str) -> None:
        self.complete = True
        self._forget()
        kind: FaultKind = "overloaded" if status == 503 else "server"
        self._session.refuse(Fault(message, kind, status), self.lane.name)

    def _send_event(self, payload: bytes) -> None:
        if self._previous is not None and _UNNAMED in payload:
            named = b'"previous_response_id":' + encoded(self._previous.name)
            payload = payload.replace(_UNNAMED, named, 1)
        if any(end in payload for end in _ENDS):
            self._remember_end(payload)
        if self.lane.name is not None:
            payload = b'{"stream_id":"%b",%b' % (self.lane.name.encode(), payload[1:])
        self._session.socket.send(payload)
        if not self._losses_sent:
            self._losses_sent = True
            self._send_losses()

    def _send_losses(self) -> None:
        """Send as an event what HTTP has in a header: the fields that the backend does not get.

        It follows the first event, because some clients expect that one to be ``response.created``.
        """
        if (losses := _headers_of(self.lines).get(_LOSSES)) is not None:
            event = {"type": "polychat:losses", "losses": losses}
            self._session.socket.send(encoded(event if self.lane.name is None else {**event, "stream_id": self.lane.name}))

    def _remember_end(self, payload: bytes) -> None:
        """Remember the response, if this is its end."""
        try:
            event = _ended.decode(payload)
        except msgspec.DecodeError:
            return
        if event.type.encode() in _ENDS and event.response is not None and event.response.id:
            items = [part for part in (self._items, sendable(bytes(event.response.output))) if part]
            self._session.remember(self.lane, Remembered(event.response.id, b",".join(items)))

    def _forget(self) -> None:
        """Forget the response that a failed request continued, unless another lane may continue it too."""
        if self._previous is not None and self._previous is self.lane.latest:
            self._session.remember(self.lane, None)


def _not_steered(fields: Object) -> bytes:
    """Reports that a response is not steered, and gives the input back for a ``response.create``."""
    message = "responses are not steered here: send the input in a response.create once the response is complete"
    error = {"type": "invalid_request_error", "code": "steering_not_supported", "message": message}
    steer = {name: fields[name] for name in ("previous_response_id", "input") if name in fields}
    return encoded({"type": "response.steer.failed", "sequence_number": 0, "steer": steer, "error": error})


def _fault_of(error: Exception) -> Fault:
    if isinstance(error, Refused):
        return error.fault
    if isinstance(error, BodyMemoryFull):
        return Fault(str(error), "overloaded", 503, retry_after=1.0)
    return Fault(str(error), "invalid_request", 400, None, error.field if isinstance(error, BadInput) else None)


def _refused(code: str, message: str, field: str) -> Refused:
    return Refused(Fault(message, "invalid_request", 400, code, field or None))


def _stream_id(fields: Object) -> str | None:
    name = value_of(fields, "stream_id")
    if name is None:
        return None
    if not isinstance(name, str) or not _STREAM_ID.fullmatch(name):
        raise _refused("invalid_stream_id", "stream_id must be 1 to 256 letters, digits, _, - and .", "stream_id")
    return name


def _scope_of_messages(scope: Mapping[str, Any]) -> dict[str, Any]:
    """The scope of a message's request, from that of the upgrade."""
    headers = [(name, value) for name, value in scope["headers"] if not name.startswith(_HANDSHAKE)]
    betas = [_without_ours(value) if name == _BETA else value for name, value in headers]
    headers = [(name, value) for (name, _), value in zip(headers, betas, strict=True) if value]
    headers.append((b"content-type", b"application/json"))
    return _with_headers({**scope, "method": "POST"}, headers)


def _without_ours(value: bytes) -> bytes:
    """``openai-beta`` without the part for WebSocket: it is forwarded to backends, which are called over HTTP."""
    return b",".join(beta for beta in value.split(b",") if not beta.strip().startswith(_OURS))


def _with_headers(scope: Mapping[str, Any], headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {**scope, "headers": headers, "polychat.fields": dict(headers)}


def _is_object(payload: bytes) -> bool:
    """Whether it is a whole JSON object; an event that broke off and the ``[DONE]`` of some servers are not."""
    try:
        _whole.decode(payload)
    except msgspec.DecodeError:
        return False
    return True


def _headers_of(lines: bytes) -> dict[str, str]:
    """The headers of an answer that mean something without HTTP."""
    pairs = ((name, value) for name, value in headers_in(lines) if not name.startswith(_HTTP_ONLY)) if lines else ()
    return {name.decode(): value.decode("latin-1") for name, value in pairs}
