"""Whether a failure means that the prompt exceeds the model's context: how each backend reports it, in one module.

Clients shorten a conversation only on the error of the API that they use, so each wire's ``errors`` checks here first. A
structured code decides if a backend has one, otherwise the text of its message. Sources are the servers' own code and
documentation: platform.openai.com/docs/guides/error-codes, docs.anthropic.com/en/api/errors, ai.google.dev/gemini-api/docs,
llama.cpp (tools/server), vLLM (entrypoints/openai), SGLang, LM Studio, Ollama (server/routes.go), OpenRouter, docs.x.ai,
docs.mistral.ai, console.groq.com/docs, docs.together.ai, docs.cohere.com, help.aliyun.com (Qwen).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CODES = frozenset(
    {
        "context_length_exceeded",  # OpenAI, Groq, DeepSeek and most compatible servers
        "context_window_exceeded",
        "exceed_context_size_error",  # llama.cpp
        "model_context_window_exceeded",
        "model_max_prompt_tokens_exceeded",  # GitHub Copilot
        "prompt_too_long",
        "tokens_limit_reached",  # GitHub Models
    }
)
"""Values of an error's ``code`` or ``type``."""

_WORDINGS = (
    r"prompt (?:is |was )?too long",  # Anthropic, Fireworks, Ollama
    r"input is too long for",  # Bedrock
    r"exceeds? (?:the |this |its |your )?(?:model's |available |maximum |max )*context",  # OpenAI, llama.cpp, SGLang, Anthropic
    r"context size has been exceeded",  # llama.cpp, inside a stream
    r"context (?:window|length|limit|size) (?:is )?(?:exceed|overflow|reached)",  # MiniMax: context window exceeds limit
    r"maximum (?:context|prompt|model) length",  # OpenAI's older text, vLLM, OpenRouter, Mistral, xAI
    r"context length (?:of|is) (?:only )?\d",  # LM Studio, vLLM
    r"(?:greater|longer) than the (?:model's )?(?:maximum )?context length",  # LM Studio, SGLang
    r"input token count.{0,40}exceeds",  # Gemini
    r"prompt token count.{0,40}exceeds",  # GitHub Copilot
    r"reduce the length of the (?:messages|prompt|input)",  # Groq, vLLM
    r"exceeded model token limit",  # Moonshot
    r"range of input length should be",  # Qwen
    r"number of tokens in the prompt cannot exceed",  # Cohere
    r"inputs` tokens \+ `max_new_tokens` must be",  # text-generation-inference, Together
)
_TOO_LONG = re.compile("|".join(_WORDINGS), re.IGNORECASE)
_OTHERWISE = re.compile(r"rate.?limit|too many requests|(?:tokens|requests) per (?:minute|hour|day)|throttl", re.IGNORECASE)
"""Rate limits, whose messages mention tokens too."""
_READ = 2_000
"""Maximum characters of a message that are searched; the vendor decides about its length."""


def is_overflow(codes: Iterable[object], message: str) -> bool:
    """Whether a backend's error, by its codes or its message, says that the prompt is longer than the model's context."""
    if any(code in CODES for code in codes if isinstance(code, str)):
        return True
    searched = message[:_READ]
    return _TOO_LONG.search(searched) is not None and _OTHERWISE.search(searched) is None
