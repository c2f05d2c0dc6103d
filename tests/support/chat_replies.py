"""Whole replies of a backend on OpenAI's chat wire: usual ones, unusual ones, and what is none."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

from .corpus import FOLDER
from .running_gateway import completion, fault, good
from .scripted_server import Handler, Say, Seen

KEY = "sk-of-the-backend-0123456789"
"""The backend's key, which one of the replies repeats."""
LIMITS = [("x-ratelimit-remaining-requests", "7"), ("X-RateLimit-Limit-Requests", "9"), ("x-echoed", KEY)]

PAID = {"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.5, "prompt_tokens_details": {"cached_tokens": 3}}


def answering(body: Any, **more: Any) -> Handler:
    """A backend that answers whole with this."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body, **more)

    return handler


async def in_pieces(seen: Seen, say: Say) -> None:
    data = json.dumps(completion("Hello")).encode()
    await say.raw(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n")
    await say.raw(b"Content-Length: %d\r\n\r\n" % len(data))
    for begin in range(0, len(data), 50):
        await asyncio.sleep(0)
        await say.raw(data[begin : begin + 50])


async def in_chunks(seen: Seen, say: Say) -> None:
    data = json.dumps(completion("Hello")).encode()
    await say.stream([data[:40], data[40:]], content_type="application/json")


async def cut_off(seen: Seen, say: Say) -> None:
    await say.raw(b"HTTP/1.1 200 X\r\nContent-Length: 900\r\n\r\n{")
    await say.cut()


async def lost(seen: Seen, say: Say) -> None:
    await say.cut()


async def no_http(seen: Seen, say: Say) -> None:
    await say.raw(b"what?\r\n\r\n")


async def not_kept(seen: Seen, say: Say) -> None:
    await say.whole(completion("Hello"), headers=[("connection", "close")])
    await say.cut()


REPLIES: dict[str, Handler] = {
    "hello": good,
    "a tool's call": answering((FOLDER / "openai-chat/xai-tool-call.json").read_bytes()),
    "limits": answering(completion("Hello"), headers=LIMITS),
    "the key": answering(completion(f"your key is {KEY}")),
    "cached and paid": answering(completion("Hi", usage=PAID)),
    "too long": answering(completion("Hi", choices=[{"index": 0, "message": {"content": "Hi"}, "finish_reason": "length"}])),
    "no end": answering(completion("Hi", choices=[{"index": 0, "message": {"role": "assistant", "content": "Hi"}}])),
    "nothing said": answering({**completion(""), "choices": []}),
    "an error inside": answering({"error": {"message": "it broke", "type": "server_error"}}),
    "no JSON": answering(b"<html>hello</html>", content_type="text/html"),
    "half of it": answering(json.dumps(completion("Hello")).encode()[:-9]),
    "deep": answering(b"[" * 900 + b"]" * 900),
    "much": answering(completion("a" * 700_000)),
    "packed": answering(gzip.compress(json.dumps(completion("Hello")).encode()), headers=[("content-encoding", "gzip")]),
    "in pieces": in_pieces,
    "in chunks": in_chunks,
    "created": answering(completion("Hello"), status=201),
    "refused": fault(400, "invalid_request_error"),
    "no such model": fault(404),
    "busy": fault(429, retry_after="30"),
    "down": fault(500),
    "cut off": cut_off,
    "lost": lost,
    "no HTTP": no_http,
    "not kept": not_kept,
}
