"""Translated requests that differ only in the texts of their messages: all else is translated once, and kept as a template.

Most requests of a client are such: the same model, the same settings, the same roles in the same order. A ``RequestTemplate``
is such a request as its backend writes it around stand-ins for the texts (``backends/compiled.py``). Nothing of it is lost, so
there is nothing to report, to refuse or to decide. Any other request is translated for itself.

Bounds: ``_KEPT`` templates for one head of requests, each of a request of at most ``plain_texts.MAX_MESSAGES`` messages that is
short without their texts. They belong to one configuration, as the head's plans do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...backends.compiled import CompiledRequest, replaced_in, stand_ins
from ...backends.direct import DirectRequest
from ...errors import PolychatError
from ...types import ChatMessage, TextPart
from ...wire.estimating import prompt_size, size_of
from .translation import Translation, WrittenChat

if TYPE_CHECKING:
    from ...backends.ready import ReadyRequest
    from ...http.timeouts import Timeouts
    from ...routing import Plan
    from ..dialects.dialect import InboundChat

_KEPT = 128
"""Maximum number of templates, and of requests whose repetitions are counted."""
_OFTEN = 3
"""How often a request comes before its template is made: that takes as long as translating two."""
_NEVER = -(1 << 60)
"""The count of a request that has no template."""


class RequestTemplates:
    """Those of one head of requests."""

    __slots__ = ("_counts", "_kept")

    def __init__(self) -> None:
        self._kept: dict[bytes, RequestTemplate] = {}
        self._counts: dict[bytes, int] = {}
        """How often requests came that have no template."""

    def written(self, inbound: InboundChat, plan: Plan, timeouts: Timeouts) -> tuple[WrittenChat, bytes] | None:
        """What is sent to the plan's first target for a chat, with its body; ``None`` for one that has no template.

        Raises ``BadInput`` and ``NotReady`` as translating it does.
        """
        if (plain := inbound.dialect.plain_texts(inbound)) is None:
            return None
        key, texts = plain
        template = self._kept.get(key)
        if template is None or template.plan is not plan:
            self._count(key, texts, inbound, plan, timeouts)
            return None
        if (body := template.compiled.body_of(texts)) is None:
            return None
        written = template.current()
        if inbound.stream:
            inbound.prompt_size = template.prompt_size(texts)
        return written, body

    def _count(self, key: bytes, texts: list[str], inbound: InboundChat, plan: Plan, timeouts: Timeouts) -> None:
        """Make the template of a request that has come often."""
        counts, kept = self._counts, self._kept
        if len(counts) >= _KEPT:
            counts.clear()
        counts[key] = count = counts.get(key, 0) + 1
        if count < _OFTEN:
            return
        if (template := _template_of(inbound, texts, plan, timeouts)) is None:
            counts[key] = _NEVER
            return
        del counts[key]
        if len(kept) >= _KEPT:
            kept.clear()
        kept[key] = template

    def clear(self) -> None:
        """Forget all: another configuration is in force."""
        self._kept.clear()
        self._counts.clear()


class RequestTemplate:
    """The translation of requests that differ only in their texts, and of the replies to them."""

    __slots__ = ("_options", "_ready", "_rest_size", "_written", "compiled", "plan")

    def __init__(self, plan: Plan, compiled: CompiledRequest, timeouts: Timeouts, rest_size: int) -> None:
        """``rest_size``: bytes of the prompt besides the texts, as ``estimating.prompt_size`` counts them."""
        self.plan, self.compiled, self._rest_size = plan, compiled, rest_size
        self._options: dict[str, Any] = {"timeout": timeouts}
        self._ready: ReadyRequest | None = None
        self._written: WrittenChat

    def current(self) -> WrittenChat:
        """How such a request is sent now. Raises ``BadInput`` and ``NotReady``."""
        ready = self._ready
        if ready is None or not ready.is_current():
            compiled = self.compiled
            self._ready = ready = self.plan.targets[0].backend.ready(compiled, self._options)
            direct = DirectRequest(
                ready,
                b"",
                compiled.whole,
                None,
                compiled.new_reader,
                compiled.usual_stream,
                compiled.text_answer,
                compiled.text_stream,
            )
            self._written = WrittenChat(ready.request, ready.timeouts, ready.base_url, [], Translation(direct))
        return self._written

    def prompt_size(self, texts: list[str]) -> int:
        """As ``estimating.prompt_size`` of the request with these texts."""
        size = self._rest_size
        for text in texts:
            size += size_of(text)
        return size


def _template_of(inbound: InboundChat, texts: list[str], plan: Plan, timeouts: Timeouts) -> RequestTemplate | None:
    """The template of a chat with these ``texts``; ``None`` if each such chat is translated for itself."""
    target = plan.targets[0]
    try:
        request = inbound.request_for(target.model)
        before, own = request.messages[: -len(texts)], request.messages[-len(texts) :]
        if own != _with_texts(own, texts):
            return None
        size = prompt_size(request) - sum(map(size_of, texts))
        replaced = stand_ins(len(texts))
        request.messages = [*before, *_with_texts(own, replaced)]
        if replaced_in(request) != replaced:
            return None  # a text before them is a stand-in
        compiled = target.backend.compiled(request)
    except PolychatError:  # the client is told by what translates this chat
        return None
    return None if compiled is None else RequestTemplate(plan, compiled, timeouts, size)


def _with_texts(messages: list[ChatMessage], texts: list[str]) -> list[ChatMessage]:
    """Messages of the same roles that are one text each."""
    return [ChatMessage(message.role, [TextPart(text)]) for message, text in zip(messages, texts, strict=False)]
