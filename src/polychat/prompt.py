"""A conversation as services want it: checked, and as one string where they take one."""

from __future__ import annotations

import codecs

from .errors import BadInput
from .types import Messages


def text_of(content: object, field: str) -> str:
    """The text of a message: a string, or a list of text parts. Raises ``BadInput`` naming ``field`` for other parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        raise BadInput(f"{field} is {type(content).__name__}; it must be text or a list of text parts", field=field)
    return "".join(_part(part, f"{field}[{index}]") for index, part in enumerate(content))


def _part(part: object, field: str) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
        case {"type": str(kind)}:
            raise BadInput(f"{field} is of type {kind!r}; this service accepts text only: omit it", field=field)
    raise BadInput(f"{field} is not a content part; expected {{'type': 'text', 'text': …}}", field=field)


def turns(messages: Messages) -> list[tuple[str, str]]:
    """``(role, text)`` for each message. Raises ``BadInput`` for what is no conversation, naming the place."""
    conversation: object = messages
    if isinstance(conversation, (str, bytes)) or not hasattr(conversation, "__iter__"):
        raise BadInput('messages must be a list of {"role": …, "content": …}', field="messages")
    pairs = [_pair(message, f"messages[{index}]") for index, message in enumerate(messages)]
    if not pairs:
        raise BadInput("messages is empty: add a user message", field="messages")
    return pairs


def _pair(message: object, field: str) -> tuple[str, str]:
    match message:
        case {"role": str(role), "content": content} if role.strip():
            return role, text_of(content, f"{field}.content")
    raise BadInput(f'{field} must be {{"role": …, "content": …}}, with a role that is text', field=field)


def prompt_of(messages: Messages) -> str:
    """The conversation as one string: a single message as it is, more as ``Role: content`` lines and a last ``Assistant:``."""
    pairs = turns(messages)
    if len(pairs) == 1:
        return pairs[0][1]
    lines = [f"{role.capitalize()}: {text}" for role, text in pairs]
    return "\n".join([*lines, "Assistant:"])


def decoded_text(data: bytes) -> str:
    """The text of a file or a pipe: UTF-8, or UTF-16 after a byte order mark of it. Raises ``UnicodeDecodeError``."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what Windows PowerShell's > writes
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def byte_size(text: str, field: str) -> int:
    """How many bytes ``text`` is in UTF-8; raises ``BadInput`` for half a surrogate pair, which no wire can carry."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{field} holds half a surrogate pair at character {error.start}; it is not text that can be sent", field=field
        ) from None
