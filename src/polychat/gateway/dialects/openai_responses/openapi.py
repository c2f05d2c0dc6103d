"""OpenAI's Responses, with what is kept of them."""

from __future__ import annotations

from ...openapi.operation import CHAT_HEADERS, COUNT_HEADERS, DialectInfo, Operation
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
    word,
)
from ..openai_chat.openapi import OPENROUTER

ABOUT = DialectInfo(
    "Responses",
    "OpenAI's Responses; replies are stored here for requests that continue them.",
    "openai-responses",
    "OpenAIError",
)

_PART = {
    "oneOf": [
        request_object("type", "text", type=word("input_text", "output_text", "text"), text=text()),
        request_object("type", "refusal", type=kind("refusal"), refusal=text()),
        request_object(
            "type", type=kind("input_image"), image_url=text("An address, or `data:…`."), file_id=text(), detail=text()
        ),
        request_object(
            "type",
            type=kind("input_file"),
            filename=text(),
            file_url=text(),
            file_data=text("`data:…` or base64."),
            file_id=text(),
        ),
        request_object(
            "type",
            "input_audio",
            type=kind("input_audio"),
            input_audio=request_object("format", "data", format=text(), data=text()),
        ),
    ]
}
_CONTENT = either(text(), several(ref("ResponsesPart")))
_ITEM = {
    "anyOf": [
        request_object(
            "role", "content", type=kind("message"), role=word("user", "assistant", "system", "developer"), content=_CONTENT
        ),
        request_object(
            "type",
            "call_id",
            "name",
            "arguments",
            type=kind("function_call"),
            call_id=text(),
            name=text(),
            arguments=text("JSON."),
        ),
        request_object("type", "call_id", "output", type=kind("function_call_output"), call_id=text(), output=_CONTENT),
        request_object(
            "type",
            type=kind("reasoning"),
            id=text(),
            summary=several(anything()),
            content=several(anything()),
            encrypted_content=text("The vendor's own data: send it back unchanged."),
        ),
        request_object("type", type=text("Another item, which is returned to the backend that made it.")),
    ]
}
_TOOL = {
    "anyOf": [
        request_object(
            "type", "name", type=kind("function"), name=text(), description=text(), parameters=anything(), strict=flag()
        ),
        request_object("type", type=text("A tool that the backend itself runs, in the vendor's own format.")),
    ]
}
_FORMAT = {
    "oneOf": [
        request_object("type", type=word("text", "json_object")),
        request_object(
            "type", "schema", type=kind("json_schema"), schema=anything(), name=text(), description=text(), strict=flag()
        ),
    ]
}
_REQUEST = request_object(
    "model",
    model=MODEL,
    input=either(text(), several(ref("ResponsesItem")), about="The prompt: a text, or the items of a conversation."),
    instructions=text("The text of a system message."),
    **{
        **plain("openai-responses"),
        "previous_response_id": text("The stored reply to continue from, created with the same API key."),
        "store": flag("false: do not store the reply."),
        **OPENROUTER,
    },
    stream=flag("Whether to stream the reply as events."),
    include=several(text(), "`reasoning.encrypted_content`, `message.output_text.logprobs`, …"),
    tools=several(ref("ResponsesTool")),
    tool_choice=either(
        word("auto", "none", "required"), request_object("type", type=text()), about="Which tools the model may call."
    ),
    text=request_object(format=_FORMAT, **plain("openai-responses", "text"), about="The response format."),
    reasoning=request_object(effort=text(), summary=text(), about="The reasoning effort, and whether to include a summary."),
    background={"enum": [False, None], "description": "Background replies are not supported."},
)
_RESPONSE = reply_object(
    "usage",
    "error",
    "incomplete_details",
    id=text(),
    object=kind("response"),
    created_at=number("Seconds since 1970."),
    status=word("completed", "incomplete", "failed", "in_progress"),
    error=nullable(anything()),
    incomplete_details=nullable(reply_object(reason=text("`max_output_tokens` or `content_filter`."))),
    model=text("The model name as in the request."),
    output=several(anything("`message`, `reasoning`, `function_call`, …; see `ResponsesItem`.")),
    usage=nullable(anything("`input_tokens`, `output_tokens`, `total_tokens` and their details.")),
)


def _leads(operation: str) -> Schema:
    return {"operationId": operation, "parameters": {"response_id": "$response.body#/id"}}


_NAME = {"name": "response_id", "in": "path", "required": True, "schema": text(minLength=1)}
_PAGE = (
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}},
    {"name": "order", "in": "query", "schema": word("asc", "desc")},
    {"name": "after", "in": "query", "schema": text("The id of the item before the first one.")},
)
_UPGRADE = (
    {"name": "upgrade", "in": "header", "required": True, "schema": kind("websocket")},
    {"name": "connection", "in": "header", "required": True, "schema": text("A list with `Upgrade` in it.")},
    {"name": "sec-websocket-version", "in": "header", "required": True, "schema": kind("13")},
    {"name": "sec-websocket-key", "in": "header", "required": True, "schema": text("16 bytes in base64.")},
)

