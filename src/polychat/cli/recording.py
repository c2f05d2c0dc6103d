"""Records of conversations: the earlier messages of one that goes on, and what is kept of a new exchange."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..client import Reply, Stream
from ..errors import NotReady
from ..types import ChatMessage, ReasoningPart
from . import complain
from .printing import checked

if TYPE_CHECKING:
    from ..state.conversations import LogEntry


@dataclass(frozen=True, slots=True)
class Earlier:
    """The conversation that an ask goes on with; by default none."""

    id: str | None = None
    model: str | None = None
    system: str | None = None
    messages: list[ChatMessage] = field(default_factory=list)


def earlier_of(arguments: argparse.Namespace) -> Earlier:
    """The conversation of ``-c`` or ``--conversation``. Raises ``BadInput`` where there is none, and ``NotReady``."""
    if not arguments.continues and arguments.conversation is None:
        return Earlier()
    from ..state.conversations import Conversations  # it loads sqlite3

    conversations = Conversations()
    name = conversations.found(arguments.conversation)
    exchanges = conversations.exchanges(name)
    latest = exchanges[-1]
    return Earlier(name, latest.model, latest.system, [message for one in exchanges for message in messages_in(one)])


def messages_in(exchange: LogEntry) -> list[ChatMessage]:
    """The messages of an exchange that was kept."""
    from ..wire.json_text import decoded
    from ..wire.openai_chat import read_messages

    return read_messages(decoded(exchange.messages.encode()))


def keep(earlier: Earlier, model: str, system: str | None, prompt: str, messages: Sequence[ChatMessage], reply: Stream) -> None:
    """Keep an exchange; ``messages`` are those before the reply. What cannot be kept is reported in one line."""
    from ..state.conversations import Conversations  # it loads sqlite3

    whole, _ = checked(reply)
    try:
        Conversations().add(entry_of(model, system, prompt, messages, whole), earlier.id)
    except NotReady as error:
        complain(f"this conversation is not kept: {error}", "warning")


def entry_of(model: str, system: str | None, prompt: str, messages: Sequence[ChatMessage], whole: Reply) -> LogEntry:
    """What is kept of an exchange; ``messages`` are those before the reply."""
    from ..state.conversations import LogEntry
    from ..wire.json_text import encoded
    from ..wire.openai_chat.message_writer import messages_of

    answer = whole.turn()
    # Reasoning is not sent back, and with its signatures it can be longer than the answer.
    answer.parts = [part for part in answer.parts if not isinstance(part, ReasoningPart)]
    written = encoded(messages_of([*messages, answer], "", native=True)).decode()
    usage = whole.usage
    tokens = (None, None) if usage is None else (usage.prompt_tokens, usage.completion_tokens)
    return LogEntry(time.time(), model, system, prompt, whole.text, whole.verdict, written, *tokens, cost=whole.cost)
