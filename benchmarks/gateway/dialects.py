"""What clients send: one request for each API, with a key, as bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping

KEY = "sk-bench-0123456789abcdef"
_MESSAGES = [{"role": "user", "content": "Why is the sky blue? Answer in one sentence."}]
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOL = {"name": "weather", "description": "The weather in a city, now."}
_TOOLS: dict[str, list[dict[str, object]]] = {
    "openai-chat": [{"type": "function", "function": {**_TOOL, "parameters": _SCHEMA}}],
    "anthropic": [{**_TOOL, "input_schema": _SCHEMA}],
}
PATHS = {"openai-chat": "/v1/chat/completions", "anthropic": "/v1/messages"}


def body(dialect: str, model: str, *, stream: bool, tools: bool = False) -> bytes:
    """A chat of one message. ``tools``: whether the model may call one, as in requests of agents."""
    value: dict[str, object] = {"model": model, "messages": _MESSAGES}
    if dialect == "anthropic":
        value["max_tokens"] = 1000
    if stream:
        value["stream"] = True
    if tools:
        value["tools"] = _TOOLS[dialect]
    return json.dumps(value).encode()


def headers(dialect: str, more: Mapping[str, str]) -> dict[str, str]:
    known = {"content-type": "application/json", "accept": "*/*", "authorization": f"Bearer {KEY}", **more}
    return {**known, "x-api-key": KEY, "anthropic-version": "2023-06-01"} if dialect == "anthropic" else known


def request(port: int, path: str, fields: Mapping[str, str], content: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"host: 127.0.0.1:{port}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, f"content-length: {len(content)}", "", ""]).encode() + content
