"""Bytes into lines and payloads."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.wire.framing import DataLines, Lines, LineTooLong, data_line
from polychat.wire.sites.deltas import Cumulative


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    cuts = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _lines(pieces: list[bytes]) -> list[bytes]:
    cutter = Lines()
    return [line for piece in pieces for line in cutter.feed(piece)] + cutter.end()


@given(
    st.lists(st.sampled_from([b"a", b"\xd0", b"\xbf", b"\r", b"\n", b"\r\n", b"\xe2\x80\xa8", b"data: "]), max_size=30),
    st.lists(st.integers(0, 99)),
)
def test_lines_do_not_depend_on_the_networks_cuts(parts: list[bytes], places: list[int]) -> None:
    """Lines end at LF, CRLF and CR and nowhere else, wherever the bytes are cut."""
    data = b"".join(parts)
    expected = re.split(rb"\r\n|\r|\n", data)
    assert _lines(_cut(data, places)) == (expected if expected[-1] else expected[:-1])


@pytest.mark.parametrize("size", [11, 100])
@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_line_has_a_limit(size: int, cut: int) -> None:
    """A line past the limit is refused, whether it comes at once, in pieces, or with its end."""
    for tail in (b"", b"\n"):
        data = b"x" * size + tail
        cutter = Lines(limit=10)
        with pytest.raises(LineTooLong, match="10 bytes"):
            for start in range(0, len(data), cut):
                cutter.feed(data[start : start + cut])


def test_a_line_of_exactly_the_limit_passes() -> None:
    """The limit is the longest line that passes."""
    assert Lines(limit=10).feed(b"x" * 10 + b"\n" + b"y" * 10 + b"\r") == [b"x" * 10, b"y" * 10]


def test_data_lines_with_and_without_the_space() -> None:
    """The payload begins after ``data:`` and at most one space; other lines are no payload."""
    stream = b": hello\r\nevent: x\r\ndata: one\r\n\r\ndata:two\n\ndata:  three\nid: 4\ndata\ndatabase: no\ndata: last"
    reader = DataLines()
    assert [p for i in range(len(stream)) for p in reader.feed(stream[i : i + 1])] + reader.end() == [
        b"one",
        b"two",
        b" three",
        b"last",
    ]


@given(st.lists(st.text()))
def test_what_data_line_writes_data_lines_reads(texts: list[str]) -> None:
    """A JSON payload survives writing and reading, whatever the text: JSON leaves no line end in it."""
    reader = DataLines()
    written = b"".join(data_line({"text": text}) for text in texts if text < "\ud800")
    assert len(reader.feed(written)) == len([text for text in texts if text < "\ud800"])


LINES = st.sampled_from(
    [
        *(b"data: x\n\n", b"data: \n\n", b"data:x\n\n", b"data: x\n", b"\n", b": no\n\n", b"data: y\ndata: z\n\n", b"\r\n"),
        *(b"event: x\ndata: x\n\n", b"event: x\nid: data: 1\ndata: y\nretry: 1\n\n", b"event:\n\n", b"event: x\ndata:x\n\n"),
    ]
)


@given(st.lists(LINES, max_size=6).map(b"".join))
def test_whole_events_are_read_as_their_bytes_are(body: bytes) -> None:
    """A read of whole events is cut another way than others, and gives the same."""
    whole, bytewise = DataLines(), DataLines()
    by_byte = [payload for place in range(len(body)) for payload in bytewise.feed(body[place : place + 1])]
    assert whole.feed(body) + whole.end() == by_byte + bytewise.end()


@given(st.lists(st.text()))
def test_cumulative_gives_each_letter_once(pieces: list[str]) -> None:
    """The new parts join to the whole."""
    whole, seen = "", Cumulative()
    for piece in pieces:
        whole += piece
        assert seen.take(whole) == piece
    assert seen.whole == whole


def test_cumulative_refuses_a_rewritten_past() -> None:
    """Text that was handed over cannot be taken back: a change of it is an error and not a silent mend."""
    seen = Cumulative()
    seen.take("abc")
    with pytest.raises(ValueError, match="changed"):
        seen.take("abd and more")
