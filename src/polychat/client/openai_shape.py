"""``chat.completions.create`` with the parameters and results of OpenAI's client, for any target."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from types import AsyncGeneratorType, TracebackType
from typing import Any, Self, cast

from ..calls.functions import tool_of
from ..calls.info import CallInfo
from ..calls.schemas import shape_of
from ..errors import BadInput, UnknownTarget
from ..wire import openai_chat
from ..wire.contract import Writer
from ..wire.framing import DataLines
from ..wire.json_text import decoded, sendable
from .prepared import LossPolicy, loses_nothing, unknown_losses
from .streaming import Stream
from .targets import Targets, chain_of


class AttributeDict(dict[str, Any]):
    """A JSON object whose members are attributes too: ``reply.choices[0].message.content``.

    A member of OpenAI's objects that is absent is ``None``; any other raises ``AttributeError``.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            if name in _MEMBERS:
                return None
            raise AttributeError(name) from None

    def model_dump(self, *, exclude_none: bool = False, **_: Any) -> dict[str, Any]:
        """The object as plain dicts and lists, to any depth; with ``exclude_none`` without members that are ``None``."""
        plain: dict[str, Any] = _plain(self, exclude_none)
        return plain

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        """The object as JSON text. ``options`` are those of ``model_dump``."""
        return json.dumps(self.model_dump(**options), indent=indent, ensure_ascii=False, default=_dumped)

    to_dict = dict = model_dump
    to_json = json = model_dump_json


_MEMBERS = frozenset(
    (
        *("content", "refusal", "tool_calls", "function_call", "audio", "annotations", "reasoning_content", "parsed", "role"),
        *("logprobs", "finish_reason", "usage", "system_fingerprint", "service_tier", "moderation", "metadata", "name", "id"),
        *(
            "prompt_tokens_details",
            "completion_tokens_details",
            "cached_tokens",
            "reasoning_tokens",
            "audio_tokens",
            "function",
        ),
        *("function", "accepted_prediction_tokens", "rejected_prediction_tokens", "arguments", "type", "index", "error"),
    )
)
"""Members of OpenAI's objects that are ``None`` where they are absent."""


def _plain(value: Any, exclude_none: bool) -> Any:
    match value:
        case Mapping():
            members = ((name, member) for name, member in value.items() if not (exclude_none and member is None))
            return {name: _plain(member, exclude_none) for name, member in members}
        case list():
            return [_plain(item, exclude_none) for item in value]
    return value


def _dumped(value: Any) -> Any:
    """A value of the caller's own type, in ``parsed``, as something that JSON can carry."""
    return value.model_dump() if hasattr(value, "model_dump") else str(value)


def record_of(value: Any) -> Any:
    """``value`` with every dict in it, at any depth, as an ``AttributeDict``."""
    if isinstance(value, dict):
        return AttributeDict({name: record_of(item) for name, item in value.items()})
    return [record_of(item) for item in value] if isinstance(value, list) else value


class Chat:
    """``client.chat``: holds ``completions``."""

    def __init__(self, model: str | None, options: dict[str, Any], targets: Callable[[], Targets]) -> None:
        self.completions = Completions(model, options, targets)


class Completions:
    """``client.chat.completions``. Keywords are OpenAI's fields, and polychat's own: ``proxy``, ``base_url``, ``on_loss``, …"""

    def __init__(self, model: str | None, options: dict[str, Any], targets: Callable[[], Targets]) -> None:
        self._model = model
        self._options = options
        self._targets = targets

    async def create(self, *, messages: Any, model: str | None = None, stream: bool = False, **fields: Any) -> Any:
        """A chat completion as ``AttributeDict``; with ``stream`` a ``ChunkStream`` of its chunks.

        ``extra_body`` is merged into the fields, ``extra_headers`` into the headers. A field that is ``None`` is not sent. With
        a type as ``response_format``, the message's ``parsed`` is a value of it; ``tools`` may be Python functions. Raises
        ``PolychatError``, never an error of OpenAI's client.
        """
        options, body = _sorted({**self._options, **fields})
        targets = self._targets()
        name = target = self._target(model, targets)
        plan = targets.plan(target)
        models, provider = targets.preferences_in(body, plan)
        if models is not None:
            plan = targets.plan(target := chain_of(target, models))
        form, shape = body.get("response_format"), None
        if form is not None and not isinstance(form, Mapping):
            shape = shape_of(body.pop("response_format"))
        if isinstance(body.get("tools"), (list, tuple)):
            body["tools"] = [_tool(tool) if callable(tool) else tool for tool in body["tools"]]
        request = openai_chat.read_request(
            sendable({"model": plan.targets[0].model, "messages": messages, "stream": stream, **body})
        )
        if shape is not None:
            request.format = shape.format
        policy = LossPolicy.of(options, plan)
        if provider is not None:
            plan, unknown = targets.wanted(plan, target, provider, options, lambda each: loses_nothing(each, request))
            request.model = plan.targets[0].model
            unknown_losses(unknown, policy.on_loss)
        call_info = CallInfo(*policy)
        reply = Stream(targets, targets.call(plan, request, call_info, options), shape=shape)
        writer = openai_chat.writer(request, secrets.token_hex(12), int(time.time()), name)
        return ChunkStream(reply, writer) if stream else await _whole(reply, writer)

    async def parse(self, *, messages: Any, response_format: Any = None, **fields: Any) -> Any:
        """``create`` with ``response_format`` as a type: the message's ``parsed`` is a value of it. Raises as ``create``."""
        return await self.create(messages=messages, response_format=response_format, **fields)

    def _target(self, model: str | None, targets: Targets) -> str:
        """The target that ``model`` means: an unknown bare name is a model of the provider that the client was made with.

        Raises ``UnknownTarget``.
        """
        own_target = targets.default_model() if self._model is None else self._model
        if model is None or not isinstance(model, str):
            return own_target if model is None else model
        try:
            targets.plan(model)
        except UnknownTarget:
            label, slash, _ = own_target.partition("/")
            if not slash or "/" in model or "," in model:
                raise
            return f"{label}/{model}"
        return model


