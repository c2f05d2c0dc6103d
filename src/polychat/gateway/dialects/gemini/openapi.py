"""Gemini's contents, streams, counting and embeddings; under ``/v1beta`` and ``/v1`` alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...openapi.operation import CHAT_HEADERS, COUNT_HEADERS, DialectInfo, Operation
from ...openapi.schema import (
    Schema,
    anything,
    asked,
    count,
    either,
    event,
    flag,
    given,
    nullable,
    number,
    plain,
    ref,
    several,
    text,
    whole,
    word,
)

ABOUT = DialectInfo("Gemini", "Contents as Google's Gemini has them; snake_case names are read too.", "gemini", "GeminiError")

_BLOB = asked("mimeType", "data", mimeType=text(), data=text(contentEncoding="base64"))
_FILE = asked("fileUri", fileUri=text(), mimeType=text())
_CALL = asked("name", id=text(), name=text(), args=anything())
_RESULT = asked("name", id=text(), name=text(), response=anything())
_PART: Schema = {
    "description": "One of text, data, a file, a call, or a call's result.",
    "oneOf": [
        asked("text", text=text(), thought=flag("A thought."), thoughtSignature=text("Send it back unchanged.")),
        asked("inlineData", inlineData=_BLOB),
        asked("fileData", fileData=_FILE),
        asked("functionCall", functionCall=_CALL, thoughtSignature=text("Send it back unchanged.")),
        asked("functionResponse", functionResponse=_RESULT),
    ],
}
_CONTENT = asked("parts", role=word("user", "model"), parts=several(ref("GeminiPart")))
_TOOL = asked(
    functionDeclarations=several(
        asked("name", name=text(), description=text(), parameters=anything("Google's schema."), parametersJsonSchema=anything())
    ),
    about="Functions; other names are tools that the backend itself runs.",
)
_CONFIG = asked(
    **plain("gemini", "generationConfig"),
    logprobs=whole("Of how many others too; needs `responseLogprobs`."),
    responseMimeType=text("`text/plain` or `application/json`."),
    responseSchema=anything("Google's schema."),
    responseJsonSchema=anything("A JSON schema."),
    thinkingConfig=asked(
        includeThoughts=flag(),
        thinkingBudget=whole("Maximum number of reasoning tokens; -1 leaves it to the model."),
        thinkingLevel=text("`minimal`, `low`, `medium` or `high`."),
    ),
)
_ASKED: Schema = {
    "contents": several(ref("GeminiContent"), "Oldest first; at most `gateway.limits.messages`.", minItems=1),
    "systemInstruction": asked("parts", parts=several(asked("text", text=text()))),
    "tools": several(ref("GeminiTool")),
    "toolConfig": asked(
        functionCallingConfig=asked(mode=word("AUTO", "ANY", "NONE", "VALIDATED"), allowedFunctionNames=several(text()))
    ),
    "generationConfig": _CONFIG,
}
_REQUEST = asked("contents", **_ASKED, **plain("gemini"))
_COUNT = either(asked("contents", **_ASKED), asked("generateContentRequest", generateContentRequest=ref("GeminiRequest")))
_EMBED_FIELDS: Schema = {
    "content": asked("parts", parts=several(asked("text", text=text()))),
    "outputDimensionality": whole(),
    "taskType": text(),
    "title": text(),
}
_USAGE = given(
    "promptTokenCount",
    "candidatesTokenCount",
    "totalTokenCount",
    promptTokenCount=count(),
    candidatesTokenCount=count(),
    totalTokenCount=count(),
)
_CANDIDATE = given(
    "content",
    "index",
    "finishReason",
    content=anything("See `GeminiContent`."),
    index=count(),
    finishReason=nullable(text("`STOP`, `MAX_TOKENS`, `SAFETY`, …; only where the reply has ended.")),
)
_ANSWER = given(
    "candidates",
    "usageMetadata",
    "modelVersion",
    "responseId",
    candidates=several(_CANDIDATE),
    usageMetadata=_USAGE,
    modelVersion=text("The model name as in the request."),
    responseId=text(),
)
_VECTOR = given(values=several(number()))
_ERROR = given(error=given("details", code=whole(), message=text(), status=text(), details=several(anything())))

SCHEMAS = {
    "GeminiRequest": _REQUEST,
    "GeminiContent": _CONTENT,
    "GeminiPart": _PART,
    "GeminiTool": _TOOL,
    "GeminiCount": _COUNT,
    "GeminiEmbed": asked("content", **_EMBED_FIELDS),
    "GeminiEmbedMany": asked(
        "requests",
        requests=several(ref("GeminiEmbed"), "They may differ in their content alone.", minItems=1),
    ),
    "GeminiAnswer": _ANSWER,
    "GeminiStream": several(either(ref("GeminiAnswer"), ref("GeminiError")), about="The pieces, oldest first."),
    "GeminiCounted": given(totalTokens=count()),
    "GeminiEmbedded": given("usageMetadata", embedding=_VECTOR, usageMetadata=_USAGE),
    "GeminiEmbeddedMany": given("usageMetadata", embeddings=several(_VECTOR), usageMetadata=_USAGE),
    "GeminiError": _ERROR,
}
_MODEL = {
    "name": "model",
    "in": "path",
    "required": True,
    "schema": text("`provider/model` (the slash may stand as it is), a route, or an alias.", minLength=1),
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
            "One of the stream's events. A reply that is not whole ends with an `error`, and none has a `finishReason`.",
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
        for one in _ONE:
            yield replace(one, path=f"/{version}/models/{{model}}{one.path}", name=f"{one.name}{suffix}")


OPERATIONS = tuple(_everywhere())
