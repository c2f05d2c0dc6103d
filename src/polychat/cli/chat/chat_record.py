"""The record of a chat among the conversations of ``polychat log``: each exchange when its reply has ended.

A branch that a retry, an edit or an undo began is a conversation of its own, with the exchanges before it.
"""

from __future__ import annotations

from ...state.conversations import Conversations
from ..recording import entry_of
from .conversation import Turn


class ChatRecord:
    """What is kept of one chat. ``conversation`` is the id of one that goes on."""

    def __init__(self, conversations: Conversations, conversation: str | None = None) -> None:
        self._conversations = conversations
        self._id = conversation
        self._earlier = [] if conversation is None else conversations.exchanges(conversation)
        """What comes before the first exchange of this chat, in each of its branches."""
        self._kept: list[Turn] = []
        """The exchanges of this chat that the conversation has."""

    def add(self, turn: Turn, system: str | None) -> None:
        """Keep an exchange. Raises ``NotReady``."""
        path = turn.path()
        if path[:-1] != self._kept:
            self._id, self._kept = None, []
            for entry in self._earlier:
                self._id = self._conversations.add(entry, self._id)
        for each in path[len(self._kept) :]:
            if each.reply is not None and (each.reply.text or not each.rounds):
                entry = entry_of(each.model, system, each.text, each.messages(), each.reply)
                self._id = self._conversations.add(entry, self._id)
        self._kept = path
