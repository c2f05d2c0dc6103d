"""Requests that differ only in their prompt: the body around it is written once and used for all.

The wire's own writer writes a request whose only user message is ``STAND_IN``. If that text is in the body exactly once,
and nothing of the request is lost, the body with another text in its place is what the writer returns for that text;
``tests/backends/test_compiled.py`` tests that for every wire and vendor.
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
    """The body of a request before and after its prompt, and its path."""

    __slots__ = ("_after", "_before", "new_reader", "path", "ready", "streamed", "whole")

    def __init__(self, before: bytes, after: bytes, path: str, *, streamed: bool) -> None:
        self._before, self._after, self.path, self.streamed = before, after, path, streamed
        self.ready: ReadyRequest | None = None
        """The prepared request, by the options of its calls, which are always the same."""
        self.new_reader: Callable[[], Reader]
        self.whole: Callable[[bytes], list[Event]]
        """The readers of its replies, streamed and whole. Its backend sets them."""

    def body(self, prompt: str) -> bytes | None:
        """The body with this prompt; ``None`` for one that the wire's writer treats differently: a blank prompt, and one that
        UTF-8 cannot contain.
        """
        if not prompt or prompt.isspace():
            return None
        try:
            return b"%b%b%b" % (self._before, encoded(prompt), self._after)
        except ValueError:
            return None


def compiled(body: bytes, path: str, *, streamed: bool) -> CompiledRequest | None:
    """``None`` unless ``body`` contains ``STAND_IN`` exactly once, as a text of its own."""
    before, found, after = body.partition(encoded(STAND_IN))
    if not found or STAND_IN.encode() in before or STAND_IN.encode() in after:
        return None
    return CompiledRequest(before, after, path, streamed=streamed)


def is_compilable(request: ChatRequest) -> bool:
    """Whether it is one prompt, maybe after system messages, without anything that a writer examines in a prompt."""
    messages = request.messages
    return (
        bool(messages)
        and messages[-1].role == "user"
        and [type(part) for part in messages[-1].parts] == [TextPart]
        and all(message.role == "system" for message in messages[:-1])
        and not (request.tools or request.extra)
    )
