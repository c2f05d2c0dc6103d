"""What Anthropic's API refuses with 400, as far as its documentation and its error messages say."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

from polychat.wire.anthropic.generations import rules_of

MODELS = (
    *("claude-3-haiku-20240307", "claude-3-7-sonnet-20250219", "claude-opus-4-20250514", "claude-opus-4-1-20250805"),
    *("claude-haiku-4-5", "claude-sonnet-4-5-20250929", "claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-4-7"),
    *("claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-fable-5", "claude-mythos-preview", "claude-fable-5-1"),
    *("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "another-vendors-model"),
)
_TRUE = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"), (b"%PDF", "application/pdf"))


def refusals(body: dict[str, Any]) -> list[str]:
    """Why the API would refuse this body; empty where it would not."""
    return [*_conversation(body), *_thinking(body), *_tools(body), *_rest(body)]


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _conversation(body: dict[str, Any]) -> Iterator[str]:
    messages = body["messages"]
    if not messages:
        yield "no message"
    if any(not block["text"].strip() for block in _blocks(body.get("system", []))):
        yield "a blank system text"
    used: set[str] = set()
    for place, message in enumerate(messages):
        blocks = _blocks(message["content"])
        if not blocks:
            yield "a message without content"
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        after = _blocks(messages[place + 1]["content"]) if place + 1 < len(messages) else []
        results = [block["tool_use_id"] for block in after if block["type"] == "tool_result"]
        if sorted(calls) != sorted(results):
            yield f"the calls {calls} have the results {results}"
        if [block["type"] for block in after[: len(results)]] != ["tool_result"] * len(results):
            yield "something stands before a result"
        if used & set(calls) or len(set(calls)) < len(calls):
            yield "an id twice"
        used |= set(calls)
        for block in blocks:
            yield from _block(block)
    if any(block["type"] == "tool_result" for block in (_blocks(messages[0]["content"]) if messages else [])):
        yield "a result without its call"
    if messages and messages[-1]["role"] == "assistant":
        last = _blocks(messages[-1]["content"])[-1]
        rules = rules_of(body["model"])
        if rules is not None and not rules.prefill:
            yield "a prefill"
        if last["type"] == "text" and last["text"] != last["text"].rstrip():
            yield "a prefill that ends with white space"


def _block(block: dict[str, Any]) -> Iterator[str]:
    if block["type"] == "text" and not block["text"].strip():
        yield "a blank text"
    if block["type"] in ("image", "document") and block["source"]["type"] == "base64":
        media_type, data = block["source"]["media_type"], b64decode(block["source"]["data"])
        takes = ("image/jpeg", "image/png", "image/gif", "image/webp") if block["type"] == "image" else ("application/pdf",)
        if media_type not in takes:
            yield f"a {block['type']} of type {media_type}"
        if any(data.startswith(begin) and media_type != true for begin, true in _TRUE):
            yield f"no {media_type}"
    if block["type"] == "tool_result":
        for inner in _blocks(block.get("content", [])):
            yield from _block(inner)


def _thinking(body: dict[str, Any]) -> Iterator[str]:
    rules, thinking = rules_of(body["model"]), body.get("thinking", {})
    mode, forced = thinking.get("type"), body.get("tool_choice", {}).get("type") in ("any", "tool")
    if forced and rules is not None and not rules.forced:
        yield "a tool is forced on a model that takes none"
    if mode in ("enabled", "adaptive"):
        if forced:
            yield "a tool is forced on a model that thinks"
        if body.get("temperature", 1) != 1 or "top_k" in body or body.get("top_p", 1) < 0.95:
            yield "sampling beside thoughts"
    if mode == "enabled":
        if thinking["budget_tokens"] >= body["max_tokens"] or thinking["budget_tokens"] < 1024:
            yield "a budget that is not between 1,024 and max_tokens"
        yield from _thoughts_lost(body["messages"])
    if rules is None:
        return
    if (mode == "enabled" and not rules.budget) or (mode == "adaptive" and not rules.adaptive):
        yield f"thinking is {mode}"
    if mode in ("disabled", "between_tools") and mode != (rules.off if rules.thinks else "disabled"):
        yield f"thinking is {mode}"
    if body.get("output_config", {}).get("effort") == "xhigh" and not rules.xhigh:
        yield "the effort xhigh"


def _thoughts_lost(messages: list[dict[str, Any]]) -> Iterator[str]:
    if len(messages) > 1 and messages[-2]["role"] == "assistant":
        answered = all(block["type"] == "tool_result" for block in _blocks(messages[-1]["content"]))
        first = _blocks(messages[-2]["content"])[0]["type"]
        if answered and first not in ("thinking", "redacted_thinking"):
            yield "calls without the thoughts before them"


def _tools(body: dict[str, Any]) -> Iterator[str]:
    for tool in body.get("tools", []):
        schema = tool["input_schema"]
        if schema.get("type") != "object" or schema.keys() & {"anyOf", "oneOf", "allOf"}:
            yield f"the input of {tool['name']} is no object"
        if tool.get("strict"):
            yield from _open(schema)


def _open(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _open(one)
    if isinstance(schema, dict):
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            yield "an open object"
        if schema.keys() & {"minimum", "maximum", "minLength", "maxLength", "maxItems", "oneOf"}:
            yield "a limit in a schema that binds"
        for one in schema.values():
            yield from _open(one)


def _rest(body: dict[str, Any]) -> Iterator[str]:
    rules = rules_of(body["model"])
    takes = "both" if rules is None else rules.sampling
    sampled = body.keys() & {"temperature", "top_p", "top_k"}
    if (takes == "none" and sampled) or (takes == "one" and sampled >= {"temperature", "top_p"}):
        yield f"{sorted(sampled)} to a model that takes {takes}"
    if any(not text.strip() for text in body.get("stop_sequences", [])):
        yield "a blank stop"
    yield from _open(body.get("output_config", {}).get("format", {}).get("schema"))
    if (marks := _marks(body)) > 4:
        yield f"{marks} marks"


def _marks(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_marks, value))
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(_marks, value.values()))
    return 0
