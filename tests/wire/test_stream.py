"""The shell that all readers of replies share: framing, limits, one end, and what is told of that which cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from polychat import errors
from polychat.events import Event, Finish, Text, Usage
from polychat.providers import _gptalk_stream
from polychat.wire.contract import names, wire_named
from polychat.wire.framing import DataLines, WholeBody
from polychat.wire.limits import ReaderLimits
from polychat.wire.reading import complete, truncated
from polychat.wire.sites import ai_engine, ai_power
from polychat.wire.stream import BadShape, Ended, Framing, StreamReader

from ..support import corpus


class Reader(StreamReader):
    """``{"say": text}`` is text, ``{"end": word}`` the end, ``{"fault": why}`` an error that the service tells."""

    SHAPE = "a line that is none of ours"

    def __init__(self, limits: ReaderLimits | None = None) -> None:
        super().__init__(None, limits or ReaderLimits())

    def framing_for(self, body: bytes) -> Framing:
        return WholeBody(self._limits.event) if body[:1] == b"{" else DataLines(self._limits.line)

    def take(self, value: Any, events: list[Event]) -> None:
        if "end" in value:
            raise Ended(complete(value["end"]))
        if "fault" in value:
            raise errors.ReplyFailed(value["fault"])
        if "bug" in value:
            raise RuntimeError("a mistake of ours")
        if "no" in value:
            raise BadShape("it says no")
        events.append(Text(value["say"]))

    def over(self, broken: str) -> Finish:
        return truncated(broken) if broken or not self.silent else self.empty_body("nothing was said")

    def rest(self, finish: Finish) -> list[Event]:
        return [Usage(1, 2, 3)]


def read(pieces: list[bytes], limits: ReaderLimits | None = None) -> list[Event]:
    reader = Reader(limits)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.end()]


def line(payload: str) -> bytes:
    return f"data: {payload}\n\n".encode()


A, B, END = line('{"say":"ä"}'), line('{"say":"b"}'), line('{"end":"stop"}')


@pytest.mark.parametrize(
    ("body", "texts", "verdict", "why"),
    [
        (A + B + END, "äb", "complete", None),
        (A + END + B + line('{"fault":"late"}') + b"rubbish", "ä", "complete", None),
        (A + line("[DONE]") + line(" ") + B + END, "äb", "complete", None),
        (A + line('{"fault":"on fire"}') + B, "ä", "failed", "on fire"),
        (A + line('{"say') + B, "ä", "failed", "a line of the reply cannot be read"),
        (A + line('{"else":1}') + B, "ä", "failed", 'a line that is none of ours: {"else":1}'),
        (A + line('["say"]') + B, "ä", "failed", "a line that is none of ours"),
        (A + line('{"no":1}') + B, "ä", "failed", 'it says no: {"no":1}'),
        (A + line('{"say":' + "[" * 99 + "]" * 99 + "}"), "ä", "failed", "nested more than 64 deep"),
        (A + b'data: {"say":"b', "ä", "truncated", "within a line"),
        (A + b'data: {"say":"b"}', "äb", "truncated", "ended early"),
        (A + b"data:", "ä", "truncated", "within a line"),
        ('\ufeff \r\n{"say":"ä"}'.encode(), "ä", "truncated", "ended early"),
        (b'{"say":"a"', "", "truncated", "within its JSON"),
        (b'{"end":"stop"}', "", "complete", None),
        (b"", "", "truncated", "an empty body"),
        (b"eve", "", "truncated", "nothing was said"),
        (b"<html>we are back soon</html>", "", "failed", "we are back soon"),
    ],
)
def test_the_shell_gives_the_same_at_every_cut(body: bytes, texts: str, verdict: str, why: str | None) -> None:
    """Text up to the one end, the usage whatever the end is, and an error that names what is wrong, however bytes come."""
    for pieces in corpus.splits(body):
        events = read(pieces)
        *content, usage, finish = events
        assert [type(event) for event in events].count(Finish) == 1
        assert ("".join(event.text for event in content if isinstance(event, Text)), usage) == (texts, Usage(1, 2, 3))
        assert isinstance(finish, Finish)
        assert finish.verdict == verdict
        assert (finish.error is None) == (why is None)
        assert why is None or why in str(finish.error)


def test_a_line_that_cannot_be_read_is_named_without_its_secrets() -> None:
    """The error shows the payload, shortened and without what looks like a credential; it is paid for where it is a reply's."""
    *_, finish = read([line('{"choices":[1],"api_key":"sk-abcdefghijklmnopqrstuvwxyz012345"}')])
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, errors.BadReply)
    assert '{"choices":[1]' in str(finish.error)
    assert "abcdefgh" not in str(finish.error)
    assert finish.error.paid


def test_a_number_that_is_too_long_is_named() -> None:
    """And not in the words in which Python refuses to read it."""
    *_, finish = read([line(f'{{"choices":[],"usage":{"9" * 5000}}}')])
    assert isinstance(finish, Finish)
    assert "a number has 5,000 digits; 400 are the limit" in str(finish.error)


@pytest.mark.parametrize("body", [b"data: " + b"x" * 500, b'{"say":"' + b"x" * 500])
def test_what_has_no_end_meets_a_limit(body: bytes) -> None:
    """A line, and a body that is held, end the reply at their limit, and what comes then is not looked at."""
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        reader = Reader(ReaderLimits(line=100, event=100))
        events = [event for piece in pieces for event in reader.feed(piece)]
        assert reader.done
        assert isinstance(events[-1], Finish)
        assert "more than 100 bytes" in str(events[-1].error)
        assert reader.feed(END) == reader.end() == []


def test_half_an_emoji_waits_for_its_other_half() -> None:
    """A pair that a server cut in two lines arrives whole."""
    events = read([line('{"say":"a\\ud83d"}'), line('{"say":"\\ude00b"}'), END])
    assert "".join(event.text for event in events if isinstance(event, Text)) == "a😀b"


def test_a_mistake_of_ours_is_no_reply() -> None:
    """What is none of the ends that a reader knows is raised: it would be told as the backend's fault."""
    with pytest.raises(RuntimeError):
        Reader().feed(line('{"bug":1}'))


def test_every_reader_of_bytes_is_one() -> None:
    """The wires' and the sites' readers leave to the shell what they share."""
    readers = [*(wire_named(name).Reader() for name in names()), ai_engine.Reader(), ai_power.Reader(), _gptalk_stream.Reader()]
    for reader in readers:
        assert isinstance(reader, StreamReader)
        assert type(reader).feed is StreamReader.feed
        assert type(reader).end is StreamReader.end
