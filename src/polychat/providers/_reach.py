"""How far a request reaches a provider that takes messages of text and options of its own: the chat sites, the embedded
model.
"""

from __future__ import annotations

from typing import Any

from ..types import ChatRequest, TextPart
from ..wire.field import KEPT, Support, SupportTable, dropped, emulated
from ..wire.fields import FIELDS, plain_fields

_TEXT_ONLY = "this service takes text only"
_BY_NAME = tuple(row.name for row in plain_fields() if row.keyword)
"""Fields of a request that a provider may accept as options of the same name."""


def support_table_of(provider: Any, options: tuple[str, ...]) -> SupportTable:
    """What happens to each field of a request, by what the provider declares and which options it has."""
    system = KEPT if provider.supports_system_message else emulated("it is sent in the prompt as a separate line")
    history = KEPT if provider.supports_message_history else emulated("earlier messages are sent in the prompt as lines")
    support_table: dict[str, Support] = {name: dropped("this service has nothing like it") for name in FIELDS}
    support_table |= {
        name: dropped(_TEXT_ONLY) for name in FIELDS if name.startswith(("parts.", "tools", "messages.tool", "format"))
    }
    support_table |= dict.fromkeys(("model", "messages.user", "parts.text", "stream", "stream_usage", "tool_choice.none"), KEPT)
    support_table |= dict.fromkeys(("tool_choice.auto", "parallel_tool_calls", "parts.image.detail", "parts.file.name"), KEPT)
    support_table |= dict.fromkeys(
        ("parts.result.error", "tools.strict", "format.strict", "cache"), KEPT
    )  # reported with the field that they belong to
    support_table |= {
        "messages.system": system,
        "messages.developer": system,
        "messages.system.late": system,
        "messages.assistant": history,
    }
    support_table["messages.assistant.last"] = emulated("it is sent as an earlier message")
    support_table["parts.reasoning"] = dropped("earlier reasoning is not sent to a chat site")
    support_table["parts.opaque.foreign"] = KEPT  # no other vendor can read it
    return support_table | {name: KEPT for name in _BY_NAME if name in options}


def messages_of(request: ChatRequest) -> list[dict[str, str]]:
    """The conversation as text messages; losses were handled before, by the caller's policy."""
    messages = []
    for message in request.messages:
        texts = [part.text for part in message.parts if isinstance(part, TextPart)]
        if texts or not message.parts:
            messages.append({"role": "system" if message.role == "developer" else message.role, "content": "".join(texts)})
    return messages


def options_from(request: ChatRequest, options: tuple[str, ...]) -> dict[str, Any]:
    """The request's fields that the provider accepts as options."""
    values = {name: getattr(request, name) for name in _BY_NAME if name in options}
    return {name: value for name, value in values.items() if value not in (None, [])}
