"""The lists of models that backends return."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from time import monotonic

from ..backends.registry import Registry
from ..errors import PolychatError
from ..wire.models import ModelInfo

_KEPT = 300.0
"""Seconds for which a list is kept."""
_SECONDS = 5.0
"""Timeout in seconds of the request for a list."""
_FAILED = 10.0
"""Seconds after which a list that failed is requested again."""


class ModelCatalog:
    """The lists of one registry's backends, each requested at most every five minutes, and once for all that wait.

    If a request fails, the previous list is kept, and requested again soon.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, tuple[float, list[ModelInfo]]] = {}
        self._asking: dict[str, asyncio.Task[list[ModelInfo]]] = {}
        self._models: dict[str, ModelInfo] = {}

    @property
    def is_known(self) -> bool:
        """Whether any backend has returned a list so far."""
        return bool(self._models)

    def known(self, target: str) -> ModelInfo | None:
        """The entry of ``provider/model`` in the lists that were returned so far; no backend is called."""
        return self._models.get(target)

    async def of(self, names: Iterable[str]) -> list[ModelInfo]:
        """The models of these vendors as targets; none for a vendor that returns no list in time."""
        lists = await asyncio.gather(*(self._of(name) for name in names))
        return [model for listed in lists for model in listed]

    async def _of(self, name: str) -> list[ModelInfo]:
        known = self._known.get(name)
        if known is not None and monotonic() < known[0]:
            return known[1]
        if name not in self._asking:
            self._asking[name] = asyncio.create_task(self._ask(name))
        return await asyncio.shield(self._asking[name])

    async def _ask(self, name: str) -> list[ModelInfo]:
        _, listed = self._known.get(name, (0.0, []))
        seconds = _FAILED
        try:
            models = await self._registry.find(name).list_models(timeout=_SECONDS)
            listed = [replace(model, id=f"{name}/{model.id}", owner=model.owner or name) for model in models]
            seconds = _KEPT
        except PolychatError:
            pass  # its models can be requested all the same
        finally:
            del self._asking[name]
        self._known[name] = (monotonic() + seconds, listed)
        self._models |= {model.id: model for model in listed}
        return listed
