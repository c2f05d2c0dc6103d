"""What of a chat counts when its target is chosen, read from the body as it came: where it passes, nobody else reads it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from ...errors import BadInput
from ...routing.traits import BEFORE_USER, Traits, key_of, needs_of
from ...wire.estimating import BYTES_A_TOKEN
from ..context import RequestContext
from ..dialects.dialect import InboundChat, value_of

SESSIONS = (b"x-session-id", b"x-session-affinity")
"""Headers by which clients name the conversation that a request belongs to; the first that is there counts."""
_NAMES = ("prompt_cache_key", "session_id")
"""Fields of a body that do: OpenAI's and OpenRouter's."""
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
_TURNS = ("messages", "input", "contents", "prompt")
"""Where the wires have the system's message, and the turns."""


class _Turn(msgspec.Struct):
    role: Any = None


_EACH = msgspec.json.Decoder(list[msgspec.Raw])
_ROLE = msgspec.json.Decoder(_Turn)


class ChatTraits(Traits):
    """Of one chat. Nothing is read before it is asked for."""

    def __init__(self, context: RequestContext, inbound: InboundChat) -> None:
        self._context, self._inbound = context, inbound

    @cached_property
    def affinity(self) -> int | None:
        headers, fields = self._context.headers, self._inbound.fields
        for header in SESSIONS:
            if value := headers.get(header):
                return key_of(value)
        for name in _NAMES:
            if name in fields and isinstance(value := value_of(fields, name), str) and value:
                return key_of(value.encode("utf-8", "replace"))
        beginning = [*(bytes(fields[name]) for name in _SYSTEM if name in fields), *self._first_turns()]
        if (aside := self._inbound.placeholders) is not None:
            beginning = [aside.without_marks(piece) for piece in beginning]
        return key_of(*beginning) if beginning else None

    @cached_property
    def prompt_tokens(self) -> int:
        """By the length of the body without its media."""
        aside = self._inbound.placeholders
        return (len(self._inbound.body) + (0 if aside is None else aside.text_size)) // BYTES_A_TOKEN

    @cached_property
    def needs(self) -> frozenset[str]:
        try:
            return needs_of(self._inbound.request())
        except BadInput:  # whoever answers says what is wrong
            return frozenset()

    def _first_turns(self) -> Iterator[bytes]:
        """The turns up to the user's first, in JSON."""
        fields = self._inbound.fields
        turns = next((bytes(fields[name]) for name in _TURNS if name in fields), b"")
        if turns[:1] != b"[":
            if turns:
                yield turns
            return
        for turn in _EACH.decode(turns):
            yield bytes(turn)
            try:
                if _ROLE.decode(turn).role not in BEFORE_USER:
                    return
            except msgspec.DecodeError:
                return
