"""The table of request fields: what each is, where it stands on each wire, and what becomes of it there.

A row says all there is to say of a field: from it come reading and writing on every wire (``plain.py``), what a translation
loses (``ledger.py``), the keywords of ``polychat.ask``, the gateway's OpenAPI and the documentation. What a field of more
than one value is (a turn, a tool, a schema) is read and written by the wires' own code, and listed here like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    Type,
    dropped,
    emulated,
    implied,
    kept,
    mapped,
    table,
)
from .turn_fields import TURNS

_OTHERS_TOOL = dropped("another vendor's backend runs it")
_BESIDE_TOOLS = kept("beside tools only")
_AS_FUNCTION = emulated("as a function whose only argument is the text, named input")
_OTHERS_WORD = dropped("a field of another API")
_NO_FORCE = dropped("a model cannot be made to call a tool on this API")
_ALWAYS_BINDS = emulated("a schema always binds to the letter here")
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
_NO_PENALTIES = dropped("the API knows no penalties")
_NO_SAMPLER = dropped("the Responses API has no such setting")
_OLDER_CLAUDES = "models since Claude Opus 4.7 refuse it"
_NOT_OPENAI = "many servers take it; OpenAI itself refuses it, as its row says"
_LONG_NAMES = "a name of more than 64 letters goes out as its hash"


def _at_most_one(temperature: float) -> float:
    return min(temperature, 1.0)


def _claudes_tier(tier: str) -> str:
    return "standard_only" if tier in ("default", "standard_only") else "auto"


def _tier_of_claude(tier: str) -> str:
    return "default" if tier == "standard_only" else tier


FIELDS = table(
    Field(
        name="model",
        about="the model's name",
        of="ChatRequest.model",
        anthropic=KEPT,
        gemini=mapped("in the path"),
        ollama=KEPT,
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    *TURNS,
    Field(
        name="tools",
        about="tools",
        form=True,
        of="ChatRequest.tools Tool.name Tool.description Tool.parameters Tool.namespace",
        anthropic=mapped("input_schema; no parameters are an object without any"),
        gemini=mapped("functionDeclarations"),
        ollama=mapped("functions; one without parameters has an empty schema"),
        openai_chat=KEPT,
        openai_responses=mapped("no parameters are an object without any"),
    ),
    Field(
        name="tools.custom",
        about="tools whose input is free text, or follows a grammar",
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
        about="tools whose arguments must follow the schema",
        of="Tool.strict",
        anthropic=KEPT,
        gemini=dropped("the API has no such mark on a tool; it has the mode VALIDATED for all of them, by extra"),
        ollama=dropped("the API does not bind arguments to their schema"),
        openai_chat=KEPT,
        openai_responses=mapped("false where an ask of another wire does not say: here tools are strict by default"),
    ),
    Field(
        name="tools.hosted",
        about="tools the backend runs, described in this wire's words",
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
        about="tools another vendor's backend runs",
        form=True,
        of="HostedTool.kind HostedTool.spec",
        anthropic=_OTHERS_TOOL,
        gemini=_OTHERS_TOOL,
        ollama=_OTHERS_TOOL,
        openai_chat=_OTHERS_TOOL,
        openai_responses=_OTHERS_TOOL,
    ),
    Field(
        name="tool_choice.auto",
        about="tools as the model likes",
        of="ChatRequest.tool_choice",
        anthropic=_BESIDE_TOOLS,
        gemini=mapped("AUTO"),
        ollama=implied("nothing is said: it is so"),
        openai_chat=_BESIDE_TOOLS,
        openai_responses=KEPT,
    ),
    Field(
        name="tool_choice.none",
        about="no tools now",
        of="ChatRequest.tool_choice",
        anthropic=_BESIDE_TOOLS,
        gemini=mapped("NONE"),
        ollama=emulated("the tools are left out"),
        openai_chat=_BESIDE_TOOLS,
        openai_responses=KEPT,
    ),
    Field(
        name="tool_choice.required",
        about="some tool must be called",
        form=True,
        of="ChatRequest.tool_choice",
        anthropic=mapped("any; beside tools only"),
        gemini=mapped("ANY"),
        ollama=_NO_FORCE,
        openai_chat=_BESIDE_TOOLS,
        openai_responses=KEPT,
    ),
    Field(
        name="tool_choice.named",
        about="this tool must be called",
        form=True,
        of="ChatRequest.tool_choice",
        anthropic=mapped("tool; beside tools only"),
        gemini=mapped("ANY, with this one name allowed"),
        ollama=_NO_FORCE,
        openai_chat=_BESIDE_TOOLS,
        openai_responses=mapped("of the type function"),
    ),
    Field(
        name="parallel_tool_calls",
        about="whether several tools may be called at once",
        type=FLAG,
        default=(True,),
        anthropic=At(
            "tool_choice.disable_parallel_tool_use",
            "the opposite; beside tools only, and not where none may be called",
            by_code="both",
        ),
        gemini=dropped("the model decides itself how many tools it calls"),
        ollama=dropped("the model decides how many tools it calls at once"),
        openai_chat=At("parallel_tool_calls", "beside tools only", by_code="write"),
        openai_responses=At("parallel_tool_calls"),
    ),
    Field(
        name="format.json",
        about="an answer that is any JSON",
        form=True,
        of="ChatRequest.format",
        anthropic=emulated("asked for in the system text"),
        gemini=mapped("responseMimeType"),
        ollama=mapped("format"),
        openai_chat=mapped("response_format json_object"),
        openai_responses=mapped("text.format json_object"),
    ),
    Field(
        name="format.schema",
        about="an answer that follows a JSON schema",
        form=True,
        of="ChatRequest.format",
        anthropic=mapped("output_config.format; a schema has no name and no description here"),
        gemini=mapped("responseJsonSchema; it has no name and no description here"),
        ollama=mapped("format; a schema has no name and no description here"),
        openai_chat=mapped("response_format json_schema; a schema without a name is called answer"),
        openai_responses=mapped("text.format json_schema; a schema without a name is called answer"),
    ),
    Field(
        name="format.strict",
        about="whether the schema binds to the letter",
        of="ChatRequest.format",
        anthropic=_ALWAYS_BINDS,
        gemini=emulated("a schema always binds"),
        ollama=_ALWAYS_BINDS,
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    Field(
        name="max_tokens",
        about="tokens of the answer at most",
        type=WHOLE,
        least=1,
        anthropic=At(
            "max_tokens",
            "the API demands a number: 8,192 where the ask has none, and the thoughts' budget or 32,000 where it thinks",
            COUNT,
            by_code="write",
        ),
        gemini=At("generationConfig.maxOutputTokens", "thoughts included"),
        ollama=At("options.num_predict", by_code="read"),
        openai_chat=At("max_completion_tokens", "a vendor's row says where it is max_tokens", older=("max_tokens",)),
        openai_responses=At("max_output_tokens", "OpenAI takes 16 and more", COUNT),
    ),
    Field(
        name="temperature",
        about="how freely tokens are chosen: at 0 the likeliest",
        type=NUMBER,
        anthropic=At("temperature", "at most 1; models since Claude Opus 4.7 refuse it", write=_at_most_one),
        gemini=At("generationConfig.temperature"),
        ollama=At("options.temperature"),
        openai_chat=At("temperature"),
        openai_responses=At("temperature"),
    ),
    Field(
        name="top_p",
        about="choose among the likeliest tokens that together are this likely",
        type=NUMBER,
        anthropic=At("top_p", _OLDER_CLAUDES),
        gemini=At("generationConfig.topP"),
        ollama=At("options.top_p"),
        openai_chat=At("top_p"),
        openai_responses=At("top_p"),
    ),
    Field(
        name="top_k",
        about="choose among so many of the likeliest tokens",
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
        about="leave out tokens that are less likely than this part of the likeliest",
        type=NUMBER,
        default=(0,),
        anthropic=dropped("the API has no min_p"),
        gemini=dropped("the API has no min_p"),
        ollama=At("options.min_p"),
        openai_chat=At("min_p", _NOT_OPENAI),
        openai_responses=_NO_SAMPLER,
    ),
    Field(
        name="frequency_penalty",
        about="against tokens, by how often they came",
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
        about="against tokens that came",
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
        about="makes tokens that came so many times less likely: 1 changes nothing",
        type=NUMBER,
        default=(1,),
        anthropic=_NO_PENALTIES,
        gemini=dropped("the API has no repetition penalty"),
        ollama=At("options.repeat_penalty"),
        openai_chat=At("repetition_penalty", _NOT_OPENAI),
        openai_responses=_NO_SAMPLER,
    ),
    Field(
        name="seed",
        about="of the same seed come the same answers, as far as the backend can",
        type=WHOLE,
        anthropic=dropped("the API takes no seed"),
        gemini=At("generationConfig.seed"),
        ollama=At("options.seed"),
        openai_chat=At("seed"),
        openai_responses=dropped("the Responses API takes no seed"),
    ),
    Field(
        name="stop",
        about="texts that end the answer",
        type=TEXT_OR_TEXTS,
        default=([],),
        anthropic=At("stop_sequences", type=TEXTS),
        gemini=At("generationConfig.stopSequences", "the API takes five at most", TEXTS),
        ollama=At("options.stop"),
        openai_chat=At("stop"),
        openai_responses=dropped("the Responses API takes no texts that end the answer"),
    ),
    Field(
        name="logprobs",
        about="probabilities of tokens: of those chosen, and of so many others for each",
        type=Type(COUNT.read, COUNT.schema, "bool | int"),
        least=0,
        form=True,
        anthropic=dropped("the API tells no probabilities"),
        gemini=At("generationConfig.responseLogprobs", "logprobs says of how many others", FLAG, by_code="both"),
        ollama=At("logprobs", "top_logprobs says of how many others", FLAG, by_code="both"),
        openai_chat=At("logprobs", "top_logprobs says of how many others", FLAG, by_code="both"),
        openai_responses=At("top_logprobs", "with message.output_text.logprobs in include", by_code="both"),
    ),
    Field(
        name="logit_bias",
        about="a number for each token, by which it is likelier or less likely",
        type=WEIGHTS,
        default=({},),
        anthropic=dropped("the API takes no biases"),
        gemini=dropped("the API has no biases of tokens"),
        ollama=dropped("the API takes no biases"),
        openai_chat=At("logit_bias"),
        openai_responses=dropped("the Responses API takes no biases"),
    ),
    Field(
        name="n",
        about="how many answers to the one question",
        type=WHOLE,
        least=1,
        default=(1,),
        form=True,
        anthropic=dropped("the API gives one answer an ask"),
        gemini=At("generationConfig.candidateCount"),
        ollama=dropped("the API gives one answer an ask"),
        openai_chat=At("n"),
        openai_responses=dropped("the Responses API gives one answer an ask"),
    ),
    Field(
        name="reasoning.effort",
        about="how hard to think",
        of="ChatRequest.reasoning",
        anthropic=mapped("adaptive thinking with output_config.effort; a budget for models older than adaptive thinking"),
        gemini=mapped("thinkingLevel, for Gemini 2 a thinkingBudget; the next one where the model lacks it, which is told"),
        ollama=mapped("think: none is false; minimal becomes low, and xhigh high, which all servers know"),
        openai_chat=mapped("reasoning_effort; to OpenAI the next one where the model lacks it, which is told"),
        openai_responses=kept("reasoning.effort; to OpenAI the next one where the model lacks it, which is told"),
    ),
    Field(
        name="reasoning.budget",
        about="tokens of thought at most",
        of="ChatRequest.reasoning",
        anthropic=mapped("thinking.budget_tokens, at least 1,024; -1 is adaptive, 0 disabled"),
        gemini=kept("within the model's range; it goes in place of the effort where both are said: the API refuses both"),
        ollama=emulated("by think: -1 is true, 0 false, and the rest the nearest level"),
        openai_chat=emulated("by the reasoning_effort that comes nearest: tokens of thought are not counted here"),
        openai_responses=emulated("by the nearest reasoning.effort: this wire counts no tokens of thought"),
    ),
    Field(
        name="reasoning.summary",
        about="whether and how thoughts are told",
        of="ChatRequest.reasoning",
        anthropic=mapped("thinking.display: summarized, or omitted for none"),
        gemini=mapped("includeThoughts: any kind of summary is one"),
        ollama=dropped("thoughts are told whenever there are any"),
        openai_chat=dropped("the backend decides whether and how thoughts are told"),
        openai_responses=mapped("reasoning.summary; none is said by leaving it out"),
    ),
    Field(
        name="verbosity",
        about="how wordy the answer is",
        type=TEXT,
        words=("low", "medium", "high"),
        default=("medium",),
        anthropic=dropped("the API has no measure of how wordy an answer is"),
        gemini=dropped("the API has no such word"),
        ollama=dropped("the API has no measure of how wordy an answer is"),
        openai_chat=At("verbosity"),
        openai_responses=At("text.verbosity"),
    ),
    Field(
        name="metadata",
        about="names and texts that the backend keeps with the reply",
        type=PAIRS,
        default=({},),
        anthropic=dropped("the API takes nothing but a user's id"),
        gemini=dropped("the API keeps no labels"),
        ollama=dropped("the API takes none"),
        openai_chat=At("metadata"),
        openai_responses=At("metadata"),
    ),
    Field(
        name="user",
        about="who asks, by a name that means nothing to others",
        type=TEXT,
        default=("",),
        anthropic=At("metadata.user_id", by_code="read"),
        gemini=dropped("the API does not ask who asks"),
        ollama=dropped("the API does not ask who asks"),
        openai_chat=At("user", _LONG_NAMES, write=short_name),
        openai_responses=At("user", _LONG_NAMES, write=short_name),
    ),
    Field(
        name="service_tier",
        about="how fast, and at which price",
        type=TEXT,
        words=("auto", "default", "flex", "priority"),
        default=("auto", "default"),
        anthropic=At(
            "service_tier", "default is standard_only, every other is auto", write=_claudes_tier, read=_tier_of_claude
        ),
        gemini=At("serviceTier"),
        ollama=dropped("the API has no tiers"),
        openai_chat=At("service_tier"),
        openai_responses=At("service_tier"),
    ),
    Field(
        name="store",
        about="the backend may keep the reply",
        type=FLAG,
        default=(False,),
        anthropic=dropped("the API keeps no replies"),
        gemini=At("store"),
        ollama=dropped("the API keeps no replies"),
        openai_chat=At("store"),
        openai_responses=At("store", "where nothing is to be stored, thoughts are asked for in encrypted form"),
    ),
    Field(
        name="previous",
        about="the id of the stored reply that this goes on from",
        type=TEXT,
        form=True,
        anthropic=dropped("the API keeps no replies to go on from"),
        gemini=dropped("the API has no stored replies to go on from"),
        ollama=dropped("the API keeps no replies to go on from"),
        openai_chat=dropped("the API keeps no replies to go on from; OpenAI's Responses do"),
        openai_responses=At("previous_response_id"),
    ),
    Field(
        name="stream",
        about="",
        of="ChatRequest.stream",
        anthropic=KEPT,
        gemini=mapped("in the path"),
        ollama=kept("always said: the API streams unless told otherwise"),
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    Field(
        name="stream_usage",
        about="usage at a stream's end",
        type=FLAG,
        keyword=False,
        anthropic=implied("usage always comes"),
        gemini=implied("a stream always tells its usage"),
        ollama=implied("usage always comes; durations, which are this API's alone, are no part of it and stay on the reader"),
        openai_chat=At("stream_options.include_usage", "beside stream only", by_code="both"),
        openai_responses=implied("usage always comes"),
    ),
    Field(
        name="extra",
        about="what only this wire knows",
        of=f"ChatRequest.extra {_EXTRAS}",
        anthropic=KEPT,
        gemini=kept("but not that of texts within results of tools"),
        ollama=KEPT,
        openai_chat=KEPT,
        openai_responses=KEPT,
    ),
    Field(
        name="extra.foreign",
        about="what only another wire knows",
        of=f"ChatRequest.wire {_EXTRAS}",
        anthropic=_OTHERS_WORD,
        gemini=dropped("only the wire that it was read on knows it"),
        ollama=_OTHERS_WORD,
        openai_chat=_OTHERS_WORD,
        openai_responses=_OTHERS_WORD,
    ),
)
"""Every field of a chat request, by its name: of a plain one that of ``ChatRequest``'s attribute."""

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
"""Fields that one wire alone knows, or has for a part of another, and what they say where they say nothing."""


def plain_fields(fields: Mapping[str, Field] = FIELDS) -> tuple[Field, ...]:
    """The rows of one value each, which are attributes of ``ChatRequest``."""
    return tuple(row for row in fields.values() if row.type is not None)


@cache
def support_table(wire: str) -> SupportTable:
    """What becomes of each field on the wire of this name."""
    return {name: row.support(wire) for name, row in FIELDS.items()}
