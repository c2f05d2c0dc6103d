"""OpenAI's chat completions, completions and embeddings."""

from __future__ import annotations

from typing import get_args

from ....types import Effort
from ...openapi.operation import CHAT_HEADERS, DialectInfo, Operation
from ...openapi.schema import (
    MODEL,
    Schema,
    anything,
    count,
    either,
    event,
    flag,
    kind,
    nullable,
    number,
    plain,
    ref,
    reply_object,
    request_object,
    several,
    text,
    whole,
    word,
)

ABOUT = DialectInfo("OpenAI", "OpenAI's chat completions, completions and embeddings.", "openai-chat", "OpenAIError")

_EFFORT = word(*get_args(Effort), "max", about="The reasoning effort.")
_CACHE = anything('OpenRouter\'s cache mark: `{"type": "ephemeral"}`.')
_STREAM = flag("Whether to stream the reply.")
_STREAM_OPTIONS = request_object(**plain("openai-chat", "stream_options"))

_FUNCTION = request_object(
    "name",
    name=text(),
    description=text("What the tool does, as a description for the model."),
    parameters=anything("A JSON schema of its arguments."),
    strict=flag("Whether the arguments must follow the schema."),
)
_PART = {
    "oneOf": [
        request_object("type", "text", type=kind("text"), text=text(), cache_control=_CACHE),
        request_object(
            "type",
            "image_url",
            type=kind("image_url"),
            image_url=request_object(
                "url", url=text("An address, or `data:TYPE;base64,…`."), detail=text("`low`, `high` or `auto`.")
            ),
        ),
        request_object(
            "type",
            "input_audio",
            type=kind("input_audio"),
            input_audio=request_object(
                "format", "data", format=text("`wav`, `mp3`, …"), data=text("Base64.", contentEncoding="base64")
            ),
        ),
        request_object(
            "type",
            "file",
            type=kind("file"),
            file=request_object(
                filename=text(),
                file_id=text("An identifier of the backend."),
                file_data=text("Base64, `data:…;base64,…` or an address."),
            ),
        ),
        request_object("type", "refusal", type=kind("refusal"), refusal=text()),
    ]
}
_CONTENT = either(text(), several(ref("OpenAIPart")))
_CALL = request_object(
    "id",
    "function",
    id=text(),
    type=kind("function"),
    function=request_object("name", name=text(), arguments=text("JSON, as the model wrote it.")),
)
_MESSAGE = {
    "oneOf": [
        request_object("role", "content", role=word("system", "developer", "user"), content=_CONTENT, name=text()),
        request_object(
            "role",
            role=kind("assistant"),
            content=_CONTENT,
            name=text(),
            refusal=text(),
            tool_calls=several(_CALL),
            reasoning_content=text("The model's reasoning, as many servers send it; `reasoning` is accepted too."),
            reasoning_details=several(
                anything(), "The model's reasoning as OpenRouter sends it, with signatures: send it back unchanged."
            ),
        ),
        request_object("role", "tool_call_id", role=kind("tool"), tool_call_id=text(), content=_CONTENT, name=text()),
    ]
}
_TOOL = {
    "anyOf": [
        request_object("function", type=kind("function"), function=_FUNCTION),
        request_object("type", type=text("A tool that the backend itself runs, in the vendor's own format.")),
    ]
}
_TOOL_CHOICE = either(
    word("auto", "none", "required"),
    request_object("type", "function", type=kind("function"), function=request_object("name", name=text())),
    about="Which tools the model may call.",
)
_FORMAT = {
    "description": "The response format.",
    "oneOf": [
        request_object("type", type=word("text", "json_object")),
        request_object(
            "type",
            "json_schema",
            type=kind("json_schema"),
            json_schema=request_object("schema", schema=anything(), name=text(), description=text(), strict=flag()),
        ),
    ],
}
OPENROUTER: Schema = {
    "models": several(text(), "Fallback models in this order if `model` fails, as in OpenRouter's API."),
    "provider": request_object(
        order=several(text(), "Providers in order of preference."),
        only=several(text(), "Only these providers."),
        ignore=several(text(), "None of these providers."),
        allow_fallbacks=flag("false: use only the providers in `order`, or the first one where there is none."),
        sort=either(word("price", "latency", "throughput"), request_object(by=word("price", "latency", "throughput"))),
        require_parameters=flag("true: use only providers that support all fields of the request."),
        max_price=request_object(
            prompt=number("US dollars per million tokens."),
            completion=number("US dollars per million tokens."),
            about="Use no provider that costs more.",
        ),
        preferred_max_latency=number("Seconds to the first token; providers that take longer are tried last."),
        preferred_min_throughput=number("Tokens per second; slower providers are tried last."),
        about=(
            "Which providers to use, as in OpenRouter's API; a provider is the name of a backend. Conditions "
            "on unknown facts are listed in `x-polychat-losses`."
        ),
    ),
}
_PLAIN: Schema = {**plain("openai-chat"), "stream": _STREAM, "stream_options": _STREAM_OPTIONS}
_CHAT = request_object(
    "model",
    "messages",
    about="A conversation. Other fields are forwarded to a backend of the same wire, and are reported as losses for others.",
    model=MODEL,
    messages=several(ref("OpenAIMessage"), "Oldest first; at most `gateway.limits.messages`.", minItems=1),
    **_PLAIN,
    top_logprobs=whole("How many alternatives to return for each token; requires `logprobs`."),
    tools=several(ref("OpenAITool")),
    tool_choice=_TOOL_CHOICE,
    response_format=_FORMAT,
    reasoning_effort=_EFFORT,
    reasoning=request_object(
        effort=_EFFORT,
        max_tokens=whole("Maximum number of reasoning tokens."),
        exclude=flag("Exclude the reasoning from the reply."),
        enabled=flag(),
        about="OpenRouter's object for the same.",
    ),
    **OPENROUTER,
)
_COMPLETION = request_object(
    "model",
    "prompt",
    about="A prompt, which is sent as a user message. `suffix`, `best_of` and `echo` have no counterpart and are refused.",
    model=MODEL,
    prompt=either(text(), several(text(), minItems=1, maxItems=1), about="One text; tokens are refused."),
    **{**_PLAIN, "logprobs": whole("Probabilities of how many tokens in addition to the chosen one.")},
)
_EMBEDDING = request_object(
    "model",
    "input",
    model=MODEL,
    input=either(text(), several(text(), minItems=1)),
    dimensions=whole("Length of each vector, for models that let it be chosen."),
    encoding_format=word("float", "base64"),
    user=text(),
)

