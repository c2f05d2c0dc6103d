"""How much of its model's context a conversation uses."""

from __future__ import annotations

import asyncio

from ...client import Reply
from ...client.targets import Targets
from ...costs import listed_context
from ...errors import PolychatError
from ...gateway.catalog import ModelCatalog
from ...routing import Target


class ContextWindows:
    """The contexts of models: by their backends' lists, each requested once, or by the list of prices."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._catalog = ModelCatalog(targets.registry)
        self._asking: asyncio.Task[object] | None = None

    def begin(self, model: str) -> None:
        """Request the lists of what may answer for ``model``, beside its reply; where one fails, its contexts are not known."""
        rows = self._targets.registry.vendors()
        names = {target.label for target in self._targets_of(model)}
        listing = [name for name in names if name not in rows or rows[name].models]
        self._asking = asyncio.ensure_future(self._catalog.of(listing))

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
        listed = self._catalog.known(target.name)
        if listed is not None and listed.context:
            return listed.context
        return listed_context(target.label, target.backend.url, reply.served or target.model)

    def _targets_of(self, model: str) -> tuple[Target, ...]:
        try:
            return tuple(self._targets.plan(model).targets)
        except PolychatError:  # the lists that a bare name depends on have changed
            return ()
