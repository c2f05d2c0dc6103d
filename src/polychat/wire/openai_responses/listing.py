"""The input items of a stored reply, as ``GET /v1/responses/ID/input_items`` lists them."""

from __future__ import annotations

from ...types import ChatMessage
from .constants import VENDOR, Object
from .message_writer import Items

_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco"}


def input_items(messages: list[ChatMessage], reply: str) -> list[Object]:
    """The messages as items with an ``id`` and a ``status``, the oldest first.

    A missing id is derived from ``reply``, the reply's id, so that it is the same each time. Reasoning that OpenAI did not
    encrypt is omitted.
    """
    return [_listed(item, reply, place) for place, item in enumerate(Items(VENDOR, native=True).of(messages))]


def _listed(item: Object, reply: str, place: int) -> Object:
    kind = item["type"]
    name = item.get("id")
    if not isinstance(name, str) or not name:
        name = f"{_PREFIXES.get(kind, 'item')}_{reply.removeprefix('resp_')}_in{place}"
    listed = {**item, "id": name, "status": item.get("status") or "completed"}
    if kind == "message" and isinstance(text := item.get("content"), str):
        is_reply = item.get("role") == "assistant"
        part: Object = (
            {"type": "output_text", "text": text, "annotations": []} if is_reply else {"type": "input_text", "text": text}
        )
        listed["content"] = [part]
    return listed


def page_of(items: list[Object], *, after: str | None, limit: int, newest_first: bool) -> Object:
    """At most ``limit`` items after the one with the id ``after``. Raises ``KeyError`` if there is no such item."""
    ordered = items[::-1] if newest_first else items
    start = 0
    if after is not None:
        start = next((place + 1 for place, item in enumerate(ordered) if item["id"] == after), 0)
        if not start:
            raise KeyError(after)
    page = ordered[start : start + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(ordered),
    }
