"""API vendors, and one's own servers with a vendor's wire: each is a row of data, without a file of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import replace
from functools import lru_cache, partial
from time import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..calls.call import Call, call_to, key_of
from ..calls.info import CallInfo
from ..calls.request import KEYWORDS, request_of
from ..config.vendor_spec import VendorSpec
from ..errors import BackendError, BadInput, NotReady, StatusError, redact
from ..events import Event
from ..types import ChatRequest, Messages, TextPart
from ..wire import embeddings, models
from ..wire.adapting import AS_FUNCTION, AsFunctions, Calls, adapted, without_unreadable
from ..wire.contract import continues, counting, text_answers, text_streams, usual_streams, wire_named
from ..wire.embeddings import Embed, Embeddings
from ..wire.field import SupportTable, emulated
from ..wire.hints import retry_after_of
from ..wire.json_text import sendable
from ..wire.limits import LIMITS, ReaderLimits
from ..wire.models import ModelInfo
from ..wire.raw_schemas import has_raw
from ..worker_threads import in_thread
from .backend import Backend
from .builtin import known
from .compiled import CompiledRequest, is_compilable, replaced_in
from .compiled import compiled as compiled_request
from .direct import DirectRequest
from .fitting import changes, continues_by_request, fitted, fitted_fields, prefilled, shared_extra
from .keys import VendorEndpoint, has_key
from .ready import ReadyRequest, ReadyRequests
from .relay import Relay, RenewedRelay
from .vendor_reply import MAX_REPLY, Sent, VendorReply

if TYPE_CHECKING:
    from ..http.exchange import Exchange
    from ..http.pool.body import RequestBody
    from ..http.pool.connection import PoolConnection
    from ..http.pool.pool import PooledResponse
    from ..http.timeouts import Timeouts

TIMEOUT = 600.0
"""Default timeout of a whole call in seconds: reasoning models take their time."""


class VendorBackend(Backend):
    """The API that ``row`` describes, called through its wire. Options: ``api_key``, and every keyword of ``polychat.ask``.

    ``fixed``: see ``VendorEndpoint``.
    """

    restores = True

    def __init__(self, row: VendorSpec, *, fixed: bool = False) -> None:
        super().__init__(row.name, url=row.base_url, working=True, options=("api_key", *KEYWORDS))
        self.row = row
        self.can = row.can or ("tools",)  # a vendor without a declaration is treated as a usual one
        self._endpoint = VendorEndpoint(row, fixed=fixed)
        self._fixed = fixed
        self._changes = changes(row)
        """Whether a written body must be changed for the vendor."""
        self._relay: Relay | None = None
        self._requests = ReadyRequests(self._endpoint, self.name, self.options, TIMEOUT)

    def answers(
        self, request: ChatRequest, call_info: CallInfo, proxy: str | None = None, **options: Any
    ) -> AsyncGenerator[list[Event], None]:
        return self.replied(request, None, call_info, None, {"proxy": proxy, **options})

    def compiled(self, request: ChatRequest) -> CompiledRequest | None:
        if not is_compilable(request) or not request.model or self._endpoint.command is not None:
            return None
        call_info = CallInfo("report")
        try:
            written, calls, body = self._short(request, call_info, self.tag())
        except BadInput:
            return None
        if calls is not None or call_info.losses:
            return None
        wire, tag = wire_named(self.row.wire), self.tag()
        compiled = compiled_request(body, wire.path(written), replaced_in(request), streamed=bool(written.stream))
        if compiled is not None:
            compiled.new_reader = partial(wire.Reader, vendor=tag, limits=LIMITS)
            compiled.whole = partial(wire.read_reply, vendor=tag)
            name = self.row.wire
            compiled.text_answer, compiled.text_stream = text_answers(name), text_streams(name)
            compiled.usual_stream = usual_streams(name)
        return compiled

    def answers_compiled(
        self, compiled: CompiledRequest, body: bytes, call_info: CallInfo, options: dict[str, Any]
    ) -> VendorReply:
        def send() -> Sent:
            ready = self.ready(compiled, options)
            call_info.url = ready.base_url
            reader = compiled.new_reader() if compiled.streamed else None
            early = call_info.take_early_connection and call_info.take_early_connection()
            return Sent(ready.sent(body, early, call_info.check), self.refusal, reader, compiled.whole)

        return VendorReply(send, call_info)

    def ready(self, compiled: CompiledRequest, options: dict[str, Any]) -> ReadyRequest:
        ready = compiled.ready
        if ready is None or not ready.is_current():
            compiled.ready = ready = self._requests.of(compiled.path, options)
        return ready

    def rehearse(self, request: ChatRequest, call_info: CallInfo) -> None:
        self.address()
        if self._endpoint.command is None:  # which is not run for this
            self._endpoint.headers()
        self._written(request, call_info, self.tag())

    def events(
        self, model: str | None, messages: Messages, proxy: str | None = None, **options: Any
    ) -> AsyncGenerator[list[Event], None]:
        keywords = {name: options.pop(name) for name in KEYWORDS if name in options}
        request, _ = request_of(messages, model or "", keywords)
        request.stream = request.stream_usage = True
        return self.answers(request, CallInfo(), proxy, **options)

    def replied(
        self,
        request: ChatRequest,
        call: Call | None,
        call_info: CallInfo,
        api_key: str | None,
        options: dict[str, Any] | None = None,
    ) -> VendorReply:
        """The events of one reply under ``call``, or under the call made from ``options``, which may contain ``api_key``."""

        async def send() -> Sent:
            wire, tag = wire_named(self.row.wire), self.tag()
            self._check(request)
            if call_info.is_large:
                written, calls, body = await in_thread(self._written, request, call_info, tag)
            else:
                written, calls, body = self._written(request, call_info, tag)
            path = wire.path(written)
            if self._endpoint.command is not None:
                sending = self._sent_renewed(call, path, api_key, body, call_info, options or {})
            elif call is None:
                ready = self._requests.of(path, options or {})
                call_info.url = ready.base_url
                sending = ready.sent(body, call_info.take_early_connection and call_info.take_early_connection())
            else:
                call_info.url = call.base_url
                sending = self._exchange(call, "POST", path, api_key, body).sent()
            limits = _limits(written)
            return Sent(
                sending,
                self.refusal,
                reader=wire.Reader(vendor=tag, limits=limits) if written.stream else None,
                whole=partial(wire.read_reply, vendor=tag, limits=limits),
                change=None if calls is None else calls.take,
            )

        return VendorReply(send, call_info)

    def _sent_renewed(
        self,
        call: Call | None,
        path: str,
        api_key: str | None,
        body: RequestBody,
        call_info: CallInfo,
        options: dict[str, Any],
    ) -> Awaitable[PooledResponse]:
        """The response where a command gives the key, unless the caller gives one."""

        def send(early: PoolConnection | None) -> Awaitable[PooledResponse]:
            if call is not None:
                call_info.url = call.base_url
                return self._exchange(call, "POST", path, api_key, body).sent()
            ready = self._requests.of(path, options)
            call_info.url = ready.base_url
            return ready.sent(body, early)

        early = call_info.take_early_connection and call_info.take_early_connection()
        has_key = api_key is not None or key_of(options.get("api_key")) is not None
        return send(early) if has_key else self._endpoint.renewed(send, early)

    def direct(self, request: ChatRequest, call_info: CallInfo, timeouts: Timeouts) -> DirectRequest:
        self._endpoint.check_renewed()
        wire, tag = wire_named(self.row.wire), self.tag()
        self._check(request)
        written, calls, body = self._short(request, call_info, tag)
        ready = self._requests.of(wire.path(written), {"timeout": timeouts})
        call_info.url = ready.base_url
        limits = _limits(written)
        whole, reader = partial(wire.read_reply, vendor=tag, limits=limits), partial(wire.Reader, vendor=tag, limits=limits)
        change = None if calls is None else calls.take
        name = self.row.wire
        usual, answer, stream = usual_streams(name), text_answers(name), text_streams(name)
        return DirectRequest(ready, body, whole, change, reader, usual, answer, stream)

    def _check(self, request: ChatRequest) -> None:
        """Raises ``BadInput`` for a request without a model."""
        row = self.row
        if not request.model:
            raise BadInput(f"no model given: use {row.name}/MODEL (polychat models {row.name} lists them)", field="model")
        if request.extra and request.wire is None:
            request.wire = row.wire  # a caller's ``extra`` has the names of the wire that is used

    def _written(
        self, request: ChatRequest, call_info: CallInfo, tag: str
    ) -> tuple[ChatRequest, Calls | AsFunctions | None, RequestBody]:
        """The request for the vendor, the changes that its reply's calls need, and the body. Raises ``BadInput``."""
        written, aside = self._short(request, call_info, tag), call_info.placeholders
        if aside is None:
            return written
        request, calls, body = written
        if call_info.whole is None or not aside.lacks(body):
            return request, calls, aside.sent(body)
        return self._short(call_info.whole(), call_info, tag)

    def _short(
        self, request: ChatRequest, call_info: CallInfo, tag: str
    ) -> tuple[ChatRequest, Calls | AsFunctions | None, bytes]:
        """As ``_written``, with the request's placeholders in the body."""
        row, wire = self.row, wire_named(self.row.wire)
        request, along = shared_extra(request, row)
        request, calls = self._adapted(call_info.apply_loss_policy(request, self._support_table(), wire.NAME, tag))
        request, changed = wire.adjusted(request, tag)
        if changed:
            call_info.add(changed)
        fields = wire.write_request(request, vendor=tag)
        if along:
            fields = {**fields, **along}
        if row.prefill:
            fields = prefilled(fields, request.model, row)
        body = sendable(fitted(fields, row, call_info) if self._changes else fields)
        return request, calls, body

    def _support_table(self) -> SupportTable:
        """What happens to a request's fields on the vendor's wire, as this vendor implements it."""
        return wire_named(self.row.wire).SUPPORT if self.row.custom_tools else _without_custom(self.row.wire)

    def _adapted(self, request: ChatRequest) -> tuple[ChatRequest, Calls | AsFunctions | None]:
        """The request with tools that this vendor supports, and the changes that restore the calls of its reply."""
        wire = self.row.wire
        if request.wire == wire:
            return request, None  # from the same wire: the vendor itself reports what it does not support
        calls: Calls | AsFunctions | None = None
        if request.tools or _answered_by_more_than_text(request):  # otherwise it has no tools, calls or reasoning
            custom = self._support_table()["tools.custom"].kind == "kept"
            request, calls = adapted(without_unreadable(request, self.tag()), custom=custom)
        if calls is None and wire == "openai-responses" and request.wire is not None and not _knows_custom(request.wire):
            return request, AsFunctions()  # its backend may call tools that the request does not name
        return request, calls

    def relay(self, wire: str) -> Relay | None:
        if self.row.wire != wire:
            return None
        if self._relay is not None:
            return self._relay
        relay = self._make_relay()
        if self._fixed:
            self._relay = relay
        return relay

    def _make_relay(self) -> Relay:
        from ..http.pool.pool import pool  # no import of a provider loads an HTTP client

        row, base = self.row, self.address()
        proxy = self._endpoint.proxy(base)
        fit = partial(fitted_fields, row=row) if self._changes else None
        if self._endpoint.command is not None:
            return RenewedRelay(self._endpoint, base, pool, proxy, fit, usage=row.stream_usage, refusal=self.refusal)
        headers = self._endpoint.headers()
        return Relay(base, pool, proxy, headers, fit, usage=row.stream_usage, refusal=self.refusal)

    def continues(self, model: str) -> bool:
        return continues(self.row.wire, model) or continues_by_request(model, self.row)

    def models(self) -> list[str]:
        return list(self.row.serves)

    @property
    def lists_models(self) -> bool:
        return bool(self.row.models)

    @property
    def lacks_key(self) -> bool:
        return bool(self.row.key or self.row.api_key) and not self.row.key_optional and not has_key(self.row)

    async def list_models(self, proxy: str | None = None, **options: Any) -> list[ModelInfo]:
        """The vendor's list of models. Raises ``NotReady`` if it has none, and the errors of a request."""
        row = self.row
        if not row.models:
            raise NotReady(f"{row.title or row.name} has no model list: see {row.source or 'its documentation'}")
        call = self._call(proxy, options)
        if row.models.startswith("https://") and call.base_url != row.base_url.rstrip("/"):
            raise NotReady(
                f"{row.title or row.name} has another base_url, whose model list is not known: set models in its "
                "[providers] table"
            )
        body = await self._asked(call, "GET", row.models, None)
        return models.read_models(row.models_shape or row.wire, body)

    @property
    def counts(self) -> bool:
        return counting(self.row.wire) is not None

    async def count(
        self, request: ChatRequest, proxy: str | None = None, call_info: CallInfo | None = None, **options: Any
    ) -> int | None:
        counts = counting(self.row.wire)
        if counts is None:
            return None
        call, tag = self._call(proxy, options), self.tag()

        def short(read: ChatRequest) -> bytes:
            better, _ = wire_named(self.row.wire).adjusted(read, tag)
            return sendable(counts.write_count_request(better, vendor=tag))

        def written() -> bytes:
            body = short(request)
            if call_info is None or call_info.placeholders is None or call_info.whole is None:
                return body
            whole = call_info.whole
            return call_info.placeholders.completed(body, lambda: short(whole()))

        is_large = has_raw(request) or call_info is not None
        body = await in_thread(written) if is_large else written()
        return counts.read_count(await self._asked(call, "POST", counts.count_path(request), body))

    async def embed(self, request: Embed, proxy: str | None = None, **options: Any) -> Embeddings:
        """One vector for each text. Raises ``BadInput`` if the vendor has no embeddings, and the errors of a request."""
        if not self.row.embeddings and self.row.name in known():  # one's own server reports that itself
            raise BadInput(
                f"{self.row.title or self.row.name} does not support embeddings: use another vendor, or set embeddings = true "
                "in its [providers] table",
                field="model",
            )
        shape = embeddings.shape_of(self.row.wire)
        call = self._call(proxy, options)
        if request.placeholders is None:
            written = embeddings.body_of(shape, request)
        else:  # it is large
            written = await in_thread(embeddings.body_of, shape, request)
        body = await self._asked(call, "POST", embeddings.path(shape, request), written)
        return embeddings.read_reply(shape, body, count=len(request.inputs))

    def address(self) -> str:
        return self._endpoint.address()

    def quota_domain(self) -> str:
        row = self.row
        keys = row.api_key or ",".join(row.key)
        return f"{urlsplit(row.base_url).netloc} {keys}" if keys else self.label

    def tag(self) -> str:
        """The vendor of its opaque parts. A vendor may have several rows, one for each wire that it supports."""
        return _tag(self.row.name, self.row.wire)

    def _call(self, proxy: str | None, options: dict[str, Any]) -> Call:
        return call_to(self.name, self._endpoint.address, self.options, TIMEOUT, proxy, options)

    async def _asked(self, call: Call, method: str, path: str, body: bytes | None) -> bytes:
        api_key = key_of(call.own.get("api_key"))
        if self._endpoint.command is not None and api_key is None:
            response = await self._endpoint.renewed(lambda _: self._exchange(call, method, path, None, body).sent())
        else:
            response = await self._exchange(call, method, path, api_key, body).sent()
        async with response:
            if not response.ok:
                raise await self.refusal(response)
            return await response.read(MAX_REPLY)

    def _exchange(self, call: Call, method: str, path: str, api_key: str | None, body: RequestBody | None) -> Exchange:
        url = path if path.startswith("https://") else call.base_url + path
        return call.exchange(method, url, self._endpoint.headers(api_key), body, self._endpoint.proxy)

    async def refusal(self, response: PooledResponse) -> StatusError:
        """The error of a status other than 2xx, with the vendor's message."""
        try:
            body = await response.read()
        except BackendError:  # the status is known all the same
            body = b""
        fault = wire_named(self.row.wire).read_fault(response.status, body)
        error = response.error(redact(fault.message))
        error.kind, error.word, error.param = fault.kind, fault.code, fault.param
        headers = {**fault.headers, **response.headers} if fault.headers else response.headers
        error.retry_after = retry_after_of(
            headers, time(), status=response.status, in_body=fault.retry_after, message=fault.message
        )
        return response.redacted(error)


