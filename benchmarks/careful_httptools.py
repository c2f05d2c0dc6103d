"""OpenAI's chat asked as in ``raw_httptools.py``, for use: with a timeout, and a look at the status, at errors and at the end.

Still no TLS, no retries, no limits, one call at a time, and a broken connection stays broken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
from raw_httptools import ASKED, ASKED_WHOLE, sent

TIMEOUT = 600.0


async def openai(base: str) -> AsyncGenerator[str, None]:
    async with asyncio.timeout(TIMEOUT):
        connection = await sent(base, "/v1/chat/completions", ASKED)
        rest, has_ended = b"", False
        while data := await connection.read():
            if connection.parser.get_status_code() != 200:
                raise RuntimeError(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    chunk = msgspec.json.decode(line[6:])
                    if "error" in chunk:
                        raise RuntimeError(chunk["error"])
                    choice = chunk["choices"][0]
                    has_ended = has_ended or choice.get("finish_reason") is not None
                    text = choice["delta"].get("content")
                    if text:
                        yield text
        if not has_ended:
            raise RuntimeError("the reply was cut off")


async def openai_whole(base: str) -> AsyncGenerator[str, None]:
    async with asyncio.timeout(TIMEOUT):
        connection = await sent(base, "/whole/v1/chat/completions", ASKED_WHOLE)
        body = b""
        while data := await connection.read():
            body += data
    if connection.parser.get_status_code() != 200:
        raise RuntimeError(body)
    yield msgspec.json.decode(body)["choices"][0]["message"]["content"]
