"""Kinds of fault: a prompt that is too long, reported in terms that clients do not know, or taken for another failure."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest

from polychat.config.settings import Route
from polychat.errors import BackendError
from polychat.gateway.paths import DIALECTS
from polychat.wire.contract import names, wire_named
from polychat.wire.faults import error_of
from polychat.wire.overflow import CODES, is_overflow

from ..support.running_gateway import DONE, FIRST, Running, asking, configured, event, gateway, good, row, streaming, text
from ..support.scripted_server import Say, Seen

WORDINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llamacpp": (
        "openai-chat",
        {
            "error": {
                "code": 400,
                "type": "exceed_context_size_error",
                "message": "the request exceeds the available context size",
            }
        },
    ),
    "vllm": (
        "openai-chat",
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens.",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    "vllm-new": (
        "openai-chat",
        {
            "error": {
                "message": "'max_tokens' is too large: 9000. This model's maximum context length is 4096 tokens",
                "type": "BadRequestError",
                "code": 400,
            }
        },
    ),
    "lmstudio": (
        "openai-chat",
        {"error": "Trying to keep the first 9000 tokens. However, the model is loaded with context length of only 4096 tokens"},
    ),
    "openai": (
        "openai-chat",
        {
            "error": {
                "message": "Your input exceeds the context window of this model.",
                "type": "invalid_request_error",
                "param": "input",
                "code": "context_length_exceeded",
            }
        },
    ),
    "groq": (
        "openai-chat",
        {
            "error": {
                "message": "Please reduce the length of the messages or completion.",
                "type": "invalid_request_error",
                "code": "context_length_exceeded",
            }
        },
    ),
    "openrouter": (
        "openai-chat",
        {"error": {"message": "This endpoint's maximum context length is 4096 tokens. You requested about 9000.", "code": 400}},
    ),
    "xai": (
        "openai-chat",
        {
            "error": "This model's maximum prompt length is 4096 but the request contains 9000 tokens.",
            "code": "invalid argument",
        },
    ),
    "mistral": (
        "openai-chat",
        {
            "object": "error",
            "message": "Prompt contains 9000 tokens, too large for model with 4096 maximum context length",
            "type": "invalid_request_prompt",
            "code": "3051",
        },
    ),
    "minimax": (
        "openai-chat",
        {"error": {"message": "invalid params, context window exceeds limit (2013)", "type": "bad_request_error"}},
    ),
    "ollama-compat": (
        "openai-chat",
        {"error": {"message": "prompt too long; exceeded max context length by 4904 tokens", "type": "api_error"}},
    ),
    "responses": (
        "openai-responses",
        {"error": {"message": "Your input is too much.", "type": "invalid_request_error", "code": "context_length_exceeded"}},
    ),
    "anthropic": (
        "anthropic",
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 213462 tokens > 200000 maximum"},
        },
    ),
    "anthropic-sum": (
        "anthropic",
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
            },
        },
    ),
    "gemini": (
        "gemini",
        {
            "error": {
                "code": 400,
                "message": "The input token count (1196265) exceeds the maximum number of tokens allowed (1048576).",
                "status": "INVALID_ARGUMENT",
            }
        },
    ),
    "ollama": ("ollama", {"error": "prompt too long; exceeded max context length by 4904 tokens"}),
}
"""By backend: the wire it speaks and what it says, as its documentation or its code has it."""

PAIRS = [(backend, dialect) for backend in WORDINGS for dialect in DIALECTS]
STREAMED: dict[str, dict[str, Any]] = {
    "openai-chat": {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}},
    "openai-responses": {
        "type": "error",
        "code": "context_length_exceeded",
        "message": "too much",
        "param": None,
        "sequence_number": 1,
    },
    "anthropic": WORDINGS["anthropic"][1],
    "gemini": WORDINGS["gemini"][1],
    "ollama": WORDINGS["ollama"][1],
}
"""As each wire tells it inside a stream."""


def is_told(dialect: str, body: bytes) -> bool:
    """Whether the dialect's clients see that the prompt is too long: by the code or the words that they look for."""
    text = body.decode()
    match dialect:
        case "anthropic":
            return "prompt is too long" in text and '"invalid_request_error"' in text
        case "gemini":
            return "token count" in text and "exceeds the maximum number of tokens allowed" in text
        case "ollama":
            return "prompt too long" in text or "prompt is too long" in text or "context length" in text
    return '"code":"context_length_exceeded"' in text.replace('": "', '":"')


def refusing(status: int, body: dict[str, Any]) -> Any:
    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body, status)

    return handler


def stream_of(wire_name: str) -> Any:
    data = json.dumps(STREAMED[wire_name]).encode()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head(content_type="application/x-ndjson" if wire_name == "ollama" else "text/event-stream")
        name = f"event: {STREAMED[wire_name]['type']}\n".encode() if "type" in STREAMED[wire_name] else b""
        await say.chunk(data + b"\n" if wire_name == "ollama" else name + b"data: " + data + b"\n\n")
        await say.last()

    return handler


async def status_and_body(here: Running, dialect: str, *, stream: bool = False) -> tuple[int, bytes]:
    answer = await here.ask(*asking(dialect, stream=stream))
    return answer.status, answer.body


