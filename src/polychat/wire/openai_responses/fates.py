"""What becomes of each field of an ask on this wire."""

from __future__ import annotations

from ..ledger import FIELDS, KEPT, Fate, Fates, dropped, emulated, mapped

_NO_SAMPLER = dropped("the Responses API has no such setting")

FATES: Fates = {
    **dict.fromkeys(FIELDS, KEPT),
    "turns.system": mapped("instructions where the first turn is one text, else messages"),
    "turns.assistant": mapped("messages, reasoning and calls are items of their own; neighbouring turns become one"),
    "turns.assistant.last": Fate("kept", "OpenAI's models answer to it rather than go on with it"),
    "turns.tool": mapped("function_call_output; the tool is known by its call"),
    "turns.name": dropped("the Responses API has no names of speakers"),
    "parts.image.data": mapped("a data: URL"),
    "parts.image.detail": mapped("auto where the ask does not say"),
    "parts.audio": Fate("kept", "input_audio, which OpenAI itself does not take on this API yet"),
    "parts.file.data": mapped("a data: URL; the API wants a name with it: document and its ending where there is none"),
    "parts.file.name": Fate(
        "kept", "beside the bytes; a document by id or URL brings its own, unless the ask came on this wire"
    ),
    "parts.reasoning": emulated(
        "goes back with its own encrypted content; OpenAI refuses thoughts that it did not encrypt: they stay out"
    ),
    "parts.opaque": mapped("encrypted_content, and the items of tools the backend ran"),
    "parts.file.id.foreign": dropped("only the vendor that holds the file can read it: send the document itself"),
    "parts.item.foreign": dropped("it means something to the vendor that made it alone: send what it stands for"),
    "parts.opaque.foreign": dropped("only the vendor that made it can read it"),
    "parts.call": mapped("function_call; no arguments are {}"),
    "parts.result.error": dropped("the Responses API has no mark for a tool that failed: say so in the result's text"),
    "cache": dropped("the backend decides by itself what it caches"),
    "tools": mapped("no parameters are an object without any"),
    "tools.strict": mapped("false where an ask of another wire does not say: here tools are strict by default"),
    "tools.hosted.foreign": dropped("another vendor's backend runs it"),
    "tool_choice.named": mapped("of the type function"),
    "format.json": mapped("text.format json_object"),
    "format.schema": mapped("text.format json_schema; a schema without a name is called answer"),
    "max_tokens": Fate("kept", "max_output_tokens; OpenAI takes 16 and more"),
    "top_k": _NO_SAMPLER,
    "min_p": _NO_SAMPLER,
    "frequency_penalty": _NO_SAMPLER,
    "presence_penalty": _NO_SAMPLER,
    "repetition_penalty": _NO_SAMPLER,
    "seed": dropped("the Responses API takes no seed"),
    "stop": dropped("the Responses API takes no texts that end the answer"),
    "logprobs": mapped("top_logprobs, and message.output_text.logprobs in include"),
    "logit_bias": dropped("the Responses API takes no biases"),
    "n": dropped("the Responses API gives one answer an ask"),
    "reasoning.effort": Fate("kept", "reasoning.effort; to OpenAI the next one where the model lacks it, which is told"),
    "reasoning.budget": emulated("by the nearest reasoning.effort: this wire counts no tokens of thought"),
    "reasoning.summary": mapped("reasoning.summary; none is said by leaving it out"),
    "verbosity": mapped("text.verbosity"),
    "store": Fate("kept", "where nothing is to be stored, thoughts are asked for in encrypted form"),
    "previous": mapped("previous_response_id"),
    "stream_usage": mapped("usage always comes"),
    "extra.foreign": dropped("a field of another API"),
}
