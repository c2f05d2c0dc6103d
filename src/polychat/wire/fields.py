"""The table of request fields: what each is, where it is on each wire, and what happens to it there.

A row is the only description of a field: reading and writing on every wire (``plain.py``), the losses of a translation
(``losses.py``), the keywords of ``polychat.ask``, the gateway's OpenAPI and the documentation come from it. A field with more
than one value (a message, a tool, a schema) is read and written by the wires' own code, and listed here like the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from .checks import short_name
from .field import (
    COUNT,
    FLAG,
    KEPT,
    NUMBER,
    PAIRS,
    TEXT,
    TEXT_OR_TEXTS,
    TEXTS,
    WEIGHTS,
    WHOLE,
    At,
    Field,
    SupportTable,
    dropped,
    emulated,
    implied,
    kept,
    mapped,
    table,
)
from .message_fields import MESSAGE_FIELDS

_FOREIGN_TOOL = dropped("only another vendor's backend can run it")
_ONLY_WITH_TOOLS = kept("only with tools")
_AS_FUNCTION = emulated("as a function with one text argument, named input")
_FOREIGN_FIELD = dropped("it is a field of another API")
_NO_FORCE = dropped("this API cannot force a tool call")
_ALWAYS_BINDS = emulated("this API always enforces the schema")
_EXTRAS = " ".join(
    f"{value}.extra"
    for value in (
        "ChatMessage",
        "TextPart",
        "ImagePart",
        "AudioPart",
        "FilePart",
        "ReasoningPart",
        "ToolCall",
        "ToolResult",
        "Tool",
    )
)
_NO_PENALTIES = dropped("the API does not support penalties")
_NO_SAMPLER = dropped("the Responses API does not support it")
_OLDER_CLAUDES = "Claude Opus 4.7 and later models reject it"
_NOT_OPENAI = "supported by many servers; OpenAI rejects it, so it is dropped for OpenAI"
_LONG_NAMES = "a name longer than 64 characters is sent as its hash"


def _at_most_one(temperature: float) -> float:
    return min(temperature, 1.0)


def _claudes_tier(tier: str) -> str:
    return "standard_only" if tier in ("default", "standard_only") else "auto"


def _tier_of_claude(tier: str) -> str:
    return "default" if tier == "standard_only" else tier


FIELDS = table(
    Field(
        name="model",
        about="the name of the model",
        of="ChatRequest.model",
        anthropic=KEPT,
        gemini=mapped("in the path"),
        ollama=KEPT,
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    *MESSAGE_FIELDS,
    Field(
        name="tools",
        about="tools that the model may call",
        form=True,
        of="ChatRequest.tools Tool.name Tool.description Tool.parameters Tool.namespace",
        anthropic=mapped("input_schema; missing parameters are sent as an empty object schema"),
        gemini=mapped("functionDeclarations"),
        ollama=mapped("functions; missing parameters are sent as an empty object schema"),
        openai_chat=KEPT,
        openai_responses=mapped("missing parameters are sent as an empty object schema"),
    ),
    Field(
        name="tools.custom",
        about="tools whose input is free text or follows a grammar",
        form=True,
        of="Tool.kind Tool.format",
        anthropic=_AS_FUNCTION,
        gemini=_AS_FUNCTION,
        ollama=_AS_FUNCTION,
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    Field(
        name="tools.strict",
        about="whether the arguments of a tool must follow its schema",
        of="Tool.strict",
        anthropic=KEPT,
        gemini=dropped("the API has no such flag for a tool; it has the mode VALIDATED for all of them, with extra"),
        ollama=dropped("the API does not enforce the schema of arguments"),
        openai_chat=KEPT,
        openai_responses=mapped("false if a request of another wire does not set it: on this API tools are strict by default"),
    ),
    Field(
        name="tools.hosted",
        about="tools that the backend runs, in the format of this wire",
        form=True,
        of="HostedTool.kind HostedTool.spec",
        anthropic=KEPT,
        gemini=KEPT,
        ollama=KEPT,
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    Field(
        name="tools.hosted.foreign",
        about="tools that another vendor's backend runs",
        form=True,
        of="HostedTool.kind HostedTool.spec",
        anthropic=_FOREIGN_TOOL,
        gemini=_FOREIGN_TOOL,
        ollama=_FOREIGN_TOOL,
        openai_chat=_FOREIGN_TOOL,
        openai_responses=_FOREIGN_TOOL,
    ),
    Field(
        name="tool_choice.auto",
        about="the model decides whether to call tools",
        of="ChatRequest.tool_choice",
        anthropic=_ONLY_WITH_TOOLS,
        gemini=mapped("AUTO"),
        ollama=implied("omitted: it is the API's default"),
        openai_chat=_ONLY_WITH_TOOLS,
        openai_responses=KEPT,
    ),
    Field(
        name="tool_choice.none",
        about="the model must not call tools",
        of="ChatRequest.tool_choice",
        anthropic=_ONLY_WITH_TOOLS,
        gemini=mapped("NONE"),
        ollama=emulated("the tools are omitted"),
        openai_chat=_ONLY_WITH_TOOLS,
        openai_responses=KEPT,
    ),
    Field(
        name="tool_choice.required",
        about="the model must call a tool",
        form=True,
        of="ChatRequest.tool_choice",
        anthropic=mapped("any; only with tools"),
        gemini=mapped("ANY"),
        ollama=_NO_FORCE,
        openai_chat=_ONLY_WITH_TOOLS,
        openai_responses=KEPT,
    ),
    Field(
        name="tool_choice.named",
        about="the model must call this tool",
        form=True,
        of="ChatRequest.tool_choice",
        anthropic=mapped("tool; only with tools"),
        gemini=mapped("ANY, with this name as the only one allowed"),
        ollama=_NO_FORCE,
        openai_chat=_ONLY_WITH_TOOLS,
        openai_responses=mapped("as type function"),
    ),
    Field(
        name="parallel_tool_calls",
        about="whether the model may call several tools at once",
        type=FLAG,
        default=(True,),
        anthropic=At(
            "tool_choice.disable_parallel_tool_use",
            "inverted; only with tools, and not if calls are forbidden",
            by_code="both",
        ),
        gemini=dropped("the model decides how many tools it calls at once"),
        ollama=dropped("the model decides how many tools it calls at once"),
        openai_chat=At("parallel_tool_calls", "only with tools", by_code="write"),
        openai_responses=At("parallel_tool_calls"),
    ),
    Field(
        name="format.json",
        about="a reply in JSON of any form",
        form=True,
        of="ChatRequest.format",
        anthropic=emulated("requested in the system message"),
        gemini=mapped("responseMimeType"),
        ollama=mapped("format"),
        openai_chat=mapped("response_format json_object"),
        openai_responses=mapped("text.format json_object"),
    ),
    Field(
        name="format.schema",
        about="a reply that follows a JSON schema",
        form=True,
        of="ChatRequest.format",
        anthropic=mapped("output_config.format, without the schema's name and description"),
        gemini=mapped("responseJsonSchema, without its name and description"),
        ollama=mapped("format, without the schema's name and description"),
        openai_chat=mapped("response_format json_schema; a schema without a name is named answer"),
        openai_responses=mapped("text.format json_schema; a schema without a name is named answer"),
    ),
    Field(
        name="format.strict",
        about="whether the reply must follow the schema exactly",
        of="ChatRequest.format",
        anthropic=_ALWAYS_BINDS,
        gemini=emulated("the API always enforces the schema"),
        ollama=_ALWAYS_BINDS,
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    Field(
        name="max_tokens",
        about="the maximum number of tokens in the reply",
        type=WHOLE,
        least=1,
        anthropic=At(
            "max_tokens",
            "required by the API: by default 8,192, plus the reasoning budget; 32,000 for adaptive thinking",
            COUNT,
            by_code="write",
        ),
        gemini=At("generationConfig.maxOutputTokens", "reasoning included"),
        ollama=At("options.num_predict", by_code="read"),
        openai_chat=At("max_completion_tokens", "max_tokens for vendors whose entry says so", older=("max_tokens",)),
        openai_responses=At("max_output_tokens", "OpenAI requires at least 16", COUNT),
    ),
    Field(
        name="temperature",
        about="the randomness of the reply: at 0 the most likely tokens",
        type=NUMBER,
        anthropic=At("temperature", "at most 1; Claude Opus 4.7 and later models reject it", write=_at_most_one),
        gemini=At("generationConfig.temperature"),
        ollama=At("options.temperature"),
        openai_chat=At("temperature"),
        openai_responses=At("temperature"),
    ),
    Field(
        name="top_p",
        about="sample from the most likely tokens whose probabilities add up to this",
        type=NUMBER,
        anthropic=At("top_p", _OLDER_CLAUDES),
        gemini=At("generationConfig.topP"),
        ollama=At("options.top_p"),
        openai_chat=At("top_p"),
        openai_responses=At("top_p"),
    ),
    Field(
        name="top_k",
        about="sample from this many of the most likely tokens",
        type=WHOLE,
        least=0,
        anthropic=At("top_k", _OLDER_CLAUDES, COUNT),
        gemini=At("generationConfig.topK"),
        ollama=At("options.top_k"),
        openai_chat=At("top_k", _NOT_OPENAI),
        openai_responses=_NO_SAMPLER,
    ),
    Field(
        name="min_p",
        about="exclude tokens less likely than this fraction of the most likely one",
        type=NUMBER,
        default=(0,),
        anthropic=dropped("the API does not support min_p"),
        gemini=dropped("the API does not support min_p"),
        ollama=At("options.min_p"),
        openai_chat=At("min_p", _NOT_OPENAI),
        openai_responses=_NO_SAMPLER,
    ),
    Field(
        name="frequency_penalty",
        about="reduce the probability of tokens by how often they occurred",
        type=NUMBER,
        default=(0,),
        anthropic=_NO_PENALTIES,
        gemini=At("generationConfig.frequencyPenalty"),
        ollama=At("options.frequency_penalty"),
        openai_chat=At("frequency_penalty"),
        openai_responses=_NO_SAMPLER,
    ),
    Field(
        name="presence_penalty",
        about="reduce the probability of tokens that occurred",
        type=NUMBER,
        default=(0,),
        anthropic=_NO_PENALTIES,
        gemini=At("generationConfig.presencePenalty"),
        ollama=At("options.presence_penalty"),
        openai_chat=At("presence_penalty"),
        openai_responses=_NO_SAMPLER,
    ),
    Field(
        name="repetition_penalty",
        about="reduce the probability of tokens that occurred, by this factor; 1 has no effect",
        type=NUMBER,
        default=(1,),
        anthropic=_NO_PENALTIES,
        gemini=dropped("the API does not support a repetition penalty"),
        ollama=At("options.repeat_penalty"),
        openai_chat=At("repetition_penalty", _NOT_OPENAI),
        openai_responses=_NO_SAMPLER,
    ),
    Field(
        name="seed",
        about="the seed for sampling: the same seed gives the same reply if the backend supports it",
        type=WHOLE,
        anthropic=dropped("the API does not support a seed"),
        gemini=At("generationConfig.seed"),
        ollama=At("options.seed"),
        openai_chat=At("seed"),
        openai_responses=dropped("the Responses API does not support a seed"),
    ),
    Field(
        name="stop",
        about="sequences that end the reply",
        type=TEXT_OR_TEXTS,
        default=([],),
        anthropic=At("stop_sequences", type=TEXTS),
        gemini=At("generationConfig.stopSequences", "the API accepts at most five", TEXTS),
        ollama=At("options.stop"),
        openai_chat=At("stop"),
        openai_responses=dropped("the Responses API does not support stop sequences"),
    ),
    Field(
        name="logprobs",
        about="return the log probabilities of the tokens; a number adds that many alternatives for each token",
        type=replace(COUNT, keyword=bool | int),
        least=0,
        form=True,
        anthropic=dropped("the API does not return log probabilities"),
        gemini=At("generationConfig.responseLogprobs", "logprobs is the number of alternatives", FLAG, by_code="both"),
        ollama=At("logprobs", "top_logprobs is the number of alternatives", FLAG, by_code="both"),
        openai_chat=At("logprobs", "top_logprobs is the number of alternatives", FLAG, by_code="both"),
        openai_responses=At("top_logprobs", "with message.output_text.logprobs in include", by_code="both"),
    ),
    Field(
        name="logit_bias",
        about="a bias for each token id, added before sampling",
        type=WEIGHTS,
        default=({},),
        anthropic=dropped("the API does not support logit biases"),
        gemini=dropped("the API does not support logit biases"),
        ollama=dropped("the API does not support logit biases"),
        openai_chat=At("logit_bias"),
        openai_responses=dropped("the Responses API does not support logit biases"),
    ),
    Field(
        name="n",
        about="the number of replies to generate",
        type=WHOLE,
        least=1,
        default=(1,),
        form=True,
        anthropic=dropped("the API generates one reply for each request"),
        gemini=At("generationConfig.candidateCount"),
        ollama=dropped("the API generates one reply for each request"),
        openai_chat=At("n"),
        openai_responses=dropped("the Responses API generates one reply for each request"),
    ),
    Field(
        name="reasoning.effort",
        about="the reasoning effort",
        of="ChatRequest.reasoning",
        anthropic=mapped("adaptive thinking with output_config.effort; older models get a budget"),
        gemini=mapped(
            "thinkingLevel, for Gemini 2 thinkingBudget; a level that the model lacks becomes the nearest, reported as a loss"
        ),
        ollama=mapped("think: none is false; minimal becomes low and xhigh becomes high, which all servers support"),
        openai_chat=mapped("reasoning_effort; a level that an OpenAI model lacks becomes the nearest, reported as a loss"),
        openai_responses=kept("reasoning.effort; a level that an OpenAI model lacks becomes the nearest, reported as a loss"),
    ),
    Field(
        name="reasoning.budget",
        about="the maximum number of reasoning tokens",
        of="ChatRequest.reasoning",
        anthropic=mapped("thinking.budget_tokens, at least 1,024; -1 is adaptive, 0 disabled"),
        gemini=kept("limited to the model's range; replaces the effort if both are set: the API rejects both together"),
        ollama=emulated("as think: -1 is true, 0 is false, any other the nearest level"),
        openai_chat=emulated("as the nearest reasoning_effort: this API has no limit for reasoning tokens"),
        openai_responses=emulated("as the nearest reasoning.effort: this API has no limit for reasoning tokens"),
    ),
    Field(
        name="reasoning.summary",
        about="whether and how the reasoning is shown",
        of="ChatRequest.reasoning",
        anthropic=mapped("thinking.display: summarized, or omitted for none"),
        gemini=mapped("includeThoughts: true for any kind of summary"),
        ollama=dropped("the API always shows the reasoning"),
        openai_chat=dropped("the backend decides whether and how it shows the reasoning"),
        openai_responses=mapped("reasoning.summary; omitted for none"),
    ),
    Field(
        name="verbosity",
        about="how detailed the reply is",
        type=TEXT,
        values=("low", "medium", "high"),
        default=("medium",),
        anthropic=dropped("the API does not support verbosity"),
        gemini=dropped("the API does not support verbosity"),
        ollama=dropped("the API does not support verbosity"),
        openai_chat=At("verbosity"),
        openai_responses=At("text.verbosity"),
    ),
    Field(
        name="metadata",
        about="names and values that the backend stores with the reply",
        type=PAIRS,
        default=({},),
        anthropic=dropped("the API accepts only user_id"),
        gemini=dropped("the API does not store metadata"),
        ollama=dropped("the API does not store metadata"),
        openai_chat=At("metadata"),
        openai_responses=At("metadata"),
    ),
    Field(
        name="user",
        about="an identifier of your end user, without personal data",
        type=TEXT,
        default=("",),
        anthropic=At("metadata.user_id", by_code="read"),
        gemini=dropped("the API does not accept a user identifier"),
        ollama=dropped("the API does not accept a user identifier"),
        openai_chat=At("user", _LONG_NAMES, write=short_name),
        openai_responses=At("user", _LONG_NAMES, write=short_name),
    ),
    Field(
        name="service_tier",
        about="the processing tier, which decides latency and price",
        type=TEXT,
        values=("auto", "default", "flex", "priority"),
        default=("auto", "default"),
        anthropic=At(
            "service_tier", "default becomes standard_only, any other auto", write=_claudes_tier, read=_tier_of_claude
        ),
        gemini=At("serviceTier"),
        ollama=dropped("the API has no service tiers"),
        openai_chat=At("service_tier"),
        openai_responses=At("service_tier"),
    ),
    Field(
        name="store",
        about="whether the backend may store the reply",
        type=FLAG,
        default=(False,),
        anthropic=dropped("the API does not store replies"),
        gemini=At("store"),
        ollama=dropped("the API does not store replies"),
        openai_chat=At("store"),
        openai_responses=At("store", "if it is false, encrypted reasoning is requested"),
    ),
    Field(
        name="previous",
        about="the id of the stored reply to continue from",
        type=TEXT,
        form=True,
        anthropic=dropped("the API does not store replies to continue from"),
        gemini=dropped("the API does not store replies to continue from"),
        ollama=dropped("the API does not store replies to continue from"),
        openai_chat=dropped("the API does not store replies to continue from; OpenAI's Responses API does"),
        openai_responses=At("previous_response_id"),
    ),
    Field(
        name="stream",
        about="whether the reply is streamed",
        of="ChatRequest.stream",
        anthropic=KEPT,
        gemini=mapped("in the path"),
        ollama=kept("always sent: the API streams by default"),
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    Field(
        name="stream_usage",
        about="token usage at the end of a stream",
        type=FLAG,
        keyword=False,
        anthropic=implied("the API always reports usage"),
        gemini=implied("the API always reports usage"),
        ollama=implied("the API always reports usage"),
        openai_chat=At("stream_options.include_usage", "only with stream", by_code="both"),
        openai_responses=implied("the API always reports usage"),
    ),
    Field(
        name="extra",
        about="fields that only this wire defines",
        of=f"ChatRequest.extra {_EXTRAS}",
        anthropic=KEPT,
        gemini=kept("except that of texts in tool results"),
        ollama=KEPT,
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    Field(
        name="extra.foreign",
        about="fields that only another wire defines",
        of=f"ChatRequest.wire {_EXTRAS}",
        anthropic=_FOREIGN_FIELD,
        gemini=dropped("it is a field of another API"),
        ollama=_FOREIGN_FIELD,
        openai_chat=_FOREIGN_FIELD,
        openai_responses=_FOREIGN_FIELD,
    ),
)
"""Every field of a chat request, by its name, which for a plain field is ``ChatRequest``'s attribute."""

SILENT: dict[str, tuple[object, ...]] = {
    "best_of": (1,),
    "top_logprobs": (0,),
    "logprobs": (False,),
    "background": (False,),
    "echo": (False,),
    "truncation": ("disabled",),
    "modalities": (["text"],),
    "responseModalities": (["TEXT"],),
    "include": ([],),
    "functions": ([],),
}
"""Fields that only one wire has, or has for a part of another, and their values without effect."""


def plain_fields(fields: Mapping[str, Field] = FIELDS) -> tuple[Field, ...]:
    """The rows of one value each, which are attributes of ``ChatRequest``."""
    return tuple(row for row in fields.values() if row.type is not None)


@cache
def support_table(wire: str) -> SupportTable:
    """What happens to each field on the wire of this name."""
    return {name: row.support(wire) for name, row in FIELDS.items()}
