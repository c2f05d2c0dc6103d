"""What becomes of each field of an ask on this wire."""

from __future__ import annotations

from ..ledger import KEPT, Fate, Fates, dropped, emulated, mapped

_NO_PENALTIES = dropped("the API knows no penalties")
_ALWAYS_BINDS = "a schema always binds to the letter here"

FATES: Fates = {
    "model": KEPT,
    "turns.system": mapped("system, outside the messages; several become one"),
    "turns.system.late": emulated("told in the user's turn, in <system> marks: only the newest models take it where it stands"),
    "turns.developer": mapped("as system turns"),
    "turns.user": mapped("neighbours become one message"),
    "turns.assistant": mapped("neighbours become one message"),
    "turns.assistant.last": Fate("kept", "models since Claude Opus 4.6 refuse it"),
    "turns.tool": mapped("in the user's message, before the user's words"),
    "turns.name": dropped("the API has no names of speakers"),
    "parts.text": Fate("kept", "empty texts are left out: the API refuses them"),
    "parts.image.url": KEPT,
    "parts.image.data": KEPT,
    "parts.image.detail": dropped("the API decides itself how closely to look at an image"),
    "parts.audio": dropped("the API takes no sound"),
    "parts.file.url": KEPT,
    "parts.file.data": Fate("kept", "PDF and text; all text is text/plain here"),
    "parts.file.id": KEPT,
    "parts.file.name": mapped("title"),
    "parts.reasoning": emulated(
        "goes back with its own signature; the API refuses thoughts that it did not sign: they stay out"
    ),
    "parts.opaque": mapped("signature, redacted_thinking, and the blocks of tools the backend ran"),
    "parts.file.id.foreign": dropped("only the vendor that holds the file can read it: send the document itself"),
    "parts.item.foreign": dropped("it means something to the vendor that made it alone: send what it stands for"),
    "parts.opaque.foreign": dropped("only the vendor that made it can read it"),
    "parts.refusal": emulated("as the assistant's text"),
    "parts.call": mapped("tool_use; an id that the API would refuse is rewritten, in its result too"),
    "parts.result.text": KEPT,
    "parts.result.image": KEPT,
    "parts.result.file": KEPT,
    "parts.result.error": KEPT,
    "cache": mapped("cache_control"),
    "tools": mapped("input_schema; no parameters are an object without any"),
    "tools.custom": emulated("as a function whose only argument is the text, named input"),
    "tools.strict": KEPT,
    "tools.hosted": KEPT,
    "tools.hosted.foreign": dropped("another vendor's backend runs it"),
    "tool_choice.auto": Fate("kept", "beside tools only"),
    "tool_choice.none": Fate("kept", "beside tools only"),
    "tool_choice.required": mapped("any; beside tools only"),
    "tool_choice.named": mapped("tool; beside tools only"),
    "parallel_tool_calls": mapped(
        "disable_parallel_tool_use in tool_choice; beside tools only, and not where none may be called"
    ),
    "format.json": emulated("asked for in the system text"),
    "format.schema": mapped("output_config.format; a schema has no name and no description here"),
    "format.strict": emulated(_ALWAYS_BINDS),
    "max_tokens": Fate(
        "kept", "the API demands a number: 8,192 where the ask has none, and the thoughts' budget or 32,000 where it thinks"
    ),
    "temperature": mapped("at most 1; models since Claude Opus 4.7 refuse it"),
    "top_p": Fate("kept", "models since Claude Opus 4.7 refuse it"),
    "top_k": Fate("kept", "models since Claude Opus 4.7 refuse it"),
    "min_p": dropped("the API has no min_p"),
    "frequency_penalty": _NO_PENALTIES,
    "presence_penalty": _NO_PENALTIES,
    "repetition_penalty": _NO_PENALTIES,
    "seed": dropped("the API takes no seed"),
    "stop": mapped("stop_sequences"),
    "logprobs": dropped("the API tells no probabilities"),
    "logit_bias": dropped("the API takes no biases"),
    "n": dropped("the API gives one answer an ask"),
    "reasoning.effort": mapped("adaptive thinking with output_config.effort; a budget for models older than adaptive thinking"),
    "reasoning.budget": mapped("thinking.budget_tokens, at least 1,024; -1 is adaptive, 0 disabled"),
    "reasoning.summary": mapped("thinking.display: summarized, or omitted for none"),
    "verbosity": dropped("the API has no measure of how wordy an answer is"),
    "metadata": dropped("the API takes nothing but a user's id"),
    "user": mapped("metadata.user_id"),
    "service_tier": mapped("default is standard_only, every other is auto"),
    "store": dropped("the API keeps no replies"),
    "previous": dropped("the API keeps no replies to go on from"),
    "stream": KEPT,
    "stream_usage": mapped("usage always comes"),
    "extra": KEPT,
    "extra.foreign": dropped("a field of another API"),
}
