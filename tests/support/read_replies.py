"""Runs a wire's reader: pieces of bytes in, one whole reply out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from polychat.errors import PolychatError
from polychat.events import Event, Finish, Text
from polychat.wire.contract import Reader


@dataclass
class ReadReply:
    """All events of a reply, and what they come to."""

    events: list[Event]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Text))

    @property
    def finish(self) -> Finish:
        last = self.events[-1]
        assert isinstance(last, Finish)
        assert sum(isinstance(event, Finish) for event in self.events) == 1, "a reply has exactly one verdict"
        return last

    @property
    def error(self) -> PolychatError:
        assert self.finish.error is not None
        return self.finish.error


def read_pieces(reader: Reader, pieces: Iterable[bytes]) -> ReadReply:
    """Feed the pieces, then the end; after the finish nothing more may come."""
    events: list[Event] = []
    for piece in pieces:
        events += reader.feed(piece)
    events += reader.end()
    assert reader.done
    assert reader.feed(b"data: more\n\n") == reader.end() == []
    return ReadReply(events)


def merged(reply: ReadReply) -> tuple[str, list[str], str, str]:
    """What must not depend on the network's cuts."""
    others = [repr(event) for event in reply.events[:-1] if not isinstance(event, Text)]
    return reply.text, others, reply.finish.verdict, repr(reply.finish.error)
