"""The objects made from a configuration: requests in progress keep theirs after a reload."""

from __future__ import annotations

from typing import Any

from ..backends.registry import Registry
from ..config import Config
from ..costs import pricing_of
from ..http.server.listening import is_loopback
from ..http.server.timeout_queue import TimeoutQueue
from ..routing import Health, ModelResolver, Router
from .admin.access import AdminKeys
from .admission.keys import Keys
from .admission.origins import OriginPolicy
from .catalog import ModelCatalog
from .webhook import destination_of


class Runtime:
    """The objects of one configuration. Raises ``PolychatError`` if it cannot be served."""

    def __init__(self, configured: Config, health: Health) -> None:
        gateway = configured.gateway
        self.configured = configured
        self.gateway = gateway
        self.limits = gateway.limits
        self.keys = Keys(gateway.keys)
        self.admin_keys = AdminKeys(gateway.admin)
        self.metrics_key = Keys({} if gateway.metrics.key is None else {"key": gateway.metrics.key}, "gateway.metrics")
        """The one key of ``/metrics``, if it has one of its own."""
        self.guarded = (
            bool(self.keys) or gateway.signed_keys is not None or (gateway.state is not None and not is_loopback(gateway.host))
        )
        """Whether requests need a key."""
        if gateway.webhook is not None:
            destination_of(gateway.webhook)  # raises what is wrong with it
        self.origins = OriginPolicy(gateway.cors, (gateway.host,), guarded=self.guarded)
        self.registry = Registry(configured, fixed=True)
        self.resolver = ModelResolver(self.registry)
        self.catalog = ModelCatalog(self.registry)
        if gateway.sites:
            self.resolver.plan(gateway.sites)
        self.pricing = pricing_of(configured.prices)
        self.router = Router(health, pricing=self.pricing)
        self.heartbeat = gateway.heartbeat or None
        self.heartbeats: TimeoutQueue[Any] | None = None
        """One timer for the heartbeats of all streams, created with the first of them."""
        self.drain_seconds = _drain(gateway.on_disconnect)


def _drain(policy: str) -> float:
    kind, _, seconds = policy.partition(":")
    return float(seconds) if kind == "drain" else 0.0
