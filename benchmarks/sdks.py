"""OpenAI's chat asked through OpenAI's own client, and through LiteLLM."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from functools import cache
from typing import Any

HELLO: Any = [{"role": "user", "content": "Why is the sky blue?"}]


@cache
def _client(base: str) -> Any:
    from openai import AsyncOpenAI

    return AsyncOpenAI(api_key="none", base_url=f"{base}/v1", max_retries=0)


async def openai(base: str) -> AsyncGenerator[str, None]:
    async for chunk in await _client(base).chat.completions.create(model="m", messages=HELLO, stream=True):
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield text


async def litellm(base: str) -> AsyncGenerator[str, None]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices first
    from litellm import acompletion

    asked = {"model": "openai/m", "api_key": "none", "api_base": f"{base}/v1", "stream": True}
    async for chunk in await acompletion(messages=HELLO, **asked):
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield text
