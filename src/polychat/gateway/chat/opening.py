"""Opens the body of a chat before a dialect reads it: a large one in a thread, so that other requests are served meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...worker_threads import in_thread
from ..context import RequestContext
from ..dialects.bodies import open_body

LARGE = 1024 * 1024
"""Bytes of a body above which it is read and written in a thread."""


def needs_opening(context: RequestContext) -> bool:
    """Whether the body is large, and not open yet."""
    return len(context.body) > LARGE and context.opened is None


async def after_opening(context: RequestContext, answer: Callable[[RequestContext], Awaitable[None]]) -> None:
    """``answer``, once the body is open. Raises ``BadInput`` as ``open_body``."""
    context.opened = await in_thread(open_body, context.body, context.runtime.limits)
    await answer(context)
