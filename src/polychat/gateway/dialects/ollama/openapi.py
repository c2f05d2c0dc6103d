"""Ollama's own API."""

from __future__ import annotations

from ...openapi.operation import CHAT_HEADERS, DialectInfo, Operation
from ...openapi.schema import (
    MODEL,
    Schema,
    anything,
    count,
    either,
    flag,
    kind,
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

ABOUT = DialectInfo("Ollama", "Ollama's own API; chats are streamed by default.", "ollama", "OllamaError")

_OPTIONS = request_object(about="Sampling options; others take effect only on an Ollama server.", **plain("ollama", "options"))
_CALL = request_object(
    "function", id=text(), function=request_object("name", name=text(), arguments=anything("An object, not text."))
)
_MESSAGE = request_object(
    "role",
    role=word("system", "developer", "user", "assistant", "tool"),
    content=text(),
    images=several(text("Base64.", contentEncoding="base64")),
    thinking=text(),
    tool_calls=several(_CALL),
    tool_name=text("The name of the tool."),
    tool_call_id=text(),
)
_TOOL = request_object(
    "function",
    type=kind("function"),
    function=request_object("name", name=text(), description=text(), parameters=anything("A JSON schema.")),
)
_SETTINGS: Schema = {
    "stream": flag("true by default."),
    "format": either({"const": "json"}, anything("A JSON schema."), about="The response format."),
    "think": either(flag(), text("A level: `low`, `medium`, `high`."), about="Whether to reason, or how much."),
    **plain("ollama"),
    "top_logprobs": whole("How many alternatives to return for each token; requires `logprobs`."),
    "options": _OPTIONS,
    "keep_alive": either(text(), number(), about="Ollama only."),
}
_GENERATE = request_object(
    "model",
    model=MODEL,
    prompt=text(),
    system=text(),
    images=several(text("Base64.", contentEncoding="base64")),
    **_SETTINGS,
)
_FRAME: Schema = {"model": text("The model name as in the request."), "created_at": text(), "done": flag()}
_END: Schema = {"done_reason": text(), "prompt_eval_count": count(), "eval_count": count()}
_TEXTS: Schema = dict.fromkeys(("license", "modelfile", "parameters", "template"), text())
_DETAILS = anything("The family is `polychat`; the sizes are empty, because the gateway does not know them.")

SCHEMAS = {
    "OllamaChat": request_object(
        "model", model=MODEL, messages=several(ref("OllamaMessage")), tools=several(_TOOL), **_SETTINGS
    ),
    "OllamaGenerate": _GENERATE,
    "OllamaMessage": _MESSAGE,
    "OllamaChatAnswer": reply_object(*_END, **_FRAME, message=anything("See `OllamaMessage`."), **_END),
    "OllamaGenerated": reply_object(*_END, **_FRAME, response=text(), **_END),
    "OllamaEmbed": request_object(
        "model", "input", model=MODEL, input=either(text(), several(text(), minItems=1)), dimensions=whole()
    ),
    "OllamaEmbedded": reply_object(
        "prompt_eval_count", model=text(), embeddings=several(several(number())), prompt_eval_count=count()
    ),
    "OllamaEmbedOne": request_object("model", "prompt", model=MODEL, prompt=text()),
    "OllamaEmbeddedOne": reply_object(embedding=several(number())),
    "OllamaModels": reply_object(
        models=several(
            reply_object(name=text(), model=text(), modified_at=text(), size=count(), digest=text(), details=_DETAILS)
        )
    ),
    "OllamaShown": reply_object(
        **_TEXTS,
        details=_DETAILS,
        model_info=anything("The architecture is `polychat`; `polychat.context_length` is present if it is known."),
        capabilities=several(text()),
    ),
    "OllamaError": reply_object(error=text()),
}
_LINES = "One per line; the last has `done`. An incomplete reply ends with a line that has an `error`, and no line has `done`."
OPERATIONS = (
    Operation(
        "POST",
        "/api/chat",
        ABOUT,
        "ollamaChat",
        "Create a reply",
        request=ref("OllamaChat"),
        example={"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Why is the sky blue?"}]},
        answer=ref("OllamaChatAnswer"),
        streams="application/x-ndjson",
        stream=text(f"`OllamaChatAnswer`s. {_LINES}"),
        headers=CHAT_HEADERS,
    ),
    Operation(
        "POST",
        "/api/generate",
        ABOUT,
        "ollamaGenerate",
        "Create a completion of a prompt",
        request=ref("OllamaGenerate"),
        example={"model": "openai/gpt-4o-mini", "prompt": "Why is the sky blue?"},
        answer=ref("OllamaGenerated"),
        streams="application/x-ndjson",
        stream=text(f"`OllamaGenerated`s. {_LINES}"),
        headers=CHAT_HEADERS,
    ),
    Operation(
        "POST",
        "/api/embed",
        ABOUT,
        "ollamaEmbed",
        "Create embeddings",
        request=ref("OllamaEmbed"),
        example={"model": "ollama/nomic-embed-text", "input": ["one", "two"]},
        answer=ref("OllamaEmbedded"),
    ),
    Operation(
        "POST",
        "/api/embeddings",
        ABOUT,
        "ollamaEmbeddings",
        "Create an embedding of one text",
        request=ref("OllamaEmbedOne"),
        example={"model": "ollama/nomic-embed-text", "prompt": "one"},
        answer=ref("OllamaEmbeddedOne"),
    ),
    Operation(
        "POST",
        "/api/show",
        ABOUT,
        "ollamaShow",
        "Get a model's details",
        request=request_object("model", model=MODEL),
        example={"model": "openai/gpt-4o-mini"},
        answer=ref("OllamaShown"),
    ),
    Operation("GET", "/api/tags", ABOUT, "ollamaTags", "List the models", answer=ref("OllamaModels")),
    Operation(
        "GET",
        "/api/version",
        ABOUT,
        "ollamaVersion",
        "The Ollama version whose API this is",
        answer=reply_object(version=text()),
    ),
    Operation(
        "GET",
        "/api/ps",
        ABOUT,
        "ollamaRunning",
        "List the loaded models: always empty",
        answer=reply_object(models=several(anything())),
    ),
)