@pytest.mark.parametrize("status", [400, 413, 500])
@pytest.mark.parametrize("backend", WORDINGS)
async def test_in_the_dialects_own_terms(serve: Any, backend: str, status: int) -> None:
    """Whatever a backend calls it, and under whichever status, each dialect reports it in the terms that its clients act on."""
    wire_name, body = WORDINGS[backend]
    served = await serve(refusing(status, body))
    async with gateway(configured({"house": row(wire_name, served.url)})) as here:
        for dialect in DIALECTS:
            code, text = await status_and_body(here, dialect)
            assert code == 400, (dialect, text)
            assert is_told(dialect, text), (dialect, text)


@pytest.mark.parametrize("wire_name", names())
@pytest.mark.parametrize("stream", [True, False])
async def test_inside_a_stream(serve: Any, wire_name: str, stream: bool) -> None:
    """An error event in a 200, before any text, is the same failure as a status."""
    served = await serve(stream_of(wire_name))
    async with gateway(configured({"house": row(wire_name, served.url)})) as here:
        for dialect in DIALECTS:
            if not stream and wire_name == "ollama":
                continue  # its error is a body of its own there
            code, text = await status_and_body(here, dialect, stream=True)
            assert code == 400, (dialect, text)
            assert is_told(dialect, text), (dialect, text)


TRANSLATED = [name for name, dialect in DIALECTS.items() if not (dialect.passes and dialect.wire.NAME == "openai-chat")]
"""Doors at which a stream of OpenAI's chat wire does not pass unchanged."""


@pytest.mark.parametrize("dialect", TRANSLATED)
async def test_after_text(serve: Any, dialect: str) -> None:
    """llama.cpp says it amid a stream: the dialect's error event has the same words."""
    served = await serve(streaming(FIRST, text("Hel"), event(STREAMED["openai-chat"]), DONE))
    async with gateway(configured({"house": row("openai-chat", served.url)})) as here:
        code, error_text = await status_and_body(here, dialect, stream=True)
    assert code == 200
    assert b"Hel" in error_text
    assert is_told(dialect, error_text), error_text


@pytest.mark.parametrize("backend", WORDINGS)
async def test_the_next_target_is_asked(serve: Any, backend: str) -> None:
    """A larger model may take it; and the first target is as well as before, for it is not at fault."""
    wire_name, body = WORDINGS[backend]
    small, large = await serve(refusing(400, body)), await serve(good)
    providers = {"house": row(wire_name, small.url), "other": row("openai-chat", large.url)}
    routes = {"fast": Route(("house/small", "other/small"), strategy="ordered")}
    async with gateway(configured(providers, routes=routes)) as here:
        for _ in range(4):
            answer = await here.ask(*asking("openai-chat", "fast"))
            assert (answer.status, answer.headers["x-polychat-provider"]) == (200, "other")
    assert len(small.seen) == 4, "it was never passed over"


@pytest.mark.parametrize(
    ("wire_name", "status", "body"),
    [
        (
            "openai-chat",
            429,
            {"error": {"message": "Request too large: tokens per minute (TPM): Limit 6000", "code": "rate_limit_exceeded"}},
        ),
        ("openai-chat", 400, {"error": {"message": "messages: the context of a tool call is missing"}}),
        ("openai-chat", 413, {"error": {"message": "request entity too large"}}),
        (
            "anthropic",
            413,
            {"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}},
        ),
        ("gemini", 400, {"error": {"code": 400, "message": "token is not valid", "status": "INVALID_ARGUMENT"}}),
        ("ollama", 500, {"error": "model requires more system memory than is available"}),
        ("openai-chat", 500, {"error": {"message": "out of memory: reduce the batch", "type": "server_error"}}),
    ],
)
def test_what_is_something_else(wire_name: str, status: int, body: dict[str, Any]) -> None:
    """Limits in time, sizes in bytes and other bad requests are not taken for it: a client would shorten in vain."""
    assert wire_named(wire_name).read_fault(status, json.dumps(body).encode()).kind != "context_length"


@pytest.mark.parametrize("wire_name", names())
def test_codes_decide_before_words(wire_name: str) -> None:
    """A structured code is enough, whatever the message says, on every wire."""
    for code in CODES:
        body: dict[str, Any] = {"error": {"message": "no", "code": code, "type": code}}
        if wire_name == "anthropic":
            body = {"type": "error", "error": {"message": "no", "type": code}}
        if wire_name == "gemini":
            body = {"error": {"message": "no", "status": code, "code": 400}}
        fault = wire_named(wire_name).read_fault(400, json.dumps(body).encode())
        assert fault.kind == "context_length", (code, fault)
        error = error_of(fault)
        assert isinstance(error, BackendError)
        assert error.kind == "context_length"


def test_a_message_without_end() -> None:
    """A backend's message is examined in bounded time, however long it is."""
    began = process_time()
    for worst in ("exceeds the this its " * 50_000, "input token count" * 60_000, "model's " * 120_000, "exceed" * 160_000):
        assert not is_overflow((), worst)
    assert process_time() - began < 0.5


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ("prompt is too long: 200001 tokens > 200000 maximum", "prompt is too long: 200001 tokens > 200000 maximum"),
        ("prompt is too long: this model's context is 4096 tokens", "this model's context is 4096 tokens"),
    ],
)
def test_what_a_gateway_put_before_a_vendors_words_is_taken_off(message: str, read: str) -> None:
    """Another dialect puts its own before them; what Anthropic says itself stays whole."""
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    fault = wire_named("anthropic").read_fault(400, json.dumps(body).encode())
    assert (fault.kind, fault.message) == ("context_length", read)
    assert json.loads(wire_named("anthropic").write_fault(fault))["error"]["message"] == message
