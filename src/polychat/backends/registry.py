"""Every backend of one configuration by its name, each made at first use."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from ..config import Config, load
from ..errors import UnknownTarget
from ..providers.catalogue import files
from ..providers.catalogue import load as service
from .backend import Backend
from .service import ServiceBackend

if TYPE_CHECKING:
    from ..config.vendor_spec import VendorSpec

_NAMED = 256
"""Maximum characters of an unknown name that are compared and reported."""


class Registry:
    """The backends of ``config``; a registry shares no backend with another.

    A changed variable or key file takes effect at the next call. ``fixed``: keys and addresses are read once, for a gateway,
    which makes a new registry when it reloads.
    """

    def __init__(self, config: Config, *, fixed: bool = False) -> None:
        self.config = config
        self._fixed = fixed
        self._backends: dict[str, Backend] = {}

    def find(self, name: str) -> Backend:
        """A backend by its name, in any case. Raises ``UnknownTarget`` with the nearest, and ``BadInput`` as ``vendors``."""
        name = name.lower()
        return self._backends.get(name) or self._backends.setdefault(name, self._made(name))

    def resolve(self, target: str) -> tuple[Backend, str | None]:
        """``provider/model`` (or ``provider:model``, or a provider alone) as the backend and the model's name."""
        provider, model = split(target)
        return self.find(provider), model

    def every(self) -> list[Backend]:
        """All of them: services, then vendors. Raises ``BadInput`` as ``vendors``."""
        return [self.find(name) for name in (*files(), *self.vendors())]

    def vendors(self) -> Mapping[str, VendorSpec]:
        """The rows of all vendors: the built-in ones, and the configuration's, which override them.

        Raises ``BadInput`` for an invalid row, or one that a file in the current folder may not have.
        """
        return self._rows

    def moved(self, before: Registry) -> set[str]:
        """The labels of vendors that ``before`` had differently or not at all: what was learned of them is outdated."""
        earlier = before.vendors()
        return {name for name, row in self.vendors().items() if earlier.get(name) != row}

    @cached_property
    def _rows(self) -> Mapping[str, VendorSpec]:
        from .rows import rows_of  # read at the first request for a name that is not a service's

        return rows_of(self.config)

    def _made(self, name: str) -> Backend:
        if name in files():
            return ServiceBackend(service(name), self.config)
        row = self.vendors().get(name)
        if row is None:
            raise UnknownTarget(f"no provider {name[:_NAMED]!r} (polychat providers lists them)", near=self._near(name))
        from .vendor import VendorBackend  # it loads the wires and msgspec

        return VendorBackend(row, fixed=self._fixed)

    def _near(self, name: str) -> tuple[str, ...]:
        """The most similar names, of providers that work."""
        names = [file for file in files() if service(file).working] + sorted(self.vendors())
        return tuple(self.find(close).name for close in difflib.get_close_matches(name[:_NAMED], names, n=2))


def split(target: str) -> tuple[str, str | None]:
    """The provider and the model of ``provider/model``, cut at the first slash or colon; ``None`` if no model is named."""
    cuts = [cut for cut in (target.find("/"), target.find(":")) if cut >= 0]
    if not cuts:
        return target, None
    return target[: min(cuts)], target[min(cuts) + 1 :] or None


_own: list[Registry] = []
_LOCK = Lock()
"""Held while it is made: the threads of synchronous calls share one."""


def user_registry() -> Registry:
    """The registry of the user's own polychat.toml: the same one until the file changes. Raises ``BadInput``."""
    config = load()
    registry = _own[0] if _own else None
    if registry is None or registry.config is not config:
        with _LOCK:
            registry = _own[0] if _own else None
            if registry is None or registry.config is not config:
                registry = Registry(config)
                _own[:] = [registry]
    return registry
