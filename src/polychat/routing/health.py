"""The facts of every target that a process knows, by route and target, and by target alone."""

from __future__ import annotations

from collections.abc import Collection
from weakref import WeakValueDictionary

from .facts import Facts, TargetState

_TARGETS = 4096
"""Facts that are kept: clients name targets without end."""


class Health:
    """Of one process. Moments are seconds on whatever clock the caller has."""

    def __init__(self) -> None:
        self._facts: dict[tuple[str, str], Facts] = {}
        self.evictions = 0
        """How many facts were given up for others: who keeps facts has to get them anew when this number changes."""
        self._shared: WeakValueDictionary[str, TargetState] = WeakValueDictionary()

    def facts(self, route: str, target: str) -> Facts:
        """What is known of ``target`` (``provider/model``) in ``route``, whose name is empty where clients name the target."""
        facts = self._facts.get((route, target))
        return self._made(route, target) if facts is None else facts

    def every(self) -> list[Facts]:
        """What is known of all targets that were asked."""
        return list(self._facts.values())

    def forget(self, labels: Collection[str]) -> None:
        """What is known of the targets of these backends: they are others now."""
        for facts in self._facts.values():
            if facts.name.partition("/")[0] in labels:
                facts.forget()
                facts.shared.forget()

    def _made(self, route: str, target: str) -> Facts:
        if len(self._facts) >= _TARGETS:
            del self._facts[next(iter(self._facts))]
            self.evictions += 1
        shared = self._shared.get(target)
        if shared is None:
            shared = self._shared[target] = TargetState()
        facts = self._facts[route, target] = Facts(route, target, shared)
        return facts