USAGE = reply_object(
    "prompt_tokens_details",
    "completion_tokens_details",
    prompt_tokens=count(),
    completion_tokens=count(),
    total_tokens=count(),
    prompt_tokens_details=anything(),
    completion_tokens_details=anything(),
)
_FINISH_REASON = nullable(text("`stop`, `length`, `tool_calls`, `content_filter`, or the backend's own value."))
_ANSWERED = reply_object(
    "content",
    "refusal",
    "tool_calls",
    "reasoning_content",
    "reasoning_details",
    role=kind("assistant"),
    content=nullable(text()),
    refusal=nullable(text()),
    tool_calls=nullable(several(anything("As in `OpenAIMessage`."))),
    reasoning_content=nullable(text("The model's reasoning, if the backend returns it.")),
    reasoning_details=several(anything(), "The reasoning in blocks, with the data that the vendor requires back."),
)
_FRAME: Schema = {"id": text(), "created": whole("Seconds since 1970."), "model": text("The model name as in the request.")}
_CHAT_ANSWER = reply_object(
    "usage",
    **_FRAME,
    object=kind("chat.completion"),
    choices=several(
        reply_object("logprobs", index=count(), message=_ANSWERED, logprobs=nullable(anything()), finish_reason=_FINISH_REASON)
    ),
    usage=nullable(ref("OpenAIUsage")),
)
_CHUNK = reply_object(
    "usage",
    about="The content of each `data:` line of a stream.",
    **_FRAME,
    object=kind("chat.completion.chunk"),
    choices=several(
        reply_object(
            "logprobs",
            "finish_reason",
            index=count(),
            delta=anything("The new part: `role`, `content`, `tool_calls`, …"),
            logprobs=nullable(anything()),
            finish_reason=_FINISH_REASON,
        )
    ),
    usage=nullable(ref("OpenAIUsage")),
)
_COMPLETION_ANSWER = reply_object(
    "usage",
    **_FRAME,
    object=kind("text_completion"),
    choices=several(
        reply_object("logprobs", text=text(), index=count(), logprobs=nullable(anything()), finish_reason=_FINISH_REASON)
    ),
    usage=nullable(ref("OpenAIUsage")),
)
_VECTOR = either(several(number()), text("Base64 of little-endian floats of 4 bytes.", contentEncoding="base64"))
_EMBEDDED = reply_object(
    object=kind("list"),
    data=several(reply_object(object=kind("embedding"), index=count(), embedding=_VECTOR)),
    model=text(),
    usage=reply_object(prompt_tokens=count(), total_tokens=count()),
)
_ERROR = reply_object(
    error=reply_object(
        message=text(), type=text(), code=nullable(text()), param=nullable(text("The field that caused the error."))
    )
)

