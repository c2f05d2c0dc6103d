"""Which vendors can be requested for the list of their models."""

from __future__ import annotations

from .keys import has_key
from .registry import Registry


def listing(registry: Registry) -> list[str]:
    """The vendors that the configuration names or whose key is set, and whose models the configuration does not list.

    A vendor with several wires is requested through the first that is set up.
    """
    rows, providers = registry.vendors(), registry.config.providers
    ready = [
        name
        for name, row in rows.items()
        if row.models and not row.serves and (name in providers or (not row.untrusted and has_key(row)))
    ]
    return [name for name in ready if name in providers or _vendor(name) not in ready or _vendor(name) == name]


def _vendor(name: str) -> str:
    """The vendor of which a row such as ``openai-responses`` is another wire."""
    return name.partition("-")[0]
