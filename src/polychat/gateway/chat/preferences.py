"""Settings that the gateway, a route, a key and a request may each set: which value applies to one request.

The most specific one applies: a header of the request, then ``[gateway.key_settings]`` of its key, then the route (or
``[gateway.direct]``), then ``[gateway]``. A setting is a field of the same name in ``GatewaySettings``, ``Rules`` and
``KeySettings`` (``None`` if it is not set there), and has a line in ``HEADERS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, get_args

from ...choices import HostedTools, OnLossSetting, Priority
from ...config.decoding import misfit
from ...config.settings import GatewaySettings, KeySettings, Rules
from ...errors import BadInput, redact
from ...routing.fair_queue import NORMAL

if TYPE_CHECKING:
    from ..admission.accounts import Account
    from ..context import RequestContext
    from ..observe.record import Record
    from ..runtime import Runtime
    from ..service import Service

HEADERS = {"on_loss": b"x-polychat-on-loss", "hosted_tools": b"x-polychat-hosted-tools"}
"""Each setting, and the header by which a client sets it for one request."""


class _Request(Protocol):
    """As far as it is looked at for what is set for its key."""

    @property
    def record(self) -> Record: ...
    @property
    def runtime(self) -> Runtime: ...
    @property
    def service(self) -> Service: ...


PRIORITY = b"x-polychat-priority"
PRIORITIES = get_args(Priority)
"""As ``routing.fair_queue`` counts them, the highest first."""


def on_loss(context: RequestContext, rules: Rules) -> OnLossSetting:
    """What to do about fields of this request that a backend does not support. Raises ``BadInput`` for an invalid header."""
    chosen: OnLossSetting = _chosen(context, rules, "on_loss")
    return chosen


def hosted_tools(context: RequestContext, rules: Rules) -> HostedTools:
    """What to do with tools that only another vendor's backend can run. Raises ``BadInput`` for an invalid header."""
    chosen: HostedTools = _chosen(context, rules, "hosted_tools")
    return chosen


def priority(context: RequestContext) -> int:
    """The priority of a request in a queue: its key's, or that of its header if it is not higher.

    Raises ``BadInput`` for an invalid header.
    """
    value = context.headers.get(PRIORITY)
    word = "" if value is None else value.decode("latin-1").strip()
    if word and word not in PRIORITIES:
        header = PRIORITY.decode()
        raise BadInput(f"{header} is {redact(word, 60)!r}; it must be one of {', '.join(PRIORITIES)}", field=header)
    key = _key_settings(context)
    own = None if key is None or key.priority is None else PRIORITIES.index(key.priority)
    asked = PRIORITIES.index(word) if word else None
    if own is None or asked is None:
        return next((chosen for chosen in (own, asked) if chosen is not None), NORMAL)
    return max(own, asked)


def keeps_text(request: _Request) -> bool:
    """Whether texts of this request may be kept in the database."""
    state, key = request.runtime.gateway.state, _key_settings(request)
    if state is None or not state.encryption_keys:
        return False
    return state.keep_text if key is None or key.keep_text is None else bool(key.keep_text)


def _key_settings(context: _Request) -> KeySettings | Account | None:
    """What is set for the key of the request."""
    people, name = context.service.people, context.record.key
    if people is not None and (account := people.account(name)) is not None:
        return account
    signed = context.service.signed
    if signed is not None and (account := signed.account(name)) is not None:
        return account
    settings = context.runtime.gateway.key_settings
    return settings.get(name) if settings else None


def _chosen(context: RequestContext, rules: Rules, name: str) -> Any:
    header = HEADERS[name]
    if (value := context.headers.get(header)) is not None:
        word = value.decode("latin-1").strip()
        if fault := misfit(GatewaySettings, name, word):
            raise BadInput(f"{header.decode()} {fault}", field=header.decode())
        return word
    gateway, key = context.runtime.gateway, _key_settings(context)
    if key is not None and (chosen := getattr(key, name)) is not None:
        return chosen
    chosen = getattr(rules, name)
    return getattr(gateway, name) if chosen is None else chosen
