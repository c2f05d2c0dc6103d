"""Gemini's requests and replies: by hand, the vendor's published ones, and random JSON with their keys."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from polychat.types import ChatRequest
from polychat.wire import gemini
from polychat.wire.json_text import encoded

from .corpus import FOLDER
from .read_replies import ReadReply, read_pieces


def read(value: Any, model: str | None = "gemini-3-pro", **path: Any) -> ChatRequest:
    return gemini.read_request(encoded(value), model=model, **path)


def reread(request: ChatRequest) -> ChatRequest:
    return read(gemini.write_request(request), request.model, stream=request.stream)


def body_of_parts(*parts: Any, role: str = "user", **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": role, "parts": list(parts)}], **fields}


def only(request: ChatRequest) -> list[Any]:
    (turn,) = request.messages
    return turn.parts


def corpus(name: str) -> bytes:
    return (FOLDER / "gemini" / name).read_bytes()


def chunks(stream: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: ")]


def as_array(stream: bytes) -> bytes:
    """The same chunks as the API frames them without ``alt=sse``: an array, indented."""
    return b"[" + b",\r\n".join(json.dumps(chunk, indent=2).encode() + b"\n" for chunk in chunks(stream)) + b"]\n"


STREAMS = [
    "stream-text.sse",
    "stream-thoughts-call.sse",
    "stream-signed-text.sse",
    "stream-blocked.sse",
    "stream-recitation.sse",
    "stream-code.sse",
]
FRAMINGS = {"events": lambda stream: stream, "crlf": lambda stream: stream.replace(b"\n", b"\r\n"), "array": as_array}


def read_chunks(*values: Any) -> ReadReply:
    return read_pieces(gemini.Reader(), [b"".join(b"data: " + encoded(value) + b"\n\n" for value in values)])


def candidate(*parts: Any, reason: str | None = "STOP", **fields: Any) -> dict[str, Any]:
    value = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **fields}
    return {"candidates": [{**value, "finishReason": reason} if reason else value]}


WORDS = st.sampled_from(
    [
        *("contents", "parts", "text", "role", "model", "user", "functionCall", "functionResponse", "name", "args", "response"),
        *("inlineData", "mimeType", "data", "fileData", "fileUri", "tools", "functionDeclarations", "parameters", "type"),
        *("generationConfig", "thinkingConfig", "toolConfig", "functionCallingConfig", "mode", "systemInstruction", "thought"),
        *("thoughtSignature", "allowedFunctionNames", "generateContentRequest", "responseSchema", "id", "output", "error"),
    ]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)