SCHEMAS = {
    "OpenAIChat": _CHAT,
    "OpenAIMessage": _MESSAGE,
    "OpenAIPart": _PART,
    "OpenAITool": _TOOL,
    "OpenAICompletion": _COMPLETION,
    "OpenAIEmbedding": _EMBEDDING,
    "OpenAIUsage": USAGE,
    "OpenAIChatAnswer": _CHAT_ANSWER,
    "OpenAIChunk": _CHUNK,
    "OpenAICompletionAnswer": _COMPLETION_ANSWER,
    "OpenAIEmbedded": _EMBEDDED,
    "OpenAIError": _ERROR,
}
_ENDS = (
    "One of the stream's events; comments are sent between them while the backend is silent. A complete reply ends with "
    "`[DONE]`, an incomplete one with an `error` and without it."
)
OPERATIONS = (
    Operation(
        "POST",
        "/v1/chat/completions",
        ABOUT,
        "chat",
        "Create a reply",
        "A backend of the same wire gets the body unchanged, except for the model's name; for others it is translated, and "
        "`x-polychat-losses` lists the fields that could not be.",
        ref("OpenAIChat"),
        {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Why is the sky blue?"}]},
        ref("OpenAIChatAnswer"),
        "text/event-stream",
        event(either(ref("OpenAIChunk"), ref("OpenAIError")), _ENDS, done="[DONE]"),
        headers=CHAT_HEADERS,
    ),
    Operation(
        "POST",
        "/v1/completions",
        ABOUT,
        "complete",
        "Create a completion of a prompt (legacy)",
        request=ref("OpenAICompletion"),
        example={"model": "openai/gpt-4o-mini", "prompt": "Once upon a time", "max_tokens": 40},
        answer=ref("OpenAICompletionAnswer"),
        streams="text/event-stream",
        stream=event(either(ref("OpenAICompletionAnswer"), ref("OpenAIError")), _ENDS, done="[DONE]"),
        headers=CHAT_HEADERS,
    ),
    Operation(
        "POST",
        "/v1/embeddings",
        ABOUT,
        "embed",
        "Create embeddings",
        request=ref("OpenAIEmbedding"),
        example={"model": "openai/text-embedding-3-small", "input": ["one", "two"]},
        answer=ref("OpenAIEmbedded"),
        headers={name: CHAT_HEADERS[name] for name in ("x-polychat-provider", "x-polychat-attempts")},
    ),
)
