"""The usual reply as a whole: one text, with its counts of tokens."""

from __future__ import annotations

from ..events import Event, Finish, Start, Text, Usage


class PlainReply:
    """A complete reply that is one text with counts, as most whole replies are."""

    __slots__ = ("finish", "model", "text", "usage")

    def __init__(self, text: str, usage: Usage, finish: Finish, model: str | None) -> None:
        self.text, self.usage, self.finish, self.model = text, usage, finish, model


def plain_reply(events: list[Event]) -> PlainReply | None:
    """The reply of ``events``; ``None`` for any other."""
    if len(events) != 4:
        return None
    start, text, usage, finish = events
    if type(text) is not Text or type(usage) is not Usage or type(start) is not Start or type(finish) is not Finish:
        return None
    if text.choice or finish.others or finish.verdict != "complete":
        return None
    return PlainReply(text.text, usage, finish, start.model)
