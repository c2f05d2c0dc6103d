"""Gemini's contents, streams, counting and embeddings; under both ``/v1beta`` and ``/v1``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...openapi.operation import CHAT_HEADERS, COUNT_HEADERS, DialectInfo, Operation
from ...openapi.schema import (
    Schema,
    anything,
    count,
    either,
    event,
    flag,
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

ABOUT = DialectInfo("Gemini", "Google's Gemini API; snake_case names are accepted too.", "gemini", "GeminiError")

_BLOB = request_object("mimeType", "data", mimeType=text(), data=text(contentEncoding="base64"))
_FILE = request_object("fileUri", fileUri=text(), mimeType=text())
_CALL = request_object("name", id=text(), name=text(), args=anything())
_RESULT = request_object("name", id=text(), name=text(), response=anything())
_PART: Schema = {
    "description": "One of text, data, a file, a call, or a call's result.",
    "oneOf": [
        request_object("text", text=text(), thought=flag("A thought."), thoughtSignature=text("Send it back unchanged.")),
        request_object("inlineData", inlineData=_BLOB),
        request_object("fileData", fileData=_FILE),
        request_object("functionCall", functionCall=_CALL, thoughtSignature=text("Send it back unchanged.")),
        request_object("functionResponse", functionResponse=_RESULT),
    ],
}
_CONTENT = request_object("parts", role=word("user", "model"), parts=several(ref("GeminiPart")))
_TOOL = request_object(
    functionDeclarations=several(
        request_object(
            "name", name=text(), description=text(), parameters=anything("Google's schema."), parametersJsonSchema=anything()
        )
    ),
    about="Functions; other names are tools that the backend itself runs.",
)
_CONFIG = request_object(
    **plain("gemini", "generationConfig"),
    logprobs=whole("How many alternatives to return for each token; requires `responseLogprobs`."),
    responseMimeType=text("`text/plain` or `application/json`."),
    responseSchema=anything("Google's schema."),
    responseJsonSchema=anything("A JSON schema."),
    thinkingConfig=request_object(
        includeThoughts=flag(),
        thinkingBudget=whole("Maximum number of reasoning tokens; -1 leaves it to the model."),
        thinkingLevel=text("`minimal`, `low`, `medium` or `high`."),
    ),
)
_ASKED: Schema = {
    "contents": several(ref("GeminiContent"), "Oldest first; at most `gateway.limits.messages`.", minItems=1),
    "systemInstruction": request_object("parts", parts=several(request_object("text", text=text()))),
    "tools": several(ref("GeminiTool")),
    "toolConfig": request_object(
        functionCallingConfig=request_object(
            mode=word("AUTO", "ANY", "NONE", "VALIDATED"), allowedFunctionNames=several(text())
        )
    ),
    "generationConfig": _CONFIG,
}
_REQUEST = request_object("contents", **_ASKED, **plain("gemini"))
_COUNT = either(
    request_object("contents", **_ASKED), request_object("generateContentRequest", generateContentRequest=ref("GeminiRequest"))
)
_EMBED_FIELDS: Schema = {
    "content": request_object("parts", parts=several(request_object("text", text=text()))),
    "outputDimensionality": whole(),
    "taskType": text(),
    "title": text(),
}
_USAGE = reply_object(
    "promptTokenCount",
    "candidatesTokenCount",
    "totalTokenCount",
    promptTokenCount=count(),
    candidatesTokenCount=count(),
    totalTokenCount=count(),
)
_CANDIDATE = reply_object(
    "content",
    "index",
    "finishReason",
    content=anything("See `GeminiContent`."),
    index=count(),
    finishReason=nullable(text("`STOP`, `MAX_TOKENS`, `SAFETY`, …; only where the reply has ended.")),
)
_ANSWER = reply_object(
    "candidates",
    "usageMetadata",
    "modelVersion",
    "responseId",
    candidates=several(_CANDIDATE),
    usageMetadata=_USAGE,
    modelVersion=text("The model name as in the request."),
    responseId=text(),
)
_VECTOR = reply_object(values=several(number()))
_ERROR = reply_object(error=reply_object("details", code=whole(), message=text(), status=text(), details=several(anything())))

SCHEMAS = {
    "GeminiRequest": _REQUEST,
    "GeminiContent": _CONTENT,
    "GeminiPart": _PART,
    "GeminiTool": _TOOL,
    "GeminiCount": _COUNT,
    "GeminiEmbed": request_object("content", **_EMBED_FIELDS),
    "GeminiEmbedMany": request_object(
        "requests",
        requests=several(ref("GeminiEmbed"), "They may differ only in `content`.", minItems=1),
    ),
    "GeminiAnswer": _ANSWER,
    "GeminiStream": several(either(ref("GeminiAnswer"), ref("GeminiError")), about="The pieces, oldest first."),
    "GeminiCounted": reply_object(totalTokens=count()),
    "GeminiEmbedded": reply_object("usageMetadata", embedding=_VECTOR, usageMetadata=_USAGE),
    "GeminiEmbeddedMany": reply_object("usageMetadata", embeddings=several(_VECTOR), usageMetadata=_USAGE),
    "GeminiError": _ERROR,
}
_MODEL = {
    "name": "model",
    "in": "path",
    "required": True,
    "schema": text("`provider/model` (the slash needs no escape), a route, or an alias.", minLength=1),
}
_ALT = {
    "name": "alt",
    "in": "query",
    "schema": word("sse", "json", about="`sse`: the stream comes in events; otherwise as one JSON array."),
}
_KEY = {"name": "key", "in": "query", "schema": text("The gateway's key, where a client puts it there.")}
_HELLO = {"contents": [{"role": "user", "parts": [{"text": "Why is the sky blue?"}]}]}
_ONE = (
    Operation(
        "POST",
        ":generateContent",
        ABOUT,
        "generateContent",
        "Create a reply",
        request=ref("GeminiRequest"),
        example=_HELLO,
        answer=ref("GeminiAnswer"),
        parameters=(_MODEL,),
        headers=CHAT_HEADERS,
    ),
    Operation(
        "POST",
        ":streamGenerateContent",
        ABOUT,
        "streamGenerateContent",
        "Create a streamed reply",
        request=ref("GeminiRequest"),
        example=_HELLO,
        answer=ref("GeminiStream"),
        streams="text/event-stream",
        stream=event(
            either(ref("GeminiAnswer"), ref("GeminiError")),
            "One of the stream's events. An incomplete reply ends with an `error`, and no event has a `finishReason`.",
        ),
        parameters=(_MODEL, _ALT),
        headers=CHAT_HEADERS,
    ),
    Operation(
        "POST",
        ":countTokens",
        ABOUT,
        "countTokens",
        "Count the tokens of a request",
        "Counted by the backend; if it cannot count, an estimate, marked by `x-polychat-estimated`.",
        ref("GeminiCount"),
        _HELLO,
        ref("GeminiCounted"),
        parameters=(_MODEL,),
        headers=COUNT_HEADERS,
    ),
    Operation(
        "POST",
        ":embedContent",
        ABOUT,
        "embedContent",
        "Create an embedding",
        request=ref("GeminiEmbed"),
        example={"content": {"parts": [{"text": "one"}]}},
        answer=ref("GeminiEmbedded"),
        parameters=(_MODEL,),
    ),
    Operation(
        "POST",
        ":batchEmbedContents",
        ABOUT,
        "batchEmbedContents",
        "Create embeddings",
        request=ref("GeminiEmbedMany"),
        example={"requests": [{"content": {"parts": [{"text": text}]}} for text in ("one", "two")]},
        answer=ref("GeminiEmbeddedMany"),
        parameters=(_MODEL,),
    ),
)


def _everywhere() -> Iterator[Operation]:
    for version, suffix in (("v1beta", ""), ("v1", "V1")):
        for operation in _ONE:
            yield replace(operation, path=f"/{version}/models/{{model}}{operation.path}", name=f"{operation.name}{suffix}")


OPERATIONS = tuple(_everywhere())
