"""Anthropic's Messages, and counting."""

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
    plain,
    ref,
    reply_object,
    request_object,
    several,
    text,
    word,
)

ABOUT = DialectInfo("Anthropic", "Anthropic's Messages API.", "anthropic", "AnthropicError", overloaded=529)

_CACHE = anything('What to cache, and how long: `{"type": "ephemeral", "ttl": "1h"}`.')
_BASE64 = request_object(
    "type", "media_type", "data", type=kind("base64"), media_type=text(), data=text(contentEncoding="base64")
)
_URL = request_object("type", "url", type=kind("url"), url=text())
_HELD = request_object("type", "file_id", type=kind("file"), file_id=text("An identifier of the backend."))
_PLAIN = request_object("type", "data", type=kind("text"), media_type=text(), data=text())
_TEXT = request_object("type", "text", type=kind("text"), text=text(), cache_control=_CACHE)
_IMAGE = request_object("type", "source", type=kind("image"), source={"oneOf": [_BASE64, _URL, _HELD]}, cache_control=_CACHE)
_DOCUMENT = request_object(
    "type",
    "source",
    type=kind("document"),
    source={"oneOf": [_BASE64, _URL, _HELD, _PLAIN]},
    title=text(),
    cache_control=_CACHE,
)
_RESULT = request_object(
    "type",
    "tool_use_id",
    type=kind("tool_result"),
    tool_use_id=text(),
    content=either(text(), several({"oneOf": [_TEXT, _IMAGE, _DOCUMENT]})),
    is_error=flag(),
    cache_control=_CACHE,
)
_BLOCK: Schema = {
    "oneOf": [
        _TEXT,
        _IMAGE,
        _DOCUMENT,
        _RESULT,
        request_object("type", "id", "name", "input", type=kind("tool_use"), id=text(), name=text(), input=anything()),
        request_object("type", "thinking", type=kind("thinking"), thinking=text(), signature=text("Send it back unchanged.")),
        request_object("type", "data", type=kind("redacted_thinking"), data=text("Send it back unchanged.")),
    ]
}
_MESSAGE = request_object(
    "role",
    "content",
    role=word("user", "assistant", "system"),
    content=either(
        text(), several(ref("AnthropicBlock")), about="Tools are called by the assistant, and answered by the user."
    ),
)
_TOOL = {
    "anyOf": [
        request_object(
            "name", "input_schema", type=kind("custom"), name=text(), description=text(), input_schema=anything(), strict=flag()
        ),
        request_object("type", type=text("A tool that the backend itself runs, in the vendor's own format.")),
    ]
}
_ASKED: Schema = {
    "model": MODEL,
    "messages": several(ref("AnthropicMessage"), "Oldest first; at most `gateway.limits.messages`."),
    "system": either(text(), several(_TEXT)),
    "tools": several(ref("AnthropicTool")),
    "tool_choice": request_object(
        "type",
        type=word("auto", "any", "none", "tool"),
        name=text(),
        disable_parallel_tool_use=flag("At most one tool is called at once."),
    ),
    "thinking": request_object(
        "type",
        type=word("enabled", "adaptive", "disabled"),
        budget_tokens=count("Required if thinking is `enabled`."),
        display=word("summarized", "omitted"),
    ),
}
_REQUEST = request_object(
    "model",
    "messages",
    about="A conversation. `max_tokens` may be left out where the backend has a limit of its own.",
    **_ASKED,
    **plain("anthropic"),
    stream=flag("Whether to stream the reply as events."),
    metadata=request_object(**plain("anthropic", "metadata")),
    output_config=request_object(
        effort=text("`low`, `medium`, `high`, `xhigh` or `max`."),
        format=request_object("type", "schema", type=kind("json_schema"), schema=anything()),
    ),
)
_USAGE = reply_object(
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    input_tokens=count(),
    output_tokens=count(),
    cache_creation_input_tokens=nullable(count()),
    cache_read_input_tokens=nullable(count()),
)
_ANSWER = reply_object(
    id=text(),
    type=kind("message"),
    role=kind("assistant"),
    model=text("The model name as in the request."),
    content=several(anything("`text`, `thinking`, `tool_use`, …; see `AnthropicBlock`.")),
    stop_reason=nullable(text("`end_turn`, `max_tokens`, `stop_sequence`, `tool_use`, `refusal`, `pause_turn`.")),
    stop_sequence=nullable(text()),
    usage=_USAGE,
)
_ERROR = reply_object(
    "request_id",
    type=kind("error"),
    error=reply_object(type=text("`invalid_request_error`, `overloaded_error`, …"), message=text()),
    request_id=nullable(text()),
)

SCHEMAS = {
    "AnthropicRequest": _REQUEST,
    "AnthropicCount": request_object("model", "messages", **_ASKED),
    "AnthropicMessage": _MESSAGE,
    "AnthropicBlock": _BLOCK,
    "AnthropicTool": _TOOL,
    "AnthropicAnswer": _ANSWER,
    "AnthropicCounted": reply_object(input_tokens=count()),
    "AnthropicError": _ERROR,
}
OPERATIONS = (
    Operation(
        "POST",
        "/v1/messages",
        ABOUT,
        "message",
        "Create a reply",
        "`anthropic-version` and `anthropic-beta` are forwarded to a backend of the same wire, and have no effect here.",
        ref("AnthropicRequest"),
        {
            "model": "anthropic/claude-sonnet-4-5",
            "max_tokens": 200,
            "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        },
        ref("AnthropicAnswer"),
        "text/event-stream",
        event(
            request_object("type", type=text()),
            "One of the stream's events: `message_start`, `content_block_delta`, …, `message_stop`; `ping` while the backend "
            "is silent. An incomplete reply ends with `error`, and without `message_stop`.",
        ),
        headers=CHAT_HEADERS,
    ),
    Operation(
        "POST",
        "/v1/messages/count_tokens",
        ABOUT,
        "countMessage",
        "Count the tokens of a request",
        "Counted by the backend; if it cannot count, an estimate, marked by `x-polychat-estimated`.",
        ref("AnthropicCount"),
        {"model": "anthropic/claude-sonnet-4-5", "messages": [{"role": "user", "content": "Why is the sky blue?"}]},
        ref("AnthropicCounted"),
        headers=COUNT_HEADERS,
    ),
)
