"""``chat.completions.create`` as OpenAI's client has it, over any target."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ..errors import BadInput
from ..providers import Notes, resolve
from ..wire import openai_chat
from ..wire._json import decoded, encoded
from ..wire.answering import Writer
from ..wire.framing import DataLines
from .calls import on_loss_of
from .streaming import Stream


class Record(dict[str, Any]):
    """A JSON object whose members are attributes too: ``reply.choices[0].message.content``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def model_dump(self) -> dict[str, Any]:
        """The same as plain dicts."""
        plain: dict[str, Any] = decoded(encoded(self))
        return plain


def record_of(value: Any) -> Any:
    """Objects as ``Record``, to any depth."""
    if isinstance(value, dict):
        return Record({name: record_of(item) for name, item in value.items()})
    return [record_of(item) for item in value] if isinstance(value, list) else value


class Chat:
    def __init__(self, model: str, options: dict[str, Any]) -> None:
        self.completions = Completions(model, options)


class Completions:
    """OpenAI's fields by keyword, and ours about the asking: ``proxy``, ``base_url``, ``api_key``, ``on_loss``, …"""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        self._model = model
        self._options = options

    async def create(self, *, messages: Any, model: str | None = None, stream: bool = False, **fields: Any) -> Any:
        """A chat completion as ``Record``; with ``stream`` an async generator of its chunks. Errors are polychat's.

        ``extra_body`` is merged into the fields, ``extra_headers`` are headers. A field with ``None`` is not said.
        """
        target = model or self._model
        options, body = _sorted({**self._options, **fields})
        provider, name = resolve(target)
        ask = openai_chat.read_request(encoded({"model": name or "", "messages": messages, "stream": stream, **body}))
        reply = Stream(provider, name, ask, shape=None, notes=Notes(on_loss_of(options.pop("on_loss", None))), options=options)
        writer = openai_chat.writer(ask, secrets.token_hex(12), int(time.time()), target)
        return _chunks(reply, writer) if stream else await _whole(reply, writer)


_OURS = ("proxy", "timeout", "base_url", "cookies", "headers", "api_key", "on_loss")


def _sorted(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is about the asking, and what is the request's."""
    options = {name: fields.pop(name) for name in _OURS if fields.get(name) is not None}
    headers = fields.pop("extra_headers", None)
    if headers:
        options["headers"] = {**options.get("headers", {}), **headers}
    if fields.pop("extra_query", None):
        raise BadInput("extra_query is not taken: put it into base_url", field="extra_query")
    more = fields.pop("extra_body", None) or {}
    return options, {name: value for name, value in {**fields, **more}.items() if value is not None and name not in _OURS}


async def _whole(reply: Stream, writer: Writer) -> Any:
    async with reply:
        async for batch in reply.events():
            writer.write(batch)
    return record_of(decoded(writer.end()))


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
