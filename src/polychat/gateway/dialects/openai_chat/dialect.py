"""OpenAI's chat completions."""

from __future__ import annotations

from ....errors import BadInput
from ....events import Finish, Usage
from ....types import ChatRequest
from ....wire import checks, openai_chat
from ....wire.contract import Writer, wire
from ....wire.json_text import encoded
from ....wire.openai_chat.passthrough import ChunkMonitor, ending_of
from ....wire.passthrough import StreamMonitor
from ..dialect import OPENED, Dialect, InboundChat, InboundRequest, Object, value_of, with_model

_MODELS = 64
"""Names that one request may list."""
_PROVIDER = ("order", "only", "ignore", "allow_fallbacks")
"""The members of OpenRouter's ``provider`` that are supported; others are reported as losses."""


class OpenAIChat(Dialect):
    """``/v1/chat/completions``. OpenRouter's ``models`` and ``provider`` are understood: who may answer, in which order."""

    name = "openai-chat"
    wire = wire("openai-chat")
    forwards = ("openai-beta",)

    def inbound(self, request: InboundRequest) -> InboundChat:
        inbound = super().inbound(request)
        fields = inbound.fields
        if "models" in fields or "provider" in fields:
            prefer(inbound)
        if inbound.stream:
            options = value_of(fields, "stream_options")
            inbound.wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        return inbound

    def relayed(self, inbound: InboundChat, model: str, *, usage: bool, fields: Object | None = None) -> bytes:
        asks = inbound.stream and usage and not inbound.wants_usage
        if not asks:
            return super().relayed(inbound, model, usage=usage, fields=fields)
        options = value_of(inbound.fields, "stream_options") or {}
        members = inbound.fields if fields is None else fields
        return with_model({**members, "stream_options": {**options, "include_usage": True}}, model)

    def ending(self, body: bytes) -> tuple[Finish, Usage | None, str | None]:
        return ending_of(body)

    def monitor(self, inbound: InboundChat) -> StreamMonitor:
        return ChunkMonitor(usage=inbound.wants_usage)


def prefer(inbound: InboundChat) -> None:
    """Take ``models`` and ``provider`` out of the request, as who may answer it. Raises ``BadInput``.

    A request for OpenRouter itself keeps them: there they mean OpenRouter's own.
    """
    if inbound.model.partition("/")[0].lower() == "openrouter":
        return
    fields = dict(inbound.fields)
    further = value_of(fields, "models") or []
    choice = value_of(fields, "provider") or {}
    fields.pop("models", None), fields.pop("provider", None)
    several = checks.several(further, "models")
    if len(several) > _MODELS:
        raise BadInput(f"models has {len(several):,} names; the limit is {_MODELS}: send fewer", field="models")
    names = [inbound.model, *(checks.text(name, f"models[{place}]") for place, name in enumerate(several))]
    choice = dict(checks.item(choice, "provider"))
    inbound.lost = tuple(f"provider.{name}" for name, value in choice.items() if name not in _PROVIDER and value is not None)
    inbound.models = _preferred(list(dict.fromkeys(names)), choice)
    inbound.fields, inbound.body = fields, encoded(fields)


def _preferred(names: list[str], choice: Object) -> list[str]:
    """The names in the order of ``provider.order``, limited to ``only`` and without those of ``ignore``."""
    order, only, ignore = (_providers(choice, name) for name in _PROVIDER[:3])
    first = names[0].partition("/")[2] if names[0].partition("/")[0].lower() in (*order, *only) else names[0]
    if order or only:
        names = [*(f"{provider}/{first}" for provider in order or only), *names]
    allowed = []
    for name in dict.fromkeys(names):
        provider = name.partition("/")[0].lower()
        if (not only or provider in only) and provider not in ignore:
            allowed.append(name)
    if not allowed:
        raise BadInput("provider excludes every target: relax only or ignore", field="provider")
    fallbacks = choice.get("allow_fallbacks")
    return allowed if fallbacks is None or checks.flag(fallbacks, "provider.allow_fallbacks") else allowed[:1]


def _providers(choice: Object, name: str) -> list[str]:
    listed = checks.several(choice.get(name) or [], f"provider.{name}")
    if len(listed) > _MODELS:
        raise BadInput(
            f"provider.{name} has {len(listed):,} names; the limit is {_MODELS}: send fewer", field=f"provider.{name}"
        )
    return [checks.text(provider, f"provider.{name}").lower() for provider in listed]


class OpenAICompletions(OpenAIChat):
    """``/v1/completions``: the prompt is sent as a user's message."""

    name = "openai-completions"
    passes = False

    def read(self, inbound: InboundChat) -> ChatRequest:
        return openai_chat.read_completion_request(inbound.body, limits=OPENED)

    def writer(self, inbound: InboundChat, chat_request: ChatRequest, name: str, created: int) -> Writer:
        return openai_chat.completion_writer(chat_request, name, created, inbound.model)
