"""An event that differs from the last in its text alone is read straight, and says what reading it as usual would say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polychat.events import Event, Text
from polychat.wire import anthropic, openai_chat
from polychat.wire.contract import Reader
from polychat.wire.framing import EVENT_END
from polychat.wire.openai_chat.passthrough import ChunkMonitor
from polychat.wire.repeats import Repeats


def chunk(content: str, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice], **more}).encode() + b"\n\n"


def delta(text: str, index: int = 0) -> bytes:
    value = {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}
    return b"event: content_block_delta\ndata: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


OPENED = {
    "openai-chat": b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
    "anthropic": b'data: {"type":"message_start","message":{"id":"m","model":"m","content":[],"usage":{}}}\n\n'
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
}
PIECE: dict[str, Callable[[str], bytes]] = {"openai-chat": chunk, "anthropic": delta}
READERS: dict[str, Callable[[], Reader]] = {"openai-chat": openai_chat.Reader, "anthropic": anthropic.Reader}
WIRES = list(PIECE)


class Watched:
    """A reader that counts what it was fed."""

    def __init__(self, reader: Any) -> None:
        self._reader, self.fed = reader, 0

    @property
    def done(self) -> bool:
        return bool(self._reader.done)

    def feed(self, data: bytes) -> list[Event]:
        self.fed += 1
        return list(self._reader.feed(data))

    def end(self) -> list[Event]:
        return list(self._reader.end())

    def text_recorder(self) -> Callable[[str], None] | None:
        note: Callable[[str], None] | None = self._reader.text_recorder()
        return note


def both(wire: str, reads: list[bytes]) -> tuple[list[list[Event]], list[list[Event]], int]:
    """What is read straight, what is read as usual, and how many reads were read as usual where they need not be."""
    watched, usual = Watched(READERS[wire]()), READERS[wire]()
    straight = Repeats(watched)
    by_text = Repeats(READERS[wire]())
    first = [straight.feed(data) for data in reads]
    texts = [by_text.text_in(data) or by_text.feed(data) for data in reads]
    assert repr([[Text(read)] if isinstance(read, str) else read for read in texts]) == repr(first)
    return [*first, straight.end()], [*(usual.feed(data) for data in reads), usual.end()], watched.fed


@pytest.mark.parametrize("wire", WIRES)
def test_the_usual_stream_is_fed_to_its_reader_twice(wire: str) -> None:
    """Its beginning and its first text; whatever the later texts say."""
    piece = PIECE[wire]
    texts = ["Hello", " you", ' "quoted"', " \\ back", "\n", "é", "ü\U0001f600", "null", "[DONE]", "data: {", '"error":']
    straight, usual, fed = both(wire, [OPENED[wire], *(piece(text) for text in texts)])
    assert repr(straight) == repr(usual)
    assert [event.text for batch in straight for event in batch if isinstance(event, Text)] == texts
    assert fed == 2


HOSTILE = [
    b"",
    b"\n\n",
    b": ping\n\n",
    b"data: [DONE]\n\n",
    b'data: {"error":{"message":"no"}}\n\n',
    b"data: {",
    b'"}\n\n',
    chunk("x", usage={"completion_tokens": 3}),
    chunk("x", id="another"),
    chunk('x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'),
    chunk("") + chunk("y"),
    delta("x", 1),
    b'data: {"type":"content_block_stop","index":0}\n\n',
    b'data: {"type":"error","error":{"type":"api_error","message":"no"}}\n\n',
]


def padded(text: str, letters: str) -> bytes:
    """As OpenAI's own: what hides the text's length is the last member, and differs each time."""
    return chunk(text).replace(b", ", b",").replace(b"}\n\n", b',"obfuscation":"%b"}\n\n' % letters.encode())


def raw(text: bytes) -> bytes:
    """A piece of OpenAI's whose text stands there as it is, valid or not."""
    return chunk("TEXT").replace(b"TEXT", text)


HOSTILE += [
    raw(text)
    for text in (b'a"b', b"a\\", b"a\nb", b"a\n\ndata: [DONE]\n\n", b"\xff", b"\\ud83d", b"\\ude00", b"\\u00zz", b"\x00")
]
HOSTILE += [
    padded("x", "aB3"),
    padded("", "q"),
    padded("y", ""),
    padded("z", '"'),
    padded("z", 'a","error":"b'),
    padded("z", "a\n\n"),
]
READS = st.one_of(st.builds(chunk, st.text(max_size=4)), st.builds(delta, st.text(max_size=4)), st.sampled_from(HOSTILE))


def test_openais_own_chunks_are_read_straight_whatever_hides_their_length() -> None:
    """Letters and digits, in the last place; another value there is looked at."""
    texts = [("Hello", "aB3"), (" you", "x"), ('"!', "Zz9")]
    straight, usual, fed = both("openai-chat", [OPENED["openai-chat"], *(padded(*text) for text in texts)])
    assert repr(straight) == repr(usual)
    assert fed == 2


def whole_events(data: bytes) -> bytes:
    """What has passed, less an event that has only begun: that may be held where chunks are read one by one."""
    return data[: max((blank.end() for blank in EVENT_END.finditer(data)), default=0)]


