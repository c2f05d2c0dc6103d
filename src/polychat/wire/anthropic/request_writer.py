"""Client side: a ``ChatRequest`` as a request body."""

from __future__ import annotations

from typing import Any

from ...errors import BadInput, redact
from ...types import ChatRequest, Format, HostedTool, Thinking, Tool
from ..efforts import BUDGETS
from ..extras import with_extra
from ..plain import writer
from .constants import NAME, VENDOR
from .generations import GenerationRules, rules_of
from .message_writer import Blocks, cached, system_blocks

MAX_TOKENS = 8_192
"""Sent if the request has no limit, because the API requires one: what every model that is still available supports."""
MAX_TOKENS_THINKING = 32_000
"""The same for a model that thinks first, whose thinking counts; every model with adaptive thinking supports it."""
MIN_BUDGET = 1_024
JSON_ONLY = "Answer with one valid JSON value and nothing else: no explanation, no Markdown."
_write_plain = writer(NAME)
_COUNTED = (
    *("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "speed"),
    *("user_profile_id", "mcp_servers", "context_management"),
)
"""The fields of a request that count_tokens accepts."""


def path(request: ChatRequest) -> str:
    """The path after the base URL of the official clients."""
    return "/v1/messages"


def count_path(request: ChatRequest) -> str:
    return "/v1/messages/count_tokens"


def write_request(request: ChatRequest, vendor: str = VENDOR) -> dict[str, Any]:
    """The body. Raises ``BadInput`` if arguments of an earlier call are no JSON object, or a text file is not text."""
    native = request.wire == NAME
    system, messages = Blocks(vendor, native=native).messages(request.messages)
    if request.format is not None and request.format.kind == "json":
        system = [*system, {"type": "text", "text": JSON_ONLY}]
    body: dict[str, Any] = {"model": request.model, "max_tokens": 0, "messages": messages}
    if system:
        body["system"] = system_blocks(system)
    _tools(body, request, native=native)
    _thinking(body, request.reasoning, request.model)
    _format(body, request.format)
    _write_plain(request, body)
    body["max_tokens"] = _max_tokens(request, body.get("thinking"))
    if request.stream:
        body["stream"] = True
    return with_extra(body, request.extra, native=native)


def write_count_request(request: ChatRequest, vendor: str = VENDOR) -> dict[str, Any]:
    """The body that asks for the token count of ``request``, for ``count_path``. Raises as ``write_request`` does."""
    return {name: value for name, value in write_request(request, vendor).items() if name in _COUNTED}


def _tools(body: dict[str, Any], request: ChatRequest, *, native: bool) -> None:
    tools = [_tool(tool, native=native) for tool in request.tools if native or not isinstance(tool, HostedTool)]
    if not tools:
        return  # the API rejects a tool choice without tools
    body["tools"] = tools
    choice: dict[str, Any] | None = None
    if request.tool_choice is not None:
        choice = {"type": {"required": "any", "named": "tool"}.get(request.tool_choice.mode, request.tool_choice.mode)}
        if request.tool_choice.mode == "named":
            choice["name"] = request.tool_choice.name
    if request.parallel_tool_calls is not None and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": not request.parallel_tool_calls}
    if choice is not None:
        body["tool_choice"] = choice


def _tool(tool: Tool | HostedTool, *, native: bool) -> dict[str, Any]:
    if isinstance(tool, HostedTool):
        return tool.spec
    written: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    written["input_schema"] = {"type": "object"} if tool.parameters is None else tool.parameters
    if tool.strict is not None:
        written["strict"] = tool.strict
    cached(written, tool.cache)
    return with_extra(written, tool.extra, native=native)


def _thinking(body: dict[str, Any], reasoning: Thinking | None, model: str) -> None:
    if reasoning is None:
        return
    rules = rules_of(model)
    effort, budget = reasoning.effort, reasoning.budget
    if effort is not None and effort != "none" and budget in (None, -1) and rules is not None and not rules.adaptive:
        budget, effort = BUDGETS[effort].anthropic, None
    if (thinking := _mode(effort, budget, reasoning.summary, rules)) is not None:
        body["thinking"] = thinking
    if effort is not None and effort != "none":
        body["output_config"] = {"effort": "low" if effort == "minimal" else effort}


def _mode(effort: str | None, budget: int | None, summary: str | None, rules: GenerationRules | None) -> dict[str, Any] | None:
    if budget == 0 or (budget is None and effort == "none"):
        off = "disabled" if rules is None else rules.off
        return {"type": off} if off in ("disabled", "between_tools") else None
    thinking: dict[str, Any] = {"type": "adaptive"}
    if budget is not None and budget > 0:
        thinking = {"type": "enabled", "budget_tokens": max(MIN_BUDGET, budget)}
    if summary is not None:
        thinking["display"] = "omitted" if summary == "none" else "summarized"
    return thinking


def _format(body: dict[str, Any], reply_format: Format | None) -> None:
    if reply_format is None or reply_format.kind != "schema":
        return
    if reply_format.schema is None:
        raise BadInput("format.schema is missing: set the JSON schema that the reply must follow", field="format.schema")
    body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": reply_format.schema}


def _max_tokens(request: ChatRequest, thinking: dict[str, Any] | None) -> int:
    if request.max_tokens is not None:
        if request.max_tokens < 0:
            raise BadInput(f"max_tokens is {redact(str(request.max_tokens))}; it must be 1 or more", field="max_tokens")
        return request.max_tokens
    match thinking:
        case {"type": "enabled", "budget_tokens": int(budget)}:
            return MAX_TOKENS + budget
        case {"type": "adaptive"}:
            return MAX_TOKENS_THINKING
    return MAX_TOKENS