def _tool(function: Any) -> dict[str, Any]:
    tool = tool_of(function)
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": {name: value for name, value in fields.items() if value is not None}}


_OURS = ("proxy", "timeout", "base_url", "cookies", "headers", "api_key", "on_loss")


def _sorted(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the call, and the fields of the request's body. Raises ``BadInput`` for ``extra_query``."""
    options = {name: fields.pop(name) for name in _OURS if fields.get(name) is not None}
    headers = fields.pop("extra_headers", None)
    if headers:
        options["headers"] = {**options.get("headers", {}), **headers}
    if fields.pop("extra_query", None):
        raise BadInput("extra_query is not supported: put it into base_url", field="extra_query")
    extra_body = fields.pop("extra_body", None) or {}
    return options, {name: value for name, value in {**fields, **extra_body}.items() if value is not None and name not in _OURS}


async def _whole(reply: Stream, writer: Writer) -> Any:
    async with reply:
        async for batch in reply.events():
            writer.write(batch)
    record = record_of(decoded(writer.end()))
    if reply.shape is not None:
        record["choices"][0]["message"]["parsed"] = reply.reply().parsed
    return record


class ResponseHeaders(Mapping[str, str]):
    """Headers, by their names in letters of either case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


class ChunkResponse:
    """What is known of the response that a ``ChunkStream`` comes in, as ``openai.AsyncStream.response`` has it.

    Nothing is asked before the first chunk: until then it has no headers.
    """

    status_code = 200
    """For any other the iteration raises ``StatusError``."""

    def __init__(self, reply: Stream, chunks: AsyncGenerator[Any, None]) -> None:
        self._reply, self._chunks = reply, chunks

    @property
    def headers(self) -> Mapping[str, str]:
        """Those that are about the backend's rate limits."""
        return ResponseHeaders(self._reply.headers)

    @property
    def is_closed(self) -> bool:
        """Whether no chunk will come any more."""
        return cast("AsyncGeneratorType[Any, None]", self._chunks).ag_frame is None

    async def aclose(self) -> None:
        """``ChunkStream.close``."""
        await self._chunks.aclose()


class ChunkStream:
    """The chunks of a completion, as ``AttributeDict``: iterate it, once. Leaving it early needs ``async with``, or ``close``.

    It has the methods of ``openai.AsyncStream``, and its ``response``. The iteration raises ``PolychatError`` after the last
    chunk that arrived.
    """

    def __init__(self, reply: Stream, writer: Writer) -> None:
        self._chunks = _chunks(reply, writer)
        self.response = ChunkResponse(reply, self._chunks)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._chunks

    async def __anext__(self) -> Any:
        return await self._chunks.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the request, if it is not over. Later iteration gives nothing."""
        await self._chunks.aclose()

    aclose = close


async def _chunks(reply: Stream, writer: Writer) -> AsyncGenerator[Any, None]:
    lines = DataLines()
    async with reply, aclosing(_written(reply, writer)) as written:
        async for data in written:
            for payload in lines.feed(data):
                if payload != b"[DONE]":
                    yield record_of(decoded(payload))


async def _written(reply: Stream, writer: Writer) -> AsyncGenerator[bytes, None]:
    batches = reply.events()
    async for batch in batches:
        yield writer.write(batch)
    yield writer.end()
