"""Whether a configuration can be served, as far as that shows without serving it."""

from __future__ import annotations

from ... import config
from ...http.server.listening import check, encrypting
from ...routing import Health
from ..admission.signed_accounts import verifier_of
from ..runtime import Runtime
from ..storage import check_usable


def check_servable(configured: config.Config) -> None:
    """Raises what ``polychat serve`` would raise, as far as that can be known where its packages are not installed."""
    gateway = configured.gateway
    check(gateway)
    encrypting(gateway)
    Runtime(configured, Health())
    if gateway.signed_keys is not None:
        verifier_of(gateway.signed_keys)


def check_start(configured: config.Config) -> None:
    """Raises what ``polychat serve`` would raise, but for what the network and the disk are like at that moment."""
    check_servable(configured)
    if configured.gateway.state is not None:
        check_usable(configured.gateway.state)
