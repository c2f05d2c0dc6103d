"""Steady load on a gateway: a request each so often, whatever became of those before, and what each client saw."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import aiohttp

from .backends import PROMPT

PACE = 20.0
"""Requests a second."""
PATIENCE = 20.0
"""Seconds that a client waits for all of its reply. It says so in the header that OpenAI's clients send."""
PIECES, LONG = 20, 200
"""Pieces of a reply, and of one whose client leaves early."""
_STREAMED, _LEAVING = 0.8, 0.03
_LEAVES_AFTER = 3
"""Pieces after which a client leaves that is to."""
_PIECE = re.compile(r"w(\d+) ")

Outcome = Literal["complete", "silent", "cut", "error", "timeout", "left", "refused"]
"""What a client saw.

``complete``: all of the reply. ``silent``: less than all, and nothing that said so. ``cut``: an error after the first piece.
``error``: an error instead of a reply. ``timeout``: its patience ended. ``left``: it left, as it was to.
``refused``: no connection.
"""


@dataclass
class Reply:
    """One request of a client. Moments are the loop's."""

    number: int
    sent: float
    outcome: Outcome = "timeout"
    status: int = 0
    first: float | None = None
    """Seconds to the first piece of a stream."""
    over: float = 0.0
    pieces: list[int] = field(default_factory=list)
    error: str = ""

    @property
    def is_repeated(self) -> bool:
        """Whether a piece came twice."""
        return len(set(self.pieces)) < len(self.pieces)


async def run(url: str, headers: Mapping[str, str], model: str, seconds: float, seed: int, pace: float = PACE) -> list[Reply]:
    """The replies to all requests of ``seconds``."""
    rng, loop = Random(seed), asyncio.get_running_loop()
    tasks, begun = [], loop.time()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None), headers=dict(headers)
    ) as session:
        for number in range(int(seconds * pace)):
            await asyncio.sleep(max(0.0, begun + number / pace - loop.time()))
            stream = rng.random() < _STREAMED
            leaves = rng.random() < _LEAVING and stream
            tasks.append(asyncio.ensure_future(_one(session, url, model, number, stream=stream, leaves=leaves)))
        return list(await asyncio.gather(*tasks))


async def _one(session: aiohttp.ClientSession, url: str, model: str, number: int, *, stream: bool, leaves: bool) -> Reply:
    loop = asyncio.get_running_loop()
    reply = Reply(number, loop.time())
    pieces = LONG if leaves else PIECES
    prompt = PROMPT.format(number=number, pieces=pieces)
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": stream}
    try:
        async with asyncio.timeout(PATIENCE):
            headers = {"x-stainless-timeout": f"{PATIENCE:g}"}
            async with session.post(url, json=body, headers=headers) as response:
                reply.status = response.status
                if response.status != 200:
                    reply.outcome, reply.error = "error", (await response.text())[:300]
                elif stream:
                    await _streamed(response, reply, pieces, leaves=leaves)
                else:
                    _judge_whole(await response.read(), reply, pieces)
    except TimeoutError:
        reply.outcome = "timeout"
    except aiohttp.ClientConnectorError as error:
        reply.outcome, reply.error = "refused", str(error)
    except (aiohttp.ClientError, ConnectionError) as error:  # the body broke off: HTTP itself told
        reply.outcome, reply.error = ("cut" if reply.pieces else "error"), repr(error)
    reply.over = loop.time()
    return reply


async def _streamed(response: aiohttp.ClientResponse, reply: Reply, pieces: int, *, leaves: bool) -> None:
    loop = asyncio.get_running_loop()
    rest, ended = b"", False
    async for data in response.content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for value in _values(lines):
            if value == "[DONE]":
                continue
            if not isinstance(value, dict) or "error" in value:
                reply.outcome, reply.error = ("cut" if reply.pieces else "error"), str(value)[:300]
                return
            for choice in value.get("choices") or ():
                reply.pieces += _pieces((choice.get("delta") or {}).get("content") or "")
                ended = ended or choice.get("finish_reason") == "stop"
            if reply.pieces and reply.first is None:
                reply.first = loop.time() - reply.sent
        if leaves and len(reply.pieces) >= _LEAVES_AFTER:
            response.close()
            reply.outcome = "left"
            return
    reply.outcome = "complete" if ended and _is_whole(reply, pieces) else "silent"


def _values(lines: list[bytes]) -> Iterator[object]:
    """The data of a stream's lines; what is no JSON is given as text."""
    for line in lines:
        if line.startswith(b"data:"):
            text = line[5:].strip()
            try:
                yield "[DONE]" if text == b"[DONE]" else json.loads(text)
            except ValueError:
                yield text.decode(errors="replace")


def _judge_whole(body: bytes, reply: Reply, pieces: int) -> None:
    try:
        value = json.loads(body)
        content = value["choices"][0]["message"]["content"] or ""
    except (ValueError, KeyError, TypeError, IndexError):
        # A client that cannot read its 200 knows that something is wrong.
        reply.outcome, reply.error = "error", body[:300].decode(errors="replace")
        return
    reply.pieces = _pieces(content)
    reply.outcome = "complete" if _is_whole(reply, pieces) else "silent"


def _pieces(text: str) -> list[int]:
    return [int(number) for number in _PIECE.findall(text)]


def _is_whole(reply: Reply, pieces: int) -> bool:
    """Whether every piece is there, whatever came twice: that is counted by itself."""
    return set(reply.pieces) >= set(range(pieces))
