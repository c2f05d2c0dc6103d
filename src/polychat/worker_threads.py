"""Work that would hold the event loop for too long, done in one of its threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(function: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R:
    """The result of ``function``, as ``asyncio.to_thread`` returns it, but the thread keeps neither arguments nor result.

    After it has handed over a result, a thread of the pool refers to it until the system lets the thread run again, which
    on a busy machine is much later. Of a large body that is one more copy.
    """
    calls = [partial(function, *arguments, **keywords)]
    results: list[R] = []
    del arguments, keywords

    def run() -> None:
        results.append(calls.pop()())

    await asyncio.to_thread(run)
    return results.pop()
