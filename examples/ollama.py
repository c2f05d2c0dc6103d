"""Ollama as a provider of polychat. The whole of it is this file.

Run, it asks the Ollama on this machine: ``python examples/ollama.py "Why is the sky blue?"``. Copied into
``src/polychat/providers/`` it is ``ollama/llama3.2`` everywhere: in the library, the command and ``polychat sites``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from polychat.errors import BadReply, ReplyFailed, redact
from polychat.events import Event, Text, Usage
from polychat.prompt import turns
from polychat.providers import AsyncGeneratorProvider, Call, ProviderModelMixin
from polychat.types import Messages
from polychat.wire.framing import Lines, LineTooLong
from polychat.wire.reading import complete, failed, truncated


class Ollama(AsyncGeneratorProvider, ProviderModelMixin):
    """Any model that was pulled into an Ollama server."""

    url = "http://127.0.0.1:11434"
    working = True
    evidence = "https://github.com/ollama/ollama/blob/main/docs/api.md"
    supports_system_message = True
    supports_message_history = True
    default_model = "llama3.2"

    @classmethod
    async def reply(
        cls, model: str | None, messages: Messages, call: Call, *, temperature: float | None = None
    ) -> AsyncGenerator[list[Event], None]:
        body = question(model or cls.default_model, messages, temperature)
        async with (
            call.session({"accept": "application/x-ndjson"}) as session,
            session.post(f"{call.base_url}/api/chat", json=body) as response,
        ):
            response.raise_for_status()
            async with aclosing(response.events(Reader())) as batches:
                async for batch in batches:
                    yield batch


def question(model: str, messages: Messages, temperature: float | None) -> dict[str, Any]:
    """The body of a request. Raises ``BadInput`` for what is no conversation."""
    history = [{"role": role, "content": text} for role, text in turns(messages)]
    options = {} if temperature is None else {"options": {"temperature": temperature}}
    return {"model": model, "messages": history, "stream": True, **options}


class Reader:
    """What the service sends: one JSON object a line, the last with ``"done": true``."""

    def __init__(self) -> None:
        self.done = False
        self._lines = Lines()

    def feed(self, data: bytes) -> list[Event]:
        try:
            return self._read(self._lines.feed(data))
        except LineTooLong as error:
            return self._ended(failed(BadReply(f"the reply holds {error}")))

    def end(self) -> list[Event]:
        events = self._read(self._lines.end())
        return events if self.done else [*events, *self._ended(truncated('no line said "done": true'))]

    def _read(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            if not self.done and line:
                events += self._line(line)
        return events

    def _line(self, line: bytes) -> list[Event]:
        match parsed(line):
            case {"error": str(why)}:
                return self._ended(failed(ReplyFailed(f"Ollama failed: {redact(why)}")))
            case {"message": {"content": str(text)}, "done": bool(done)} as value:
                events: list[Event] = [Text(text)] if text else []
                return [*events, *self._ended(*last(value))] if done else events
        return self._ended(failed(BadReply(f"a line of the reply is not as Ollama's are: {redact(line)}")))

    def _ended(self, *events: Event) -> list[Event]:
        self.done = True
        return list(events)


def parsed(line: bytes) -> Any:
    """The JSON value of a line, or ``None``."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def last(value: dict[str, Any]) -> list[Event]:
    """The events of the last line: what was counted, and the end."""
    return [Usage(value.get("prompt_eval_count"), value.get("eval_count")), complete(value.get("done_reason"))]


async def main(prompt: str = "Why is the sky blue?", base_url: str = Ollama.url) -> None:
    async for piece in Ollama.create_async_generator(None, [{"role": "user", "content": prompt}], base_url=base_url):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
