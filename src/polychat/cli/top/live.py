"""``polychat top`` at a terminal: keys, and a screen that is drawn again where it changed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from .. import ANSWERED, FAILED, INTERRUPTED
from .screen import PANES, ScreenView, columns_of, rows_of, screen
from .watching import Watcher

_COST = 10
"""How many times as long as the gateway took to answer it is left alone."""
_LONGEST = 100
"""Letters of a filter."""
_STYLE = Style.from_dict(
    {
        "title": "bold",
        "heading": "bold",
        "good": "ansigreen",
        "warning": "ansiyellow",
        "bad": "ansired bold",
        "dim": "ansibrightblack",
        "pane": "ansibrightblack",
        "focus": "ansicyan bold",
        "keys": "reverse",
    }
)


async def watched(watcher: Watcher, interval: float) -> int:
    """Show the gateway until the person leaves; the terminal is as before then. Gives the exit code."""
    view = ScreenView()
    application = _application(watcher, view)
    reading = asyncio.ensure_future(_reading(watcher, view, application, interval))
    reading.add_done_callback(lambda _: _leave(application, FAILED))  # a defect: it is raised below
    try:
        with _ended_by_signal(application):
            return await application.run_async()
    except EOFError:  # the terminal is gone
        return FAILED
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading


async def _reading(watcher: Watcher, view: ScreenView, application: Application[int], interval: float) -> None:
    while True:
        took = 0.0
        if not view.is_paused:
            took = await watcher.look(view.text)
            application.invalidate()
        await asyncio.sleep(max(interval, _COST * took))


def _leave(application: Application[int], code: int) -> None:
    if application.is_running and application.future is not None and not application.future.done():
        application.exit(result=code)


@contextmanager
def _ended_by_signal(application: Application[int]) -> Generator[None]:
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGTERM, _leave, application, 128 + signal.SIGTERM)
    except (NotImplementedError, RuntimeError):  # Windows; a loop in another thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _application(watcher: Watcher, view: ScreenView) -> Application[int]:
    def text() -> StyleAndTextTuples:
        size = application.output.get_size()
        lines = screen(watcher.seen, view, monotonic(), f"{datetime.now(UTC):%H:%M:%S} UTC", size.columns, size.rows)
        pieces: StyleAndTextTuples = []
        for number, line in enumerate(lines):
            if number:
                pieces.append(("", "\n"))
            pieces += [(f"class:{style}" if style else "", piece) for style, piece in line]
        return pieces

    application: Application[int] = Application(
        layout=Layout(Window(FormattedTextControl(text, focusable=True, show_cursor=False), always_hide_cursor=True)),
        key_bindings=_keys(watcher, view),
        style=_STYLE,
        full_screen=True,
        refresh_interval=1.0,  # ages and the clock
        color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
    )
    return application


def _keys(watcher: Watcher, view: ScreenView) -> KeyBindings:
    keys = KeyBindings()
    is_typing = Condition(lambda: view.is_typing)

    def leave(code: int) -> Any:
        return lambda event: event.app.exit(result=code)

    keys.add("q", filter=~is_typing)(leave(ANSWERED))
    keys.add("c-c")(leave(INTERRUPTED))
    keys.add("<sigint>")(leave(INTERRUPTED))

    @keys.add("c-z", filter=~is_typing)
    def suspend(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    _choices(keys, view, ~is_typing)
    _moves(keys, watcher, view, ~is_typing)
    _typing(keys, view, is_typing)
    return keys


def _choices(keys: KeyBindings, view: ScreenView, when: Any) -> None:
    @keys.add("p", filter=when)
    def pause(event: KeyPressEvent) -> None:
        view.is_paused = not view.is_paused

    @keys.add("s", filter=when)
    def sort(event: KeyPressEvent) -> None:
        pane = view.panes[view.focus]
        pane.sort = (pane.sort + 1) % columns_of(view.focus)

    @keys.add("r", filter=when)
    def reverse(event: KeyPressEvent) -> None:
        pane = view.panes[view.focus]
        pane.is_reversed = not pane.is_reversed

    @keys.add("tab", filter=when)
    def focus(event: KeyPressEvent) -> None:
        view.focus = PANES[(PANES.index(view.focus) + 1) % len(PANES)]

    @keys.add("h", filter=when)
    @keys.add("?", filter=when)
    def about(event: KeyPressEvent) -> None:
        view.is_help = not view.is_help


def _moves(keys: KeyBindings, watcher: Watcher, view: ScreenView, when: Any) -> None:
    def move(*names: str, by: int) -> None:
        def moved(event: KeyPressEvent) -> None:
            pane = view.panes[view.focus]
            pane.top = max(0, min(pane.top + by, rows_of(watcher.seen, view, view.focus) - 1))

        for name in names:
            keys.add(name, filter=when)(moved)

    move("up", "k", by=-1)
    move("down", "j", by=1)
    move("pageup", by=-10)
    move("pagedown", by=10)
    move("home", by=-(10**9))
    move("end", by=10**9)


def _typing(keys: KeyBindings, view: ScreenView, is_typing: Any) -> None:
    @keys.add("/", filter=~is_typing)
    def begin(event: KeyPressEvent) -> None:
        view.is_typing, view.is_help = True, False

    @keys.add("<any>", filter=is_typing)
    def letter(event: KeyPressEvent) -> None:
        if event.data.isprintable():
            view.text = f"{view.text}{event.data}"[:_LONGEST]

    @keys.add("backspace", filter=is_typing)
    def back(event: KeyPressEvent) -> None:
        view.text = view.text[:-1]

    @keys.add("enter", filter=is_typing)
    def keep(event: KeyPressEvent) -> None:
        view.is_typing = False

    @keys.add("escape", eager=True)
    def remove(event: KeyPressEvent) -> None:
        view.text, view.is_typing, view.is_help = "", False, False
