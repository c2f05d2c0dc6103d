"""Whether a failed reply is billed: a reply that arrived, and that only we could not read, is not requested again."""

from __future__ import annotations

from ..errors import BackendError, BadReply, EmptyReply, Truncated
from ..events import Event, Finish, Start, Usage
from .reading import is_reply, parsed


def has_piece(batch: list[Event]) -> bool:
    """Whether a batch has a part of the answer: text, reasoning or a call."""
    for event in batch:  # noqa: SIM110  # a generator takes several times as long
        if type(event) not in _NO_PART:
            return True
    return False


_NO_PART = (Start, Usage, Finish)
"""Events that are not part of an answer."""


def billed(error: BackendError, events: list[Event], body: bytes) -> BackendError:
    """The error, marked as ``paid`` if a reply arrived and only reading it failed: ``events`` of a stream, or a whole ``body``.

    A page of HTML, an empty body and a failure that the backend reports cost nothing.
    """
    if body and error.kind is None and isinstance(error, (BadReply, EmptyReply, Truncated)):
        error.paid = error.paid or is_reply(parsed(body))
        return error
    usage = next((event for event in events if type(event) is Usage), None)
    begun = any(type(event) is Start for event in events)
    return billed_stream(error, usage, begun=begun, has_content=has_piece(events))


def billed_stream(error: BackendError, usage: Usage | None, *, begun: bool, has_content: bool) -> BackendError:
    """As ``billed``, for a stream: whether a reply had ``begun``, and whether it ``has_content``.

    Vendors bill once a reply begins; an empty reply only if it counts tokens.
    """
    if error.kind is None and isinstance(error, (BadReply, EmptyReply)):
        is_counted = has_content or (usage is not None and bool(usage.completion_tokens))
        error.paid = error.paid or is_counted or (begun and isinstance(error, BadReply))
    return error


def opening_failure(events: list[Event], body: bytes, *, whole: bool, held: bool) -> BackendError | None:
    """The failure at the end of ``events``, if another backend may still be tried.

    ``None``: there is no failure, or it is sent to the client after the pieces. ``whole``: the client gets nothing before the
    end; ``held``: it got nothing of ``events`` so far; ``body``: that of a reply that was received whole.
    """
    last = events[-1] if events else None
    if type(last) is not Finish or last.error is None:
        return None
    is_begun = has_piece(events)
    if is_begun and not whole and not held:
        return None
    error = billed(last.error, events, body)
    return None if error.paid and is_begun and not whole else error
