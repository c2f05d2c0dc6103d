"""A translated request breaks no vendor's published schema: what agents and SDKs send, in every dialect, before every
vendor.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..support import vendor_schemas
from ..support.running_gateway import asking, configured, fault, gateway, row

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASKED = {"role": "user", "content": "Why is the sky blue?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "description": "Of a city.", "parameters": CITY}}
USED = [
    ASKED,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
SHAPE = {
    "type": "json_schema",
    "json_schema": {"name": "town", "strict": True, "schema": {**CITY, "additionalProperties": False}},
}
BLOCK_TOOL = {"name": "weather", "description": "Of a city.", "input_schema": CITY}
BLOCK_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}

CHAT: dict[str, dict[str, Any]] = {
    "words": {"messages": [{"role": "system", "content": "Be short."}, ASKED], "temperature": 0.3, "max_tokens": 20},
    "several turns": {"messages": [ASKED, {"role": "assistant", "content": "Rayleigh."}, {"role": "user", "content": "Who?"}]},
    "a late system turn": {"messages": [ASKED, {"role": "system", "content": "Be short."}, ASKED]},
    "an image": {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE]}]},
    "tools": {"messages": [ASKED], "tools": [CHAT_TOOL], "tool_choice": "auto", "parallel_tool_calls": False},
    "a tool that must be called": {
        "messages": [ASKED],
        "tools": [CHAT_TOOL],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    },
    "a tool's long name": {"messages": [ASKED], "tools": [{"type": "function", "function": {"name": "a.b" * 30}}]},
    "a tool without arguments": {"messages": [ASKED], "tools": [{"type": "function", "function": {"name": "now"}}]},
    "a tool that was called": {"messages": USED, "tools": [CHAT_TOOL]},
    "free text": {"messages": [ASKED], "tools": [{"type": "custom", "custom": {"name": "patch", "description": "A patch."}}]},
    "a schema": {"messages": [ASKED], "response_format": SHAPE},
    "any JSON": {"messages": [ASKED], "response_format": {"type": "json_object"}},
    "thoughts": {"messages": [ASKED], "reasoning_effort": "xhigh"},
    "few thoughts": {"messages": [ASKED], "reasoning_effort": "minimal", "max_completion_tokens": 5},
    "many stops": {"messages": [ASKED], "stop": ["a", "b", "c", "d"]},
    "sampling": {"messages": [ASKED], "top_p": 0.5, "seed": 7, "presence_penalty": 0, "frequency_penalty": 0.1, "n": 1},
    "a long user": {"messages": [ASKED], "user": "u" * 150, "service_tier": "flex", "metadata": {"a": "b"}, "store": False},
    "an empty assistant": {"messages": [ASKED, {"role": "assistant", "content": ""}, ASKED]},
}
MESSAGES: dict[str, dict[str, Any]] = {
    "words": {"system": "Be short.", "messages": [ASKED], "stop_sequences": ["a", "b", "c", "d", "e", "f"]},
    "blocks": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, BLOCK_IMAGE]}
        ]
    },
    "several texts": {
        "messages": [ASKED, {"role": "assistant", "content": [{"type": "text", "text": one} for one in "abc"]}, ASKED]
    },
    "thinking": {"messages": [ASKED], "thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096},
    "tools": {"messages": [ASKED], "tools": [BLOCK_TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    "a tool that showed an image": {
        "messages": [
            ASKED,
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [BLOCK_IMAGE]}]},
        ],
        "tools": [BLOCK_TOOL],
    },
    "a user": {"messages": [ASKED], "metadata": {"user_id": "u" * 155}, "temperature": 1, "top_k": 5},
    "thoughts of another": {
        "messages": [ASKED, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}, ASKED],
    },
}
RESPONSES: dict[str, dict[str, Any]] = {
    "words": {"input": "hi", "instructions": "Be short.", "max_output_tokens": 5},
    "items": {"input": [{"type": "message", "role": "developer", "content": "x"}, {"role": "user", "content": "hi"}]},
    "calls": {
        "input": [
            {"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "c" * 80, "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c" * 80, "output": "rain"},
        ],
        "tools": [{"type": "function", "name": "weather", "parameters": CITY, "strict": False}],
    },
    "an agent's tools": {
        "input": "hi",
        "tools": [
            {"type": "function", "name": "weather", "parameters": CITY, "strict": False},
            {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}},
            {"type": "web_search"},
        ],
        "reasoning": {"effort": "high", "summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k",
    },
    "an image": {
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}]}]
    },
}
CONTENTS: dict[str, dict[str, Any]] = {
    "words": {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be short."}]},
        "generationConfig": {"candidateCount": 1, "maxOutputTokens": 9, "stopSequences": list("abcde"), "topK": 3},
    },
    "tools": {
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"output": "rain"}}}]},
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "weather", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}
                ]
            }
        ],
    },
    "an image and thoughts": {
        "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": PIXEL}}, {"text": "What?"}]}],
        "generationConfig": {
            "thinkingConfig": {"thinkingBudget": 512, "includeThoughts": True},
            "responseMimeType": "application/json",
        },
    },
}
OLLAMA: dict[str, dict[str, Any]] = {
    "words": {"messages": [ASKED], "options": {"temperature": 0.1, "num_predict": 4, "stop": ["a"], "top_k": 3, "min_p": 0.1}},
    "a schema and an image": {
        "messages": [{"role": "user", "content": "What?", "images": [PIXEL]}],
        "format": CITY,
        "think": True,
    },
    "tools": {"messages": [ASKED], "tools": [CHAT_TOOL]},
}
CORPUS = {
    "openai-chat": CHAT,
    "anthropic": MESSAGES,
    "openai-responses": RESPONSES,
    "gemini": CONTENTS,
    "ollama": OLLAMA,
}
MODELS = {
    "openai-chat": "gpt-4o",
    "openai-responses": "gpt-5.1",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-3-pro",
}
VENDORS = {"openai-chat": "openai", "openai-responses": "openai-responses", "anthropic": "anthropic", "gemini": "gemini"}
PAIRS = [(dialect, wire) for dialect in CORPUS for wire in vendor_schemas.REQUESTS if dialect != wire]


@pytest.mark.parametrize(("dialect", "wire"), PAIRS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_what_goes_out_is_what_the_vendor_describes(
    serve: Any, monkeypatch: pytest.MonkeyPatch, dialect: str, wire: str, stream: bool
) -> None:
    """Every request of the corpus that is translated for a vendor is a request by that vendor's own document."""
    backend = await serve(fault(400, "invalid_request_error"))  # which rests no target, however often it is said
    problems: list[str] = []
    name = VENDORS[wire]
    for vendor in ("OPENAI", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{vendor}_API_KEY", "sk-for-tests-alone")
    async with gateway(configured({name: row(wire, backend.url)}, on_loss="allow")) as here:
        for about, body in CORPUS[dialect].items():
            backend.seen.clear()
            path, whole_body = asking(dialect, f"{name}/{MODELS[wire]}", stream=stream, **body)
            for gone in {"messages", "input", "contents"} & whole_body.keys() - body.keys():
                del whole_body[gone]
            answer = await here.ask(path, whole_body)
            if not backend.seen:
                problems.append(f"{about}: not asked: {answer.body.decode()[:200]}")
                continue
            sent = json.loads(backend.seen[0].body)
            if wire == "gemini":
                sent = {"model": f"models/{MODELS[wire]}", **sent}
            problems += [f"{about}: {one}" for one in vendor_schemas.wrong(*vendor_schemas.REQUESTS[wire], sent)]
    assert not problems


async def test_the_check_finds_what_is_wrong() -> None:
    """A request that each vendor would refuse is refused by its document: the check can fail."""
    assert vendor_schemas.wrong("openai", "CreateChatCompletionRequest", {"model": "m", "messages": [{"role": "nobody"}]})
    assert vendor_schemas.wrong("openai", "CreateResponse", {"model": "m", "input": "hi", "max_output_tokens": "many"})
    assert vendor_schemas.wrong(
        "anthropic", "CreateMessageParams", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    )
    assert vendor_schemas.wrong("gemini", "GenerateContentRequest", {"contents": [{"parts": [{"words": "hi"}]}]})
