"""Conversations of texts alone, as the roles of their messages and the texts: calls with the same roles have much in common."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from ..types import ChatMessage, Conversation, TextPart

MAX_MESSAGES = 64
"""Longer conversations are rarely of the same length as another."""
_ROLES = frozenset(("system", "user", "assistant"))


class PlainConversation(NamedTuple):
    """Messages of one text each, the last by the user. No text is blank."""

    roles: tuple[str, ...]
    texts: tuple[str, ...]

    def messages(self) -> list[ChatMessage]:
        return [ChatMessage(role, [TextPart(text)]) for role, text in zip(self.roles, self.texts, strict=True)]  # type: ignore[arg-type]  # of ``_ROLES``


PlainPrompt: TypeAlias = str | PlainConversation


def plain_conversation(prompt: str | Conversation) -> PlainConversation | None:
    """The conversation as it is now, if it is a list of plain messages; ``None`` for any other, valid or not."""
    if type(prompt) is not list or len(prompt) > MAX_MESSAGES:
        return None
    roles, texts = [], []
    for message in prompt:
        if type(message) is dict and len(message) == 2:
            role, text = message.get("role"), message.get("content")
        elif type(message) is ChatMessage and message.name is None and message.extra is None and len(message.parts) == 1:
            role, part = message.role, message.parts[0]
            text = part.text if type(part) is TextPart and part.cache is None and part.extra is None else None
        else:
            return None
        if type(text) is not str or type(role) is not str or role not in _ROLES or not text or text.isspace():
            return None
        roles.append(role)
        texts.append(text)
    if not roles or roles[-1] != "user":
        return None
    return PlainConversation(tuple(roles), tuple(texts))
