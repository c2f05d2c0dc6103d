"""The services asked through g4f, in the environment of the peers; polychat is not loaded here.

g4f no longer has the five classes. So ``opchatgpts`` is that service's steps on g4f's own session and its reader of
server-sent events, as its providers are written, and ``chatgptt`` is g4f's own ``OpenaiTemplate``, the base of most of its
providers, reading the very bytes that ChatGptt's service streams. It asks once where ChatGptt's service must be asked
twice, and keeps its connections between calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from g4f.Provider.base_provider import AsyncGeneratorProvider
from g4f.Provider.template import OpenaiTemplate
from g4f.requests import StreamSession, raise_for_status

HELLO = [{"role": "user", "content": "Why is the sky blue?"}]


class Opchatgpts(AsyncGeneratorProvider):
    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Any, proxy: str | None = None, base_url: str = "", **kwargs: Any
    ) -> Any:
        asked = {
            "botId": "default",
            "chatId": "abcdefghij",
            "contextId": 28,
            "customId": None,
            "messages": messages,
            "newMessage": messages[-1]["content"],
            "session": "N/A",
            "stream": True,
        }
        headers = {"origin": base_url, "referer": f"{base_url}/chatgpt-free-use/"}
        async with StreamSession(headers=headers, proxy=proxy, impersonate="chrome") as session:
            async with session.post(f"{base_url}/wp-json/mwai-ui/v1/chats/submit", json=asked) as response:
                await raise_for_status(response)
                async for event in response.sse():
                    if event["type"] == "live":
                        yield event["data"]
                    elif event["type"] == "end":
                        break


class Template(OpenaiTemplate):
    working = True
    default_model = "gpt-4o"
    models = ["gpt-4o"]  # noqa: RUF012  # as g4f writes it; without a list it would ask the server for one


async def texts(pieces: AsyncGenerator[Any, None]) -> AsyncGenerator[str, None]:
    """What of a g4f reply is text: the requests, headers and chunks that its templates hand out beside it are left out."""
    async for piece in pieces:
        if isinstance(piece, str):
            yield piece


def opchatgpts(base: str) -> AsyncGenerator[str, None]:
    return texts(Opchatgpts.create_async_generator("gpt-3.5-turbo", HELLO, base_url=base))


def chatgptt(base: str) -> AsyncGenerator[str, None]:
    return texts(Template.create_async_generator("gpt-4o", HELLO, base_url=f"{base}/v1", stream=True))
