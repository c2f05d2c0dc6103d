"""Work that would hold the event loop for too long, done in threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_STORE_THREADS = 4


async def in_thread(function: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R:
    """The result of ``function``, as ``asyncio.to_thread`` returns it, but the thread keeps neither arguments nor result.

    After it has handed over a result, a thread of the pool refers to it until the system lets the thread run again, which
    on a busy machine is much later. Of a large body that is one more copy.
    """
    calls = [partial(function, *arguments, **keywords)]
    del arguments, keywords
    return await _run(None, calls)


async def in_store_thread(function: Callable[P, R], *arguments: P.args, **keywords: P.kwargs) -> R:
    """``in_thread`` for a ``function`` that waits for a database or another store.

    These calls have a few threads of their own. The event loop's look up the names of hosts too: a store that hangs must not
    hold up requests that do not need it.
    """
    calls = [partial(function, *arguments, **keywords)]
    del arguments, keywords
    return await _run(_store_threads(), calls)


async def _run(threads: Executor | None, calls: list[partial[R]]) -> R:
    """The result of the only one of ``calls``, which is taken out of the list."""
    results: list[R] = []

    def run() -> None:
        results.append(calls.pop()())

    await asyncio.get_running_loop().run_in_executor(threads, contextvars.copy_context().run, run)
    return results.pop()


@cache
def _store_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_STORE_THREADS, "polychat-store")
