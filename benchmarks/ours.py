"""The services asked through polychat's providers, as their users do."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import polychat
from polychat import providers

HELLO = [{"role": "user", "content": "Why is the sky blue?"}]


def asked(name: str, **options: Any) -> Any:
    provider = providers.find(name)

    def ask(base: str) -> AsyncGenerator[str, None]:
        return provider.create_async_generator(None, HELLO, base_url=base, **options)

    return ask


async def openai(base: str) -> AsyncGenerator[str, None]:
    async with polychat.stream("Why is the sky blue?", model="openai/m", base_url=f"{base}/v1", api_key="none") as reply:
        async for text in reply:
            yield text


async def openai_whole(base: str) -> AsyncGenerator[str, None]:
    reply = await polychat.ask("Why is the sky blue?", model="openai/m", base_url=f"{base}/whole/v1", api_key="none")
    yield reply.text


opchatgpts = asked("opchatgpts")
chatgptt = asked("chatgptt")
gptalk = asked("gptalk")
chatgptduo = asked("chatgptduo")
aichat = asked("aichat", cookies={"session": "abc"})
