"""Traits of a chat that the choice of its target depends on, read from the body as received: if it is passed through, nothing
else reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec

from ...calls.info import CallInfo
from ...errors import BadInput, PolychatError, redact
from ...routing import Plan, Target
from ...routing.clocks import Kind, kind_of
from ...routing.traits import BEFORE_USER, Traits, key_of, needs_of, unfit_for
from ...wire.estimating import BYTES_A_TOKEN
from ...wire.faults import is_misconfiguration
from ..context import RequestContext
from ..dialects.bodies import value_of
from ..dialects.dialect import InboundChat
from .opening import LARGE
from .preferences import hosted_tools, on_loss, priority

SESSIONS = (b"x-session-id", b"x-session-affinity")
"""Headers by which clients name the conversation that a request belongs to; the first one present counts."""
TAGS = b"x-polychat-tags"
"""The header with the tags that conditions of a route compare: ``region=eu, team=search``."""
_LONGEST = 1024
_REASON = 200
_NAMES = ("prompt_cache_key", "session_id")
"""Fields of a body that name the conversation: OpenAI's and OpenRouter's."""
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
_MESSAGES = ("messages", "input", "contents", "prompt")
"""The fields of the wires with the system message, and with the other messages."""


class _RoleOnly(msgspec.Struct):
    role: Any = None


_EACH = msgspec.json.Decoder(list[msgspec.Raw])
_ROLE = msgspec.json.Decoder(_RoleOnly)


class ChatTraits(Traits):
    """Traits of one chat. Each is read on first use."""

    def __init__(self, context: RequestContext, inbound: InboundChat, plan: Plan) -> None:
        self._context, self._inbound, self._plan = context, inbound, plan
        # For a large request losses are not predicted: that takes longer than trying one more target.
        self._refuses = inbound.size <= LARGE and on_loss(context, plan.rules) == "refuse"
        """Whether a target refuses requests of which it would lose something."""
        self.is_choosy = self._refuses or context.runtime.catalog.is_known

    @cached_property
    def affinity(self) -> int | None:
        headers, fields = self._context.headers, self._inbound.fields
        for header in SESSIONS:
            if value := headers.get(header):
                return key_of(value)
        for name in _NAMES:
            if name in fields and isinstance(value := value_of(fields, name), str) and value:
                return key_of(value.encode("utf-8", "replace"))
        beginning = [*(bytes(fields[name]) for name in _SYSTEM if name in fields), *self._first_messages()]
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
        except BadInput:  # the attempt itself reports the error
            return frozenset()

    @property
    def key(self) -> str:
        return self._context.record.key

    @property
    def priority(self) -> int:
        """Raises ``BadInput``."""
        return priority(self._context)

    @cached_property
    def tags(self) -> Mapping[str, str]:
        """Raises ``BadInput``."""
        value = self._context.headers.get(TAGS, b"").decode("latin-1")
        tags = [term.strip().partition("=") for term in value.split(",") if term.strip()]
        if len(value) > _LONGEST or not all(is_tag and name.strip() for name, is_tag, _ in tags):
            header = TAGS.decode()
            raise BadInput(
                f"{header} is not a list of name=value, such as region=eu, of at most {_LONGEST} characters", field=header
            )
        return {name.strip().lower(): text.strip() for name, _, text in tags}

    def unfit(self, target: Target) -> str:
        if (info := self._context.runtime.catalog.known(target.name)) is not None:
            needs = self.needs if self._inbound.size <= LARGE and not all(info.can.values()) else frozenset()
            if reason := unfit_for(self.prompt_tokens, needs, info):
                return reason
        if self._refuses:
            call_info = CallInfo("refuse", hosted_tools(self._context, self._plan.rules))
            try:
                passes(self._inbound, target, call_info)
            except PolychatError as error:
                return (
                    "" if is_misconfiguration(error) else redact(str(error), _REASON)
                )  # the attempt itself logs it for the operator
        return ""

    def _first_messages(self) -> Iterator[bytes]:
        """The messages up to the user's first, in JSON."""
        fields = self._inbound.fields
        messages = next((bytes(fields[name]) for name in _MESSAGES if name in fields), b"")
        if messages[:1] != b"[":
            if messages:
                yield messages
            return
        for message in _EACH.decode(messages):
            yield bytes(message)
            try:
                if _ROLE.decode(message).role not in BEFORE_USER:
                    return
            except msgspec.DecodeError:
                return


_REASONING = frozenset({"reasoning", "reasoning_effort", "thinking", "think"})
"""Fields that make a model reason; in Gemini's API they are in ``generationConfig``."""


def kind_in(inbound: InboundChat) -> Kind:
    """The kind of chat for which the time to the first token is learned."""
    fields = inbound.fields
    reasons = not _REASONING.isdisjoint(fields) or b"thinkingConfig" in bytes(fields.get("generationConfig", b""))
    return kind_of(streamed=inbound.stream, size=inbound.size, reasons=reasons)


def passes(inbound: InboundChat, target: Target, call_info: CallInfo) -> bool:
    """Whether it would be passed through; otherwise it is translated, as far as that is possible without sending it."""
    relay = target.backend.relay(inbound.dialect.wire.NAME) if inbound.may_pass else None
    if relay is not None and relay.takes(inbound.fields):
        if relay.fit is not None:
            relay.fit(inbound.fields, call_info)
        return True
    target.backend.rehearse(inbound.request_for(target.model, whole=True), call_info)
    return False
