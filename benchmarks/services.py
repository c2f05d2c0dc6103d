"""The services that the clients are measured on, in a process of their own, so that the CPU counted is the clients' alone.

An address is ``http://127.0.0.1:PORT/PIECES/GAP``: how many pieces an answer has, and how many milliseconds pass between
two of them (0: all at once). Below it each service is found where the real one has it. Run as a program it prints its port.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from functools import cache

PIECE = "a word or two, "
NONCE = "94d05cd44b"
FAR = 4_102_444_800  # the year 2100: these logins do not expire


def sse(*values: object) -> list[bytes]:
    return [b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n" for value in values]


def chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-4o",
        "choices": [choice],
    }


def ai_engine(pieces: int) -> list[bytes]:
    end = json.dumps({"success": True, "reply": (PIECE * pieces).strip(), "images": None, "usage": None})
    return sse(*[{"type": "live", "data": PIECE}] * pieces, {"type": "end", "data": end})


def openai(pieces: int) -> list[bytes]:
    # No two pieces alike: LiteLLM takes a hundred that are for a model gone mad.
    words = [chunk({"content": f"{PIECE[:-2]} {number:04}"}) for number in range(pieces)]
    said = [chunk({"role": "assistant", "content": ""}), *words]
    return sse(*said, chunk({}, "stop"), b"[DONE]")


def gptalk(pieces: int) -> list[bytes]:
    return sse(*({"content": PIECE * count} for count in range(1, pieces + 1)), b"[DONE]")


PAGE = f"""<!DOCTYPE html><html><head><title>Chat</title></head><body>
<div class="wpaicg-chat-shortcode" data-nonce="{NONCE}" data-post-id="5" data-url="https://chatgptt.me" data-bot-id="0"></div>
</body></html>"""

EVENTS, JSON, HTML = "text/event-stream", "application/json", "text/html"
STREAMS = {
    "wp-json/mwai-ui/v1/chats/submit": ai_engine,
    "wp-admin/admin-ajax.php": openai,
    "v1/chat/completions": openai,
    "api/chatgpt/chatapi/stream": gptalk,
}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "gpt-4o",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": PIECE, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 12,
        "completion_tokens": 8,
        "total_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
WHOLES = {
    "POST whole/v1/chat/completions": (JSON, COMPLETION),
    "POST ": (JSON, {"answer": PIECE, "results": [{"title": "a", "link": "https://example.com/", "snippet": "b"}]}),
    "POST api/text": (JSON, {"response": True, "message": PIECE}),
    "GET ": (HTML, PAGE),
    "POST api/chatgpt/user/login": (JSON, {"data": {"token": "a" * 32, "expires_at": FAR}}),
    "POST api/chatgpt/chatapi/text": (JSON, {"data": {"token": "b" * 32}}),
}


@cache
def stream(path: str, pieces: int) -> list[bytes]:
    """An answer as HTTP chunks, one a piece."""
    return [b"%x\r\n%b\r\n" % (len(part), part) for part in STREAMS[path](pieces)]


@cache
def stream_at_once(path: str, pieces: int) -> bytes:
    return head(EVENTS, "Transfer-Encoding: chunked") + b"".join(stream(path, pieces)) + b"0\r\n\r\n"


@cache
def whole(key: str) -> bytes:
    content_type, value = WHOLES[key]
    body = (value if isinstance(value, str) else json.dumps(value)).encode()
    return head(content_type, f"Content-Length: {len(body)}") + body


def head(content_type: str, length: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{length}\r\n\r\n".encode()


class Connection(asyncio.Protocol):
    """One client's connection, kept alive."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data
        first, end, rest = self.heard.partition(b"\r\n\r\n")
        if not end:
            return
        length = re.search(rb"(?i)\ncontent-length: *(\d+)", first)
        if len(rest) >= int(length[1] if length else 0):
            self.heard = b""
            self.answer(*first.split(b" ", 2)[:2])

    def answer(self, method: bytes, target: bytes) -> None:
        _, pieces, gap, *rest = target.decode().partition("?")[0].split("/")
        path = "/".join(rest)
        if path not in STREAMS:
            self.transport.write(whole(f"{method.decode()} {path}"))
        elif gap == "0":
            self.transport.write(stream_at_once(path, int(pieces)))
        else:
            self.transport.write(head(EVENTS, "Transfer-Encoding: chunked"))
            paces(gap).add(self.transport, stream(path, int(pieces)))


class Paces:
    """Answers that are written a piece at a time, all of them at the same moments."""

    def __init__(self, gap: float) -> None:
        self.gap = gap
        self.writing: dict[asyncio.Transport, list[bytes]] = {}

    def add(self, transport: asyncio.Transport, parts: list[bytes]) -> None:
        if not self.writing:
            asyncio.get_running_loop().call_later(self.gap, self.write)
        self.writing[transport] = [b"0\r\n\r\n", *reversed(parts)]

    def write(self) -> None:
        for transport, parts in list(self.writing.items()):
            transport.write(parts.pop())
            if not parts or transport.is_closing():
                del self.writing[transport]
        if self.writing:
            asyncio.get_running_loop().call_later(self.gap, self.write)


@cache
def paces(gap: str) -> Paces:
    return Paces(int(gap) / 1000)


def alone(batch: bool = False) -> None:
    """Stay on one core, where the system lets us choose: clients and services share it, and no chance decides who wakes whom.

    With ``batch`` this process waits until the other sleeps: it then finds the pieces of all its streams at once.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        if batch:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    alone()
    asyncio.run(main())
