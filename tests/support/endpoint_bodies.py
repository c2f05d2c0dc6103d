"""A small valid request of each endpoint that reads a body."""

from __future__ import annotations

from typing import Any

MESSAGES = [{"role": "user", "content": "hi"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]
MODEL = {"model": "house/small"}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {**MODEL, "messages": MESSAGES},
    "/v1/completions": {**MODEL, "prompt": "hi"},
    "/v1/embeddings": {**MODEL, "input": "hi"},
    "/v1/responses": {**MODEL, "input": "hi"},
    "/v1/responses/input_tokens": {**MODEL, "input": "hi"},
    "/v1/responses/compact": {**MODEL, "input": "hi"},
    "/v1/messages": {**MODEL, "max_tokens": 9, "messages": MESSAGES},
    "/v1/messages/count_tokens": {**MODEL, "messages": MESSAGES},
    "/api/chat": {**MODEL, "messages": MESSAGES, "stream": False},
    "/api/generate": {**MODEL, "prompt": "hi", "stream": False},
    "/api/embed": {**MODEL, "input": "hi"},
    "/api/embeddings": {**MODEL, "prompt": "hi"},
    "/api/show": MODEL,
    ":generateContent": {"contents": CONTENTS},
    ":streamGenerateContent": {"contents": CONTENTS},
    ":countTokens": {"contents": CONTENTS},
    ":embedContent": {"content": CONTENTS[0]},
    ":batchEmbedContents": {"requests": [{"content": CONTENTS[0]}]},
}
"""A request of each endpoint that reads a body."""
ONLY = {"/v1/responses/compact": "openai-responses"}
"""Endpoints for backends of one wire alone."""
