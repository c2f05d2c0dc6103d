"""How much of its model's context a conversation uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress

from ...client import Reply
from ...client.targets import Targets
from ...costs import listed_context
from ...errors import PolychatError
from ...routing import Target

_SECONDS = 5.0
"""For a list of models."""


class ContextWindows:
    """The contexts of models: by their backends' lists, each requested once, or by the list of prices."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._contexts: dict[str, dict[str, int | None]] = {}
        """By backend, those of its models; empty where it has no list."""

    @asynccontextmanager
    async def learning(self, model: str) -> AsyncGenerator[None]:
        """Within the block, request the lists of what may answer for ``model``. One that takes longer is given up for now."""
        names = {target.label for target in self._targets_of(model)} - self._contexts.keys()
        learning = asyncio.ensure_future(self._learn(names))
        try:
            yield
        finally:
            learning.cancel()
            with suppress(asyncio.CancelledError):
                await learning

    async def _learn(self, names: Iterable[str]) -> None:
        registry = self._targets.registry
        rows = registry.vendors()
        for name in names:
            self._contexts[name] = {}
            if name in rows and not rows[name].models:
                continue
            try:
                models = await registry.find(name).list_models(timeout=_SECONDS)
            except PolychatError:
                continue  # its models can be asked all the same
            except asyncio.CancelledError:
                del self._contexts[name]
                raise
            self._contexts[name] = {one.id: one.context for one in models}

    def used(self, model: str, reply: Reply) -> str:
        """The tokens of the conversation up to this reply, and of how many; empty where its backend did not count them."""
        usage = reply.usage
        if usage is None or usage.prompt_tokens is None:
            return ""
        used, window = usage.prompt_tokens + (usage.completion_tokens or 0), self._window(model, reply)
        return f"context {used:,} of {window:,} ({used / window:.0%})" if window else f"context {used:,}"

    def _window(self, model: str, reply: Reply) -> int | None:
        targets = self._targets_of(model)
        target = next((one for one in targets if len(targets) == 1 or one.label == reply.provider.lower()), None)
        if target is None:
            return None
        listed = self._contexts.get(target.label, {}).get(target.model)
        return listed or listed_context(target.label, target.backend.url, reply.served or target.model)

    def _targets_of(self, model: str) -> tuple[Target, ...]:
        try:
            return tuple(self._targets.plan(model).targets)
        except PolychatError:  # the lists that a bare name depends on have changed
            return ()
