"""Requests that differ in one text alone: what was written once around it serves for every other one.

The wire's own writer writes a request whose only user message is ``STAND_IN``. Where that text is in the body exactly once,
and nothing of the request is lost on its way, the body with another text in its place is what the writer gives for that text;
``tests/backends/test_compiled.py`` holds that for every wire and vendor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..types import ChatRequest, TextPart
from ..wire.json_text import encoded

if TYPE_CHECKING:
    from ..events import Event
    from ..wire.contract import Reader
    from .ready import ReadyRequest

STAND_IN = "What stands here is replaced by the prompt (f3b1c9a07d5e)."


class CompiledRequest:
    """The body of a request before and after its prompt, and the path it goes to."""

    __slots__ = ("_after", "_before", "new_reader", "path", "ready", "streamed", "whole")

    def __init__(self, before: bytes, after: bytes, path: str, *, streamed: bool) -> None:
        self._before, self._after, self.path, self.streamed = before, after, path, streamed
        self.ready: ReadyRequest | None = None
        """Where it goes, and how, by the options of its calls, which are always the same."""
        self.new_reader: Callable[[], Reader]
        self.whole: Callable[[bytes], list[Event]]
        """What read its replies: those that are streamed, and those that come whole. Its backend sets them."""

    def body(self, prompt: str) -> bytes | None:
        """The body with this prompt; ``None`` for one that the wire's writer treats otherwise: a blank one, which it leaves

        out or refuses, and one that UTF-8 cannot carry.
        """
        if not prompt or prompt.isspace():
            return None
        try:
            return b"%b%b%b" % (self._before, encoded(prompt), self._after)
        except ValueError:
            return None


def compiled(body: bytes, path: str, *, streamed: bool) -> CompiledRequest | None:
    """``None`` where ``body`` does not contain ``STAND_IN`` by itself and once."""
    before, found, after = body.partition(encoded(STAND_IN))
    if not found or STAND_IN.encode() in before or STAND_IN.encode() in after:
        return None
    return CompiledRequest(before, after, path, streamed=streamed)


def is_compilable(request: ChatRequest) -> bool:
    """Whether it is one prompt, maybe after system messages, without anything that a writer may look for in a prompt."""
    messages = request.messages
    return (
        bool(messages)
        and messages[-1].role == "user"
        and [type(part) for part in messages[-1].parts] == [TextPart]
        and all(message.role == "system" for message in messages[:-1])
        and not (request.tools or request.extra)
    )
