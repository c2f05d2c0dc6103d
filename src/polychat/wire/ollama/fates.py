"""What becomes of each field of an ask on this wire."""

from __future__ import annotations

from ..ledger import FIELDS, KEPT, Fate, Fates, dropped, emulated, mapped

_OPTION = mapped("in options")
_NO_DOCUMENTS = dropped("the API takes no documents: put their text into the question")
_NO_FORCE = dropped("a model cannot be made to call a tool on this API")

FATES: Fates = {
    **dict.fromkeys(FIELDS, KEPT),
    "turns.developer": mapped("as system turns"),
    "turns.name": dropped("the API has no names of speakers"),
    "turns.tool": mapped("one message a result, with tool_name and tool_call_id"),
    "parts.text": mapped("the texts of a turn become one"),
    "parts.image.url": dropped("the API takes images by their bytes: fetch the image first"),
    "parts.image.data": mapped("images of the message, before its text; the type is told by the first bytes"),
    "parts.image.detail": dropped("the API does not say how closely to look at an image"),
    "parts.audio": dropped("the API takes no sound"),
    "parts.file.url": _NO_DOCUMENTS,
    "parts.file.data": _NO_DOCUMENTS,
    "parts.file.id": dropped("the API holds no documents"),
    "parts.file.name": dropped("the API takes no documents"),
    "parts.reasoning": mapped("thinking; the thoughts of a turn become one"),
    "parts.opaque": mapped("signature of the call, thinking_signature of a turn with one thought: fields of ours"),
    "parts.file.id.foreign": dropped("only the vendor that holds the file can read it: send the document itself"),
    "parts.opaque.foreign": dropped("only the vendor that made it can read it"),
    "parts.refusal": emulated("as the assistant's text"),
    "parts.call": mapped("tool_calls; arguments are an object"),
    "parts.result.image": mapped("images of the tool's message"),
    "parts.result.file": dropped("results of tools are text and images on this API"),
    "parts.result.error": dropped("the API has no mark for a tool that failed: say so in the result's text"),
    "cache": dropped("the server decides by itself what it caches"),
    "tools": mapped("functions; one without parameters has an empty schema"),
    "tools.custom": emulated("as a function whose only argument is the text, named input"),
    "tools.strict": dropped("the API does not bind arguments to their schema"),
    "tools.hosted.foreign": dropped("another vendor's backend runs it"),
    "tool_choice.auto": mapped("nothing is said: it is so"),
    "tool_choice.none": emulated("the tools are left out"),
    "tool_choice.required": _NO_FORCE,
    "tool_choice.named": _NO_FORCE,
    "parallel_tool_calls": dropped("the model decides how many tools it calls at once"),
    "format.json": mapped("format"),
    "format.schema": mapped("format; a schema has no name and no description here"),
    "format.strict": emulated("a schema always binds to the letter here"),
    "max_tokens": mapped("options.num_predict"),
    "temperature": _OPTION,
    "top_p": _OPTION,
    "top_k": _OPTION,
    "min_p": _OPTION,
    "frequency_penalty": _OPTION,
    "presence_penalty": _OPTION,
    "repetition_penalty": mapped("options.repeat_penalty"),
    "seed": _OPTION,
    "stop": _OPTION,
    "logprobs": mapped("logprobs and top_logprobs"),
    "logit_bias": dropped("the API takes no biases"),
    "n": dropped("the API gives one answer an ask"),
    "reasoning.effort": mapped("think: none is false; minimal becomes low, and xhigh high, which all servers know"),
    "reasoning.budget": emulated("by think: -1 is true, 0 false, and the rest the nearest level"),
    "reasoning.summary": dropped("thoughts are told whenever there are any"),
    "verbosity": dropped("the API has no measure of how wordy an answer is"),
    "metadata": dropped("the API takes none"),
    "user": dropped("the API does not ask who asks"),
    "service_tier": dropped("the API has no tiers"),
    "store": dropped("the API keeps no replies"),
    "previous": dropped("the API keeps no replies to go on from"),
    "stream": Fate("kept", "always said: the API streams unless told otherwise"),
    "stream_usage": mapped(
        "usage always comes; durations, which are this API's alone, are no part of it and stay on the reader"
    ),
    "extra.foreign": dropped("a field of another API"),
}
