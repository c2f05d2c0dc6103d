"""Continues a reply that is cut off after its first text with another target's, where the rules allow it.

The other target gets the conversation and the text so far: as the beginning of its own answer where it takes one, else as the
answer that was cut off, with a request to continue. What it repeats of the text is left out at the seam. This is for plain
text only: replies with tools, schemas, reasoning or several answers, which a seam could spoil, stay cut off.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from msgspec.structs import replace as replace_fields

from ..errors import PolychatError
from ..events import Citation, Event, Finish, Start, Text, Usage
from ..types import ChatMessage, ChatRequest, TextPart
from ..wire.estimating import BYTES_A_TOKEN, estimated_prompt, size_of
from ..wire.reading import finish_of, truncated
from .policy import attribution_of

LONGEST = 64 * 1024
"""Characters after which a reply that is cut off stays so."""
GO_ON = (
    "Your last message was cut off. Continue it exactly where it ends, with the very next character. Repeat nothing of it, and "
    "say nothing about this."
)
_CHANCE = 4
"""Characters that two texts may have in common by chance, within a word."""
_SEED = 16
"""Characters of a second part by which the places are found that it may repeat from."""
_MOST = 64
"""Such places, counted from the end."""


Price: TypeAlias = Callable[[Usage], float | None]
"""US dollars; ``None`` where that is not known."""


class Part(NamedTuple):
    """The answer to a request for continuation, which has begun."""

    first: list[Event]
    batches: AsyncGenerator[list[Event], None]


def can_continue(request: ChatRequest) -> bool:
    """Whether the answer to it is plain text, as far as the request shows."""
    return not (
        request.tools or request.format or request.reasoning or request.logprobs is not None or (request.n or 1) > 1
    ) and bool(request.messages)


def continuation_of(request: ChatRequest, text: str, *, continues: bool) -> ChatRequest:
    """The request for the text after ``text``; ``continues``: the target continues an assistant's last message."""
    beginning = ChatMessage("assistant", [TextPart(text.rstrip())])
    turns = [*request.messages, beginning]
    if not continues:
        turns.append(ChatMessage("user", [TextPart(GO_ON)]))
    most = request.max_tokens
    if most is not None:
        most = max(1, most - size_of(text) // BYTES_A_TOKEN)
    return replace(request, messages=turns, max_tokens=most)


class Seam:
    """Where the second part meets ``text``: holds back what may be a repetition, and leaves it out.

    The time it takes is linear in both, whatever they are: the places where a repetition may begin are few.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._held: list[str] = []
        self._size = 0
        self._places: list[int] | None = None
        """Positions in the text where all that is held may be; ``None`` while less is held than is searched for at once."""
        self._is_over = False
        self._blanks = len(text) - len(text.rstrip())
        """Blanks at the end of the text, which the second part may begin with again."""
        self._is_blank = True
        """Whether all that is held is blank."""

    def feed(self, piece: str) -> str:
        """What of the second part is new, as far as that can be known."""
        if self._is_over:
            return piece
        self._held.append(piece)
        return "" if self._may_repeat(piece) else self.end()

    def end(self) -> str:
        """What was held, less what it repeats."""
        held, self._held, self._is_over = "".join(self._held), [], True
        return held[overlap(self._text, held) :]

    def _may_repeat(self, piece: str) -> bool:
        """Whether more of the second part could make it a longer repetition."""
        before, self._size = self._size, self._size + len(piece)
        if self._size >= len(self._text):
            return False
        self._is_blank = self._is_blank and not piece.strip()
        if self._is_blank and self._size < self._blanks:
            return True
        if self._places is not None:
            self._places = [place for place in self._places if self._text.startswith(piece, place + before)]
        elif self._size < _SEED:
            return "".join(self._held) in self._text
        else:
            held = "".join(self._held)
            self._places = [place for place in _places(self._text, held[:_SEED]) if self._text.startswith(held, place)]
        return bool(self._places)


def overlap(text: str, more: str) -> int:
    """How many characters ``more`` begins with that ``text`` ends with, and that are no chance."""
    for place in _places(text, more[:_SEED]) if len(more) >= _SEED else ():
        if more.startswith(text[place:]) and _is_repeated(text, text[place:]):
            return len(text) - place
    for size in range(min(len(text), len(more), _SEED), 0, -1):
        if text.endswith(more[:size]) and _is_repeated(text, more[:size]):
            return size
    # A target that goes on with a beginning is given it without the blanks at its end, and may say them again.
    blanks = len(text) - len(text.rstrip())
    return min(blanks, len(more) - len(more.lstrip()))


def _places(text: str, seed: str) -> list[int]:
    """The positions of ``seed`` in ``text`` in ascending order: the beginning, and the last ``_MOST`` ones.

    Targets begin anew or repeat their last words; text in which those occur more often is not searched further.
    """
    places: list[int] = []
    end = len(text)
    while len(places) < _MOST and (place := text.rfind(seed, 0, end)) >= 0:
        places.append(place)
        end = place + len(seed) - 1
    if places and places[-1] and text.startswith(seed):
        places.append(0)
    return places[::-1]


def _is_repeated(text: str, common: str) -> bool:
    before = text[: len(text) - len(common)]
    return common.isspace() or len(common) > _CHANCE or not before or before[-1].isspace()


class Transcript:
    """What has arrived of a reply so far: its text, and the usage of its parts.

    Each part has its own target, and so its own price, which is not known of the usage of all: that has the cost of all.
    """

    def __init__(self, request: ChatRequest, price: Price) -> None:
        self._request, self._price = request, price
        self._pieces: list[str] = []
        self._size = self._begun = 0
        self._is_plain = True
        self._used: list[Usage] = []
        self._usage: Usage | None = None

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def take(self, events: list[Event]) -> None:
        """Note what has gone to the client."""
        for event in events:
            if type(event) is Text and event.choice == 0:
                self._pieces.append(event.text)
                self._size += len(event.text)
            elif type(event) is Usage:
                self._usage = event
            elif not isinstance(event, (Start, Finish, Citation)):
                self._is_plain = False

    def can_continue(self, error: PolychatError) -> bool:
        """Whether another target may continue the reply after this failure."""
        return self._is_plain and 0 < self._size <= LONGEST and attribution_of(error) == "transient"

    def part(self) -> Usage:
        """The usage of the part at hand, and what it costs; what no backend counted is estimated."""
        usage = self._usage or self._estimated()
        return usage if usage.cost is not None else replace_fields(usage, cost=self._price(usage))

    def part_is_over(self, used: Usage, request: ChatRequest) -> None:
        """The next part answers ``request``."""
        self._used.append(used)
        self._request, self._usage, self._begun = request, None, len(self._pieces)

    def _estimated(self) -> Usage:
        prompt = estimated_prompt(self._request)
        answer = -(-size_of("".join(self._pieces[self._begun :])) // BYTES_A_TOKEN)
        return Usage(prompt, answer, prompt + answer, estimated=True)

    def usage(self, last: Usage | None = None) -> Usage | None:
        """The usage of all parts; ``None`` where there is one part, which has its own. ``last``: of the last one."""
        if not self._used:
            return None
        return added([*self._used, last or self.part()])


_COUNTS = (
    "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens",
    "cache_write_1h_tokens",
)  # fmt: skip


def added(usages: list[Usage]) -> Usage:
    """What all of them took together; the cost is unknown where that of one is."""
    counts: dict[str, Any] = {}
    for name in _COUNTS:
        known = [count for usage in usages if (count := getattr(usage, name)) is not None]
        counts[name] = sum(known) if known else None
    costs = [usage.cost for usage in usages]
    cost = None if None in costs else sum(cost for cost in costs if cost is not None)
    return Usage(**counts, cost=cost, estimated=any(usage.estimated for usage in usages))


async def continued(
    first: list[Event],
    batches: AsyncGenerator[list[Event], None],
    request: ChatRequest,
    again: Callable[[PolychatError, str], Awaitable[Part]],
    price: Price = lambda _: None,
) -> AsyncGenerator[list[Event], None]:
    """The batches after ``first``, and where they are cut off those of other targets.

    A failure that ``first`` ends with is not to be given to the client before: this gives it, or what takes its place.
    ``again`` gives the next part of a reply that failed with this error after this text, or raises ``PolychatError``. ``price``
    tells what the part at hand costs, before another is asked for.
    """
    transcript = Transcript(request, price)
    error = _failure(first)
    transcript.take(first)
    while True:
        async with aclosing(batches):
            if error is None:
                async for batch in _until_cut(batches):
                    error = _failure(batch)
                    transcript.take(batch)
                    if error is None and type(batch[-1]) is Finish:
                        batch = _with_usage(batch, transcript.usage())  # noqa: PLW2901  # the same batch
                    shown = batch if error is None else batch[:-1]
                    if shown:
                        yield shown
        if error is None:
            return
        used = transcript.part()
        part = await _next_part(again, error, transcript)
        if part is None:
            yield _with_usage([finish_of(error)], transcript.usage(used))
            return
        transcript.part_is_over(used, continuation_of(request, transcript.text, continues=True))
        batches, error = _joined(part, Seam(transcript.text)), None


async def _next_part(
    again: Callable[[PolychatError, str], Awaitable[Part]], error: PolychatError, transcript: Transcript
) -> Part | None:
    """What goes on where the reply broke off with ``error``; ``None`` if nothing can, or no target does."""
    if not transcript.can_continue(error):
        return None
    try:
        return await again(error, transcript.text)
    except PolychatError:
        return None


async def _until_cut(batches: AsyncGenerator[list[Event], None]) -> AsyncGenerator[list[Event], None]:
    """The batches; the last one has the end, whatever it is."""
    try:
        async for batch in batches:
            if batch:
                yield batch
                if type(batch[-1]) is Finish:
                    return
    except PolychatError as error:
        yield [finish_of(error)]
        return
    yield [truncated("the backend's events ended without a finish")]


async def _joined(part: Part, seam: Seam) -> AsyncGenerator[list[Event], None]:
    """The second part without its beginning, and without what it repeats."""
    async with aclosing(part.batches):
        yield _joined_batch(part.first, seam)
        async for batch in part.batches:
            yield _joined_batch(batch, seam)


def _joined_batch(batch: list[Event], seam: Seam) -> list[Event]:
    events: list[Event] = []
    for event in batch:
        if type(event) is Text and event.choice == 0:
            if text := seam.feed(event.text):
                events.append(Text(text))
        elif type(event) is Usage or type(event) is Finish:
            if text := seam.end():
                events.append(Text(text))
            events.append(event)
        # The beginning of the reply is the first part's, and reasoning about the continuation is omitted.
    return events


def _failure(batch: list[Event]) -> PolychatError | None:
    last = batch[-1] if batch else None
    return last.error if type(last) is Finish else None


def _with_usage(batch: list[Event], usage: Usage | None) -> list[Event]:
    """The end of a reply of several parts with what all of them took."""
    if usage is None:
        return batch
    return [*(event for event in batch[:-1] if type(event) is not Usage), usage, batch[-1]]