def _answered_by_more_than_text(request: ChatRequest) -> bool:
    """Whether an assistant message of the conversation has a part that is not text."""
    for message in request.messages:
        if message.role == "assistant":
            for part in message.parts:  # a generator takes several times as long
                if type(part) is not TextPart:
                    return True
    return False


@lru_cache(maxsize=64)
def _knows_custom(name: str) -> bool:
    """Whether vendors on this wire support free-text tools."""
    return wire_named(name).SUPPORT["tools.custom"].kind == "kept"


@lru_cache(maxsize=1024)
def _tag(name: str, wire: str) -> str:
    native = wire_named(wire).VENDOR
    return native if name == native or name.startswith(f"{native}-") else name


@lru_cache(maxsize=64)
def _without_custom(name: str) -> SupportTable:
    """The support table of a wire for a vendor without custom tools."""
    support_table = wire_named(name).SUPPORT
    return {**support_table, "tools.custom": emulated(AS_FUNCTION)} if _knows_custom(name) else support_table


def _limits(request: ChatRequest) -> ReaderLimits:
    """Calls without ids (Gemini's, Ollama's) get ids that no earlier message has: other vendors require them."""
    return replace(LIMITS, id_prefix=f"call_{secrets.token_hex(4)}_") if request.tools else LIMITS
