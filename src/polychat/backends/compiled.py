"""Requests that differ only in their texts: the body around them is written once and used for all.

The wire's own writer writes a request whose prompt, or each message of a conversation, is a stand-in. If every stand-in is in
the body exactly once, and nothing of the request is lost, the body with other texts in their places is what the writer returns
for these; ``tests/backends/test_compiled.py`` tests that for every wire and vendor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..types import ChatRequest, TextPart
from ..wire.json_text import encoded

if TYPE_CHECKING:
    from ..events import Event
    from ..wire.contract import Reader, TextAnswer, TextStream
    from .ready import ReadyRequest

STAND_IN = "What stands here is replaced by the prompt (f3b1c9a07d5e)."
_STAND_IN = "What stands here is replaced by text {} (f3b1c9a07d5e)."


def stand_ins(count: int) -> list[str]:
    """A stand-in for each of the texts of a conversation."""
    return [_STAND_IN.format(number) for number in range(count)]


class CompiledRequest:
    """The body of a request around its texts, and its path."""

    __slots__ = (
        "_after",
        "_before",
        "_places",
        "new_reader",
        "path",
        "ready",
        "streamed",
        "text_answer",
        "text_stream",
        "usual_stream",
        "whole",
    )

    def __init__(self, pieces: Sequence[bytes], places: Sequence[int], path: str, *, streamed: bool) -> None:
        """``pieces`` of the body, each but the last followed by the text that ``places`` gives the number of."""
        *self._before, self._after = pieces
        self._places, self.path, self.streamed = places, path, streamed
        self.ready: ReadyRequest | None = None
        """The prepared request, by the options of its calls, which are always the same."""
        self.new_reader: Callable[[], Reader]
        self.whole: Callable[[bytes], list[Event]]
        """The readers of its replies, streamed and whole. Its backend sets them."""
        self.text_answer: Callable[[bytes], TextAnswer | None] | None = None
        """Reads most replies that are not streamed: see ``ReadsTextAnswers``."""
        self.text_stream: Callable[[bytes], TextStream | None] | None = None
        self.usual_stream: Callable[[bytes], list[Event] | None] | None = None
        """These read most streams that have come whole: see ``ReadsStreamsWhole``."""

    def body(self, prompt: str) -> bytes | None:
        """The body with this prompt; ``None`` for one that the wire's writer treats differently: a blank prompt, and one that
        UTF-8 cannot contain.
        """
        if not prompt or prompt.isspace():
            return None
        try:
            return b"%b%b%b" % (self._before[0], encoded(prompt), self._after)
        except ValueError:
            return None

    def body_of(self, texts: Sequence[str]) -> bytes | None:
        """The body with these texts; ``None`` for a blank one, and one that UTF-8 cannot contain."""
        if len(texts) == len(self._before) == 1:
            return self.body(texts[0])
        pieces: list[bytes] = []
        try:
            for piece, place in zip(self._before, self._places, strict=True):
                text = texts[place]
                if not text or text.isspace():
                    return None
                pieces += piece, encoded(text)
        except ValueError:
            return None
        return b"".join((*pieces, self._after))


def compiled(body: bytes, path: str, replaced: Sequence[str] = (STAND_IN,), *, streamed: bool) -> CompiledRequest | None:
    """``None`` unless ``body`` contains each of the stand-ins that are ``replaced`` exactly once, as a text of its own."""
    found = []
    for number, stand_in in enumerate(replaced):
        text = encoded(stand_in)
        place = body.find(text)
        if place < 0 or body.count(stand_in.encode()) != 1:
            return None
        found.append((place, place + len(text), number))
    found.sort()
    starts, ends = [0, *(end for _, end, _ in found)], [*(start for start, _, _ in found), len(body)]
    pieces = [body[start:end] for start, end in zip(starts, ends, strict=True)]
    return CompiledRequest(pieces, [number for _, _, number in found], path, streamed=streamed)


def is_compilable(request: ChatRequest) -> bool:
    """Whether it is a conversation of texts without anything that a writer examines in a text, and the last message asks."""
    messages = request.messages
    return (
        bool(messages)
        and messages[-1].role == "user"
        and all(message.role in _ROLES and [type(part) for part in message.parts] == [TextPart] for message in messages)
        and not (request.tools or request.extra)
    )


_ROLES = ("system", "user", "assistant")


def replaced_in(request: ChatRequest) -> list[str]:
    """The texts of a request that are stand-ins."""
    texts = [part.text for message in request.messages for part in message.parts if type(part) is TextPart]
    known = {STAND_IN, *stand_ins(len(texts))}
    return [text for text in texts if text in known]
