"""What a key or an owner may use, in the words of ``[gateway.key_settings]``: the file, the admin API and the command's JSON
say the same things with the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import structs

from ...config.decoding import decoded
from ...config.file_errors import FileErrors
from ...config.settings import Allowance, KeySettings
from ...errors import BadInput
from ...state.ledger import NANO
from ...state.store import Policy, UsageLimit
from ..admission.accounts import policy_of

_MILLION = 1_000_000
_RATES = {("requests", "minute"): "rpm", ("tokens", "minute"): "tpm", ("concurrent", None): "concurrent"}
_BUDGETS = {"tokens": "tokens", "dollars": "budget"}
_ALIKE = [
    name
    for name in Policy.__struct_fields__
    if name in KeySettings.__struct_fields__ and name not in ("models", "dialects", "unpriced")
]
"""What both have by the same name and in the same form."""
_USUAL_WARNING = Allowance().warn_at


class BodyErrors(FileErrors):
    """Errors about the body of a request, which name the field alone."""

    def __init__(self) -> None:
        super().__init__(Path("body"), "")

    def error(self, key: str, predicate: str) -> BadInput:
        return BadInput(f"{key} {predicate}", field=key)


def settings_of(policy: Policy) -> dict[str, Any]:
    """The settings that differ from their defaults, as JSON has them."""
    settings = _allowance(policy.limits)
    if policy.user_limits:
        settings["per_user"] = _allowance(policy.user_limits)
    for name in _ALIKE:
        if (value := getattr(policy, name)) is not None:
            settings[name] = value
    if models := (*policy.routes, *policy.models):
        settings["models"] = list(models)
    if policy.dialects:
        settings["dialects"] = list(policy.dialects)
    if (unpriced := policy.unpriced) is not None:
        settings["unpriced"] = unpriced if isinstance(unpriced, str) else unpriced * _MILLION / NANO
    return settings


def _allowance(limits: tuple[UsageLimit, ...]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for limit in limits:
        cap = limit.cap / NANO if limit.metric == "dollars" else limit.cap
        if name := _RATES.get((limit.metric, limit.window)):
            settings[name] = cap
        else:
            settings.setdefault(_BUDGETS[limit.metric], {})[limit.window] = cap
    if any(limit.soft != round(limit.cap * _USUAL_WARNING) for limit in limits):
        largest = max(limits, key=lambda limit: limit.cap)  # its share was rounded least
        settings["warn_at"] = 1.0 if largest.soft is None or not largest.cap else round(largest.soft / largest.cap, 3)
    return settings


def policy_from(settings: Mapping[str, Any], field: str) -> Policy:
    """The policy that these settings mean. Raises ``BadInput`` that names what is wrong below ``field``."""
    policy = policy_of(decoded(KeySettings, dict(settings), field, BodyErrors()))
    return policy if "unpriced" in settings else structs.replace(policy, unpriced=None)


def changed(policy: Policy, changes: Mapping[str, Any], field: str) -> Policy:
    """``policy`` with these settings in place of its own; a setting of ``None`` is removed, and others stay.

    Raises ``BadInput``.
    """
    return policy_from(_merged(settings_of(policy), changes), field)


def _merged(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON Merge Patch (RFC 7396) has it."""
    after = dict(before)
    for name, value in changes.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, Mapping):
            inside = after.get(name)
            after[name] = _merged(inside if isinstance(inside, Mapping) else {}, value)
        else:
            after[name] = value
    return after
