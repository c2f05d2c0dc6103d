"""The ends of replies: complete, truncated, failed, or unreadable."""

from __future__ import annotations

import json
from typing import Any, cast, get_args

from ..errors import BackendError, BadReply, PolychatError, ReplyFailed, Truncated
from ..events import Event, Finish, Reason

_TWO = "a second reply begins within the first: two replies were sent as one"


def two_replies() -> BadReply:
    """The error of a reply within which another reply begins."""
    return BadReply(_TWO)


def is_two_replies(finish: Finish) -> bool:
    """Whether a reply failed because another began within it."""
    return isinstance(finish.error, BadReply) and str(finish.error) == _TWO


def complete(reason: str | None = None) -> Finish:
    return Finish("complete", reason)


_LIKE: tuple[tuple[str, Reason], ...] = (
    ("tool", "tool_calls"),
    ("function", "tool_calls"),
    ("length", "length"),
    ("max", "length"),
    ("token", "length"),
    ("context", "length"),
    ("limit", "length"),
    ("incomplete", "length"),
    ("refus", "refusal"),
    ("filter", "content_filter"),
    ("safety", "content_filter"),
    ("sensitive", "content_filter"),
    ("block", "content_filter"),
    ("policy", "content_filter"),
    ("recitation", "content_filter"),
    ("prohibited", "content_filter"),
    ("pause", "pause"),
)


def nearest(reason: str) -> Reason:
    """The common finish reason that is most similar to a backend's own, for wires with a closed set of reasons."""
    if reason in get_args(Reason):
        return cast(Reason, reason)
    low = reason.lower()
    return next((common for part, common in _LIKE if part in low), "stop")


def failed(error: BackendError) -> Finish:
    return Finish("failed", error=error)


_PARTS = (
    *("choices", "output", "content", "candidates", "message"),
    *("delta", "content_block", "item", "part", "response"),
)
"""The members that contain text in whole replies of all wires, or a piece in events of a stream, as a list or an object."""


def is_reply(value: Any) -> bool:
    """Whether decoded JSON is a reply, or an event of one, with content that a vendor bills."""
    return isinstance(value, dict) and any(isinstance(value.get(name), (list, dict)) and value[name] for name in _PARTS)


def unreadable(why: str, content: Any) -> BadReply:
    """The error of a reply that cannot be read. It is ``paid`` if ``content``, its JSON or its bytes, is part of a reply."""
    error = BadReply(why)
    error.paid = is_reply(parsed(content) if isinstance(content, bytes) else content)
    return error


def truncated(why: str) -> Finish:
    """``why`` names the missing terminator, or the failure."""
    return Finish("truncated", error=Truncated(f"the reply ended early: {why}"))


def finish_of(error: PolychatError) -> Finish:
    """The finish of a reply that failed with this error."""
    if isinstance(error, Truncated):
        return Finish("truncated", error=error)
    return failed(error if isinstance(error, BackendError) else ReplyFailed(str(error)))


def failure_in(batch: list[Event]) -> PolychatError | None:
    """The error that ended a reply, if this is its last batch and contains one."""
    last = batch[-1] if batch else None
    return last.error if isinstance(last, Finish) else None


def parsed(body: bytes | str) -> Any:
    """The JSON value in ``body``; ``None`` if it is not JSON, so that one ``match`` can handle all cases."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
