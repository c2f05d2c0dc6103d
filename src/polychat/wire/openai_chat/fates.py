"""What becomes of each field of an ask on this wire."""

from __future__ import annotations

from ..ledger import FIELDS, KEPT, Fate, Fates, dropped, emulated, mapped

_BEHIND = "a tool's message is text here: they are shown in a user's message behind it"
_NOT_OPENAI = Fate("kept", "many servers take it; OpenAI itself refuses it, as its row says")

FATES: Fates = {
    **dict.fromkeys(FIELDS, KEPT),
    "turns.tool": mapped("a message for each result; the tool's name is that of the call"),
    "parts.image.data": mapped("a data: URL"),
    "parts.audio": mapped("input_audio; OpenAI takes WAV and MP3"),
    "parts.file.url": mapped("file_data; OpenRouter takes URLs there, OpenAI does not"),
    "parts.file.data": mapped("a data: URL"),
    "parts.reasoning": mapped("reasoning_content, several thoughts as one; reasoning_details where one is signed"),
    "parts.opaque": mapped("reasoning_details; extra_content of a tool call"),
    "parts.file.id.foreign": dropped("only the vendor that holds the file can read it: send the document itself"),
    "parts.item.foreign": dropped("it means something to the vendor that made it alone: send what it stands for"),
    "parts.opaque.foreign": dropped("only the vendor that made it can read it"),
    "parts.refusal": mapped("refusal, or a part of the content beside others"),
    "parts.result.image": emulated(_BEHIND),
    "parts.result.file": emulated(_BEHIND),
    "parts.result.error": dropped("the API has no mark for a tool that failed: say so in the result's text"),
    "cache": emulated("most vendors cache by themselves; a cache_control that came on this wire goes on as it is"),
    "tools.hosted.foreign": dropped("another vendor's backend runs it"),
    "tool_choice.auto": Fate("kept", "beside tools only"),
    "tool_choice.none": Fate("kept", "beside tools only"),
    "tool_choice.required": Fate("kept", "beside tools only"),
    "tool_choice.named": Fate("kept", "beside tools only"),
    "parallel_tool_calls": Fate("kept", "beside tools only"),
    "format.json": mapped("response_format json_object"),
    "format.schema": mapped("response_format json_schema; a schema without a name is called answer"),
    "max_tokens": mapped("max_completion_tokens; a vendor's row says where it is max_tokens"),
    "top_k": _NOT_OPENAI,
    "min_p": _NOT_OPENAI,
    "repetition_penalty": _NOT_OPENAI,
    "logprobs": mapped("logprobs and top_logprobs"),
    "reasoning.effort": mapped("reasoning_effort; to OpenAI the next one where the model lacks it, which is told"),
    "reasoning.budget": emulated("by the reasoning_effort that comes nearest: tokens of thought are not counted here"),
    "reasoning.summary": dropped("the backend decides whether and how thoughts are told"),
    "previous": dropped("the API keeps no replies to go on from; OpenAI's Responses do"),
    "stream_usage": mapped("stream_options.include_usage, beside stream only"),
    "extra.foreign": dropped("a field of another API"),
}