SCHEMAS = {
    "ResponsesRequest": _REQUEST,
    "ResponsesItem": _ITEM,
    "ResponsesPart": _PART,
    "ResponsesTool": _TOOL,
    "Response": _RESPONSE,
    "ResponseItems": reply_object(
        "first_id",
        "last_id",
        object=kind("list"),
        data=several(anything("An item of the conversation, with an `id` and a `status`; see `ResponsesItem`.")),
        first_id=nullable(text()),
        last_id=nullable(text()),
        has_more=flag(),
    ),
    "CompactRequest": request_object(
        "model",
        model=MODEL,
        input=either(text(), several(ref("ResponsesItem")), about="The conversation."),
        instructions=text("The text of a system message."),
        previous_response_id=text("The stored reply that ends the conversation; `input` is appended to it."),
    ),
    "CompactedResponse": reply_object(
        "object",
        "output",
        object=text("`response.compaction`."),
        output=several(anything("An item of the shorter conversation; one of type `compaction` is the vendor's own data.")),
    ),
    "ResponseCounted": reply_object(object=kind("response.input_tokens"), input_tokens=count()),
    "ResponseDeleted": reply_object(id=text(), object=kind("response"), deleted={"const": True}),
}
OPERATIONS = (
    Operation(
        "POST",
        "/v1/responses",
        ABOUT,
        "respond",
        "Create a stored reply",
        "Replies are stored in this process, for `gateway.store.seconds`. If the backend supports this API itself, the "
        "request is passed through, and the backend stores the reply.",
        ref("ResponsesRequest"),
        {"model": "openai/gpt-4o-mini", "input": "Why is the sky blue?"},
        ref("Response"),
        "text/event-stream",
        event(
            request_object("type", type=text()),
            "One of the stream's events: `response.created`, `response.output_text.delta`, …; the last is `response.completed` "
            "or `response.incomplete`, or, for an incomplete reply, `response.failed` or `error`.",
        ),
        headers=CHAT_HEADERS,
        links={name: _leads(name) for name in ("getResponse", "deleteResponse")},
    ),
    Operation(
        "GET",
        "/v1/responses",
        ABOUT,
        "connectResponses",
        "Create replies over WebSocket",
        "With `Upgrade: websocket` the connection becomes a WebSocket (RFC 6455). Each message of the client is a text frame: "
        'the body of `POST /v1/responses` with `"type": "response.create"`, and `stream_id` where several run at a time. Each '
        "event of the reply is a text frame: the JSON object that a stream has as the event's data. `GET` without the upgrade "
        "gets 405.",
        parameters=_UPGRADE,
        headers={
            "upgrade": {"required": True, "schema": kind("websocket")},
            "sec-websocket-accept": {"required": True, "schema": text("The proof of RFC 6455, 4.2.2.")},
        },
        status=101,
    ),
    Operation(
        "GET",
        "/v1/responses/{response_id}",
        ABOUT,
        "getResponse",
        "Get a stored reply",
        answer=ref("Response"),
        parameters=(_NAME,),
    ),
    Operation(
        "GET",
        "/v1/responses/{response_id}/input_items",
        ABOUT,
        "getResponseItems",
        "List the input items of a stored reply",
        "Without instructions, system and developer messages, and without reasoning that OpenAI did not encrypt.",
        answer=ref("ResponseItems"),
        parameters=(_NAME, *_PAGE),
    ),
    Operation(
        "POST",
        "/v1/responses/input_tokens",
        ABOUT,
        "countResponseTokens",
        "Count the tokens of a request",
        "Counted by the backend; if it cannot count, an estimate, marked by `x-polychat-estimated`.",
        ref("ResponsesRequest"),
        {"model": "openai/gpt-4o-mini", "input": "Why is the sky blue?"},
        ref("ResponseCounted"),
        headers=COUNT_HEADERS,
    ),
    Operation(
        "POST",
        "/v1/responses/compact",
        ABOUT,
        "compactConversation",
        "Make a conversation shorter",
        "The backend's own answer: its `output` is the input to continue with. For backends without this API it is 400.",
        ref("CompactRequest"),
        {"model": "openai/gpt-5.1", "input": [{"role": "user", "content": "Why is the sky blue?"}]},
        ref("CompactedResponse"),
    ),
    Operation(
        "DELETE",
        "/v1/responses/{response_id}",
        ABOUT,
        "deleteResponse",
        "Delete a stored reply",
        answer=ref("ResponseDeleted"),
        parameters=(_NAME,),
    ),
)
