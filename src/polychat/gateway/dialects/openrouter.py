"""OpenRouter's ``models`` and ``provider`` in a request: who may answer it, and in which order."""

from __future__ import annotations

from ...errors import BadInput
from ...routing.provider_preferences import MOST, is_for_openrouter, preferences_in, unknown_members
from ...routing.resolve import ModelResolver
from ...wire import checks
from ...wire.json_text import encoded
from .bodies import value_of
from .dialect import InboundChat


def prefer(inbound: InboundChat, resolver: ModelResolver) -> None:
    """Take ``models`` and ``provider`` out of the request, as who may answer it. Raises ``BadInput``.

    A request that only OpenRouter itself may answer keeps them: there they mean OpenRouter's own.
    """
    if _is_for_openrouter(inbound.model, resolver):
        return
    fields = dict(inbound.fields)
    further = checks.several(value_of(fields, "models") or [], "models")
    wanted = checks.item(value_of(fields, "provider") or {}, "provider")
    fields.pop("models", None), fields.pop("provider", None)
    if len(further) > MOST:
        raise BadInput(f"models has {len(further):,} names; the limit is {MOST}: send fewer", field="models")
    names = [inbound.model, *(checks.text(name, f"models[{place}]") for place, name in enumerate(further))]
    inbound.models = list(dict.fromkeys(names))
    inbound.lost = tuple(f"provider.{name}" for name in unknown_members(wanted))
    inbound.preferences = preferences_in(wanted)
    inbound.fields, inbound.body = fields, encoded(fields)


def _is_for_openrouter(name: str, resolver: ModelResolver) -> bool:
    try:
        return is_for_openrouter(resolver.plan(name))
    except BadInput:  # the router reports what is wrong
        return False
