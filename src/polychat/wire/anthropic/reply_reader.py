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
from .usual_replies import usual_reply


class Reader(Message):
    """A streamed reply. It is complete after ``message_stop``, or with a ``stop_reason`` if the stream ends after that.

    A ``Citation`` is emitted when its text ends, with its position in the answer. Blocks of tools that the backend ran
    are opaque: each is emitted whole, as JSON, in a ``Reasoning`` without text, and is returned to the vendor unchanged.
    """

    def __init__(self, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> None:
        super().__init__(vendor, limits, DataLines(limits.line))

    def text_recorder(self) -> Callable[[str], None]:
        """See ``RecordsText``."""
        return self.grow


def read_reply(body: bytes, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> list[Event]:
    """The events of a whole reply; the last is its ``Finish``."""
    events = usual_reply(body)
    return Reader(vendor, limits).read(body) if events is None else events


def read_count(body: bytes, limits: ReaderLimits = LIMITS) -> int:
    """The number of tokens that count_tokens reports. Raises ``BadReply``."""
    try:
        value = decoded(body, limits.depth)
    except ValueError:
        value = None
    match value:
        case {"input_tokens": int(tokens)} if not isinstance(tokens, bool):
            return tokens
    raise BadReply(f"no input_tokens in the reply: {redact(body[:4_000])}")
