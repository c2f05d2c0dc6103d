"""A reply on the terminal while it arrives: finished blocks are drawn once, the last one again when it has grown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, ClassVar, TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import Heading, Markdown, MarkdownElement
from rich.text import Text as StyledText

from ...client import Stream
from ...events import Event, Reasoning, Text
from ..printing import printable
from .live_lines import STYLES, LiveLines
from .markdown_blocks import MarkdownBlocks

_EVERY = 0.08
"""Seconds between two drawings: faster is not seen, and costs."""
_WIDEST = 120
_THEME = "ansi_dark"
"""Of code: the terminal's own colours."""


class ReplyView:
    """Draws one reply on ``console``."""

    def __init__(self, console: Console, *, shows_reasoning: bool = False) -> None:
        self._console = console
        self._live = LiveLines(_file_of(console))
        self._blocks, self._reasoning = MarkdownBlocks(), MarkdownBlocks()
        self._shows_reasoning = shows_reasoning
        self._width = 0
        self._begin = monotonic()
        self._thought: float | None = None
        """When the last reasoning arrived, until that is told."""
        self._tokens = 0
        self._is_changed = True

    async def show(self, reply: Stream[Any]) -> None:
        """Read the reply to its end. Raises what the stream raises; what arrived before is drawn."""
        drawing = asyncio.create_task(self._draw_often())
        try:
            async for events in reply.events():
                self.take(events)
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing
            self.finish()

    def take(self, events: Sequence[Event]) -> None:
        """What one read brought."""
        for event in events:
            if isinstance(event, Text) and not event.choice:
                self._end_reasoning()
                self._print(self._blocks.feed(printable(event.text)))
                self._is_changed = True
            elif isinstance(event, Reasoning) and event.text:
                self._thought = monotonic()
                self._tokens += 1
                if self._shows_reasoning:
                    self._print(self._reasoning.feed(printable(event.text)), style="dim")
                self._is_changed = True

    def draw(self) -> None:
        """Draw the last block as it is now."""
        width = self._console.size.width
        if not self._is_changed and width == self._width:
            return
        self._is_changed, self._width = False, width
        self._redraw(self._lines(self._open()))

    def finish(self) -> None:
        """Nothing follows."""
        self._end_reasoning()
        self._print(self._blocks.end())
        self._redraw([])

    async def _draw_often(self) -> None:
        while True:
            self.draw()
            await asyncio.sleep(_EVERY)

    def _open(self) -> RenderableType:
        if text := self._blocks.open:
            return _markdown(text)
        if self._thought is not None and (text := self._reasoning.open):
            return StyledText(text, style="dim")
        seconds = monotonic() - self._begin
        self._is_changed = True
        doing = f"thinking, {self._tokens} pieces" if self._thought is not None else "waiting"
        return StyledText(f"({doing}, {seconds:.0f} s; Ctrl-C stops)", style="dim")

    def _end_reasoning(self) -> None:
        if self._thought is None:
            return
        seconds, self._thought = self._thought - self._begin, None
        if self._shows_reasoning:
            self._print(self._reasoning.end(), style="dim")
        else:
            self._put([*self._lines(StyledText(f"(thought for {seconds:.1f} s: /reasoning shows it)", style="dim")), ""])

    def _print(self, blocks: Sequence[str], style: str = "") -> None:
        """Finished blocks, each with an empty line below."""
        for block in blocks:
            self._put([*self._lines(StyledText(block, style=style) if style else _markdown(block)), ""])

    def _put(self, lines: list[str]) -> None:
        self._redraw(lines)
        self._live.keep()

    def _redraw(self, lines: list[str]) -> None:
        size = self._console.size
        self._live.draw(lines, size.height, size.width)

    def _lines(self, shown: RenderableType) -> list[str]:
        width = min(self._console.size.width, _WIDEST)
        with self._console.capture() as capture:
            self._console.print(shown, width=width)
        lines = [line.rstrip(" ") for line in capture.get().split("\n")]  # a narrower terminal would wrap the blanks
        drawn = [number for number, line in enumerate(lines) if STYLES.sub("", line).strip()]
        return lines[drawn[0] : drawn[-1] + 1] if drawn else [""]


class _LeftHeading(Heading):
    """A heading at the left, as people read it in a terminal."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Reply(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _LeftHeading}


def _markdown(text: str) -> Markdown:
    return _Reply(text, code_theme=_THEME, hyperlinks=False)


def _file_of(console: Console) -> TextIO:
    file: Any = console.file
    return file  # type: ignore[no-any-return]