@pytest.mark.parametrize("begin", [[chunk("Hello"), chunk(" you")], [padded("Hello", "a"), padded(" you", "b")]])
@given(reads=st.lists(READS, max_size=8))
@example(reads=[chunk("data: [DONE]\n\n"), b"data: {"])
@settings(max_examples=200, deadline=None)
def test_what_passes_is_watched_as_if_nothing_was_known_of_it(begin: list[bytes], reads: list[bytes]) -> None:
    """The same events have passed after each read, and the same is known of them at the end."""
    quick, slow = ChunkMonitor(usage=True), ChunkMonitor(usage=True)
    slow._times_learned = 1_000
    passed = [b"", b""]
    for data in [OPENED["openai-chat"], *begin, *reads]:
        if quick.finish is None:
            passed = [before + monitor.feed(data) for before, monitor in zip(passed, (quick, slow), strict=True)]
            assert whole_events(passed[0]) == whole_events(passed[1])
    passed = [before + monitor.end() for before, monitor in zip(passed, (quick, slow), strict=True)]
    assert whole_events(passed[0]) == whole_events(passed[1])
    known = [
        (m.finish and m.finish.verdict, m.finish and m.finish.reason, m.usage, m.served, m.error_forwarded, m.has_content)
        for m in (quick, slow)
    ]
    assert known[0] == known[1]


@pytest.mark.parametrize("wire", WIRES)
@given(reads=st.lists(READS, max_size=12), cuts=st.lists(st.integers(0, 400), max_size=4))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_read_as_usual(wire: str, reads: list[bytes], cuts: list[int]) -> None:
    """Other fields, ends, errors, invalid text, other wires' events, and cuts anywhere: the same events in the same batches."""
    pieces = [OPENED[wire], PIECE[wire]("Hello"), PIECE[wire](" you"), *reads]
    for cut in cuts:
        number = cut % len(pieces)
        place = cut % (len(pieces[number]) + 1)
        pieces[number : number + 1] = [pieces[number][:place], pieces[number][place:]]
    straight, usual, _ = both(wire, pieces)
    assert repr(straight) == repr(usual)


@pytest.mark.parametrize("wire", WIRES)
@given(reads=st.lists(READS, max_size=12), cut=st.integers(0, 4000))
@settings(max_examples=200, deadline=None)
def test_many_events_in_a_read_are_read_as_usual(wire: str, reads: list[bytes], cut: int) -> None:
    """What a reader keeps of one value's surroundings changes nothing in what it says of the next."""
    body = b"".join([OPENED[wire], PIECE[wire]("Hello"), PIECE[wire](" you"), *reads])
    straight, usual = READERS[wire](), READERS[wire]()
    vars(usual)["_plain_texts"] = 1_000  # it learns no more
    for data in (body[: cut % len(body)], body[cut % len(body) :]):
        assert repr(straight.feed(data)) == repr(usual.feed(data))
    assert repr(straight.end()) == repr(usual.end())


@pytest.mark.parametrize("wire", WIRES)
def test_of_many_events_in_a_read_two_texts_are_taken(wire: str) -> None:
    """The rest differs from the second in the text alone, and is read straight."""
    reader: Any = READERS[wire]()
    taken: list[Any] = []
    take, take_usual = reader.take, reader.take_usual

    def usual(payload: bytes, events: list[Event]) -> bool:
        is_usual: bool = take_usual(payload, events)
        if is_usual:
            taken.append(payload)
        return is_usual

    reader.take_usual = usual
    reader.take = lambda value, events: (taken.append(value), take(value, events))
    reader.feed(OPENED[wire])
    opening = len(taken)
    texts = [f"{number} words" for number in range(50)]
    events = reader.feed(b"".join(PIECE[wire](text) for text in texts))
    assert [event.text for event in events] == texts
    assert len(taken) == opening + 2


def test_a_citation_after_texts_that_were_read_straight_has_its_place() -> None:
    """The reader is told of each of them: it counts the letters of the answer."""
    cited = {"type": "web_search_result_location", "url": "https://e.example", "title": "t", "cited_text": "c"}
    rest = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": cited}},
        {"type": "content_block_stop", "index": 0},
    ]
    ends = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in rest]
    straight, usual, fed = both("anthropic", [OPENED["anthropic"], *(delta(f"word {n} ") for n in range(9)), *ends])
    assert repr(straight) == repr(usual)
    assert fed == 4


def test_a_text_that_occurs_twice_in_its_event_is_no_template() -> None:
    """It cannot be told from another member of the same words, which may differ next time."""
    straight, usual, _ = both("openai-chat", [OPENED["openai-chat"], chunk("c"), chunk("c", id="other"), chunk("c")])
    assert repr(straight) == repr(usual)


def test_an_event_whose_beginning_came_before_is_no_example() -> None:
    """Nor is what looks like its second part and has no first."""
    cut = [chunk(text)[6:] for text in ("Hello", " you")]
    straight, usual, _ = both("openai-chat", [OPENED["openai-chat"], b"data: ", *cut, chunk("!")])
    assert repr(straight) == repr(usual)
