"""What a configuration amounts to, made ready once: requests under way keep theirs while another comes into force."""

from __future__ import annotations

from .. import config
from ..config import Config
from ..providers._relay import Relay
from ..routing import Health, Names, Router, Target
from .admission.access import Keys, OriginPolicy


class Runtime:
    """Raises ``PolychatError`` for a configuration that cannot be served."""

    def __init__(self, configured: Config, health: Health) -> None:
        config.pin(configured)  # what providers read of it is of the same file
        gateway = configured.gateway
        self.configured = configured
        self.gateway = gateway
        self.limits = gateway.limits
        self.keys = Keys(gateway.keys)
        self.guarded = bool(self.keys)
        """Whether a key is asked for."""
        self.origins = OriginPolicy(gateway.cors, (gateway.host,), guarded=self.guarded)
        self.names = Names(configured)
        if gateway.sites:
            self.names.plan(gateway.sites)
        self.router = Router(health)
        self.heartbeat = gateway.heartbeat or None
        self.drain_seconds = _drain(gateway.on_disconnect)
        self._relays: dict[tuple[str, str], Relay | None] = {}

    def relay(self, target: Target, wire: str) -> Relay | None:
        """Where requests on this wire may go as they stand, if anywhere. Raises ``NotReady`` for want of a key."""
        try:
            return self._relays[target.label, wire]
        except KeyError:
            relay = self._relays[target.label, wire] = target.provider.relay(wire)
            return relay


def _drain(policy: str) -> float:
    kind, _, seconds = policy.partition(":")
    return float(seconds) if kind == "drain" else 0.0
