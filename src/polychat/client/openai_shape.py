"""``chat.completions.create`` as OpenAI's client has it, over any target."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from ..calls.functions import tool_of
from ..calls.info import CallInfo
from ..calls.schemas import shape_of
from ..errors import BadInput, UnknownTarget
from ..wire import openai_chat
from ..wire.contract import Writer
from ..wire.framing import DataLines
from ..wire.json_text import decoded, sendable
from .calls import on_loss_of
from .streaming import Stream
from .targets import Targets


class AttributeDict(dict[str, Any]):
    """A JSON object whose members are attributes too: ``reply.choices[0].message.content``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            if name in _MEMBERS:
                return None
            raise AttributeError(name) from None

    def model_dump(self, *, exclude_none: bool = False, **_: Any) -> dict[str, Any]:
        """The same as plain dicts and lists."""
        plain: dict[str, Any] = _plain(self, exclude_none)
        return plain

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        """The same as JSON."""
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
"""Members of OpenAI's objects that are ``None`` where they are not said."""


def _plain(value: Any, exclude_none: bool) -> Any:
    match value:
        case Mapping():
            return {name: _plain(one, exclude_none) for name, one in value.items() if not (exclude_none and one is None)}
        case list():
            return [_plain(one, exclude_none) for one in value]
    return value


def _dumped(value: Any) -> Any:
    """What a schema's type reads, which may be ``parsed``."""
    return value.model_dump() if hasattr(value, "model_dump") else str(value)


def record_of(value: Any) -> Any:
    """Objects as ``AttributeDict``, to any depth."""
    if isinstance(value, dict):
        return AttributeDict({name: record_of(item) for name, item in value.items()})
    return [record_of(item) for item in value] if isinstance(value, list) else value


class Chat:
    def __init__(self, model: str | None, options: dict[str, Any], targets: Callable[[], Targets]) -> None:
        self.completions = Completions(model, options, targets)


class Completions:
    """OpenAI's fields by keyword, and ours about the asking: ``proxy``, ``base_url``, ``api_key``, ``on_loss``, …"""

    def __init__(self, model: str | None, options: dict[str, Any], targets: Callable[[], Targets]) -> None:
        self._model = model
        self._options = options
        self._targets = targets

    async def create(self, *, messages: Any, model: str | None = None, stream: bool = False, **fields: Any) -> Any:
        """A chat completion as ``AttributeDict``; with ``stream`` an async generator of its chunks. Errors are polychat's.

        ``extra_body`` is merged into the fields, ``extra_headers`` are headers. A field with ``None`` is not said. With a type
        as ``response_format`` the message has ``parsed``, a value of it; ``tools`` may be Python functions.
        """
        options, body = _sorted({**self._options, **fields})
        targets = self._targets()
        target = self._target(model, targets)
        backend, name, plan = targets.meaning_of(target)
        form, shape = body.get("response_format"), None
        if form is not None and not isinstance(form, Mapping):
            shape = shape_of(body.pop("response_format"))
        if isinstance(body.get("tools"), (list, tuple)):
            body["tools"] = [_tool(one) if callable(one) else one for one in body["tools"]]
        request = openai_chat.read_request(sendable({"model": name or "", "messages": messages, "stream": stream, **body}))
        if shape is not None:
            request.format = shape.format
        call_info = CallInfo(on_loss_of(options.pop("on_loss", None)))
        reply = Stream(targets, backend, name, request, shape=shape, call_info=call_info, options=options, plan=plan)
        writer = openai_chat.writer(request, secrets.token_hex(12), int(time.time()), target)
        return _chunks(reply, writer) if stream else await _whole(reply, writer)

    async def parse(self, *, messages: Any, response_format: Any = None, **fields: Any) -> Any:
        """As ``create``: with a type as ``response_format`` the message's ``parsed`` is a value of it."""
        return await self.create(messages=messages, response_format=response_format, **fields)

    def _target(self, model: str | None, targets: Targets) -> str:
        """A bare name that means nothing else is a model of the client's own provider, as in OpenAI's client."""
        own_target = targets.default_model() if self._model is None else self._model
        if model is None or not isinstance(model, str):
            return own_target if model is None else model
        try:
            targets.plan_of(model)
        except UnknownTarget:
            label, slash, _ = own_target.partition("/")
            if not slash or "/" in model or "," in model:
                raise
            return f"{label}/{model}"
        return model


def _tool(function: Any) -> dict[str, Any]:
    tool = tool_of(function)
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": {name: one for name, one in fields.items() if one is not None}}


_OURS = ("proxy", "timeout", "base_url", "cookies", "headers", "api_key", "on_loss")


def _sorted(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is about the asking, and what is the request's."""
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
