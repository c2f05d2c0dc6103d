"""The sources of a reply by caller: each task, or thread outside any loop, reads those of its own latest call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from ..events import Citation, Event
from ..types import AsyncResult


@dataclass(slots=True)
class CallSources:
    """One call, and the sources of its answer once they are known; none until then, and none if it fails."""

    sources: list[Citation] = field(default_factory=list)

    def take(self, events: list[Event]) -> None:
        self.sources.extend(event for event in events if isinstance(event, Citation))


class _Callers(threading.local):
    """One thread's callers and the latest call of each. A task without a call has none, not that of its parent."""

    def __init__(self) -> None:
        self.tasks: WeakKeyDictionary[asyncio.Task[Any], CallSources] = WeakKeyDictionary()
        self.thread: CallSources | None = None


_callers = _Callers()


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None


def new_call() -> CallSources:
    """A new call, which is the running caller's latest from now on."""
    call = CallSources()
    task = _task()
    if task is None:
        _callers.thread = call
    else:
        _callers.tasks[task] = call
    return call


def latest() -> list[Citation]:
    """The sources of the running caller's latest call."""
    task = _task()
    call = _callers.thread if task is None else _callers.tasks.get(task)
    return call.sources if call is not None else []


async def with_sources(call: CallSources, answer: Callable[[], Awaitable[str]]) -> str:
    """The answer, in any task that runs this (``create_task`` makes one); ``call`` gets its sources."""
    text = await answer()
    call.sources = latest()
    return text


async def stream_with_sources(call: CallSources, pieces: AsyncResult) -> AsyncResult:
    """``with_sources`` for an answer in pieces."""
    async with aclosing(pieces):
        async for piece in pieces:
            call.sources = latest()
            yield piece
