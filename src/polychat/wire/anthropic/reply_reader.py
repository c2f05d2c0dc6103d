"""Client side: a reply, streamed or whole, as events."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import BadReply, redact
from ...events import Event
from ..framing import DataLines
from ..json_text import decoded
from ..limits import LIMITS, ReaderLimits
from .constants import VENDOR
from .reply_blocks import Message


class Reader(Message):
    """A streamed reply. It is complete with ``message_stop``, or with its ``stop_reason`` where the stream stops after that.

    A ``Citation`` comes when its text is over, with its place in the answer. The blocks of tools that the backend ran
    are opaque: each comes whole, as JSON, in a ``Reasoning`` without text, and goes back as it was.
    """

    def __init__(self, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> None:
        super().__init__(vendor, limits, DataLines(limits.line))

    def plain_text(self) -> Callable[[str], None]:
        """See ``Plain``."""
        return self.grow


def read_reply(body: bytes, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> list[Event]:
    """The events of a whole reply; the last is its ``Finish``."""
    return Reader(vendor, limits).read(body)


def read_count(body: bytes, limits: ReaderLimits = LIMITS) -> int:
    """How many tokens count_tokens counted. Raises ``BadReply``."""
    try:
        value = decoded(body, limits.depth)
    except ValueError:
        value = None
    match value:
        case {"input_tokens": int(tokens)} if not isinstance(tokens, bool):
            return tokens
    raise BadReply(f"no input_tokens in the reply: {redact(body[:4_000])}")
