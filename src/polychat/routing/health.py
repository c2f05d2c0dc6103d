"""The facts of every target that a process knows, by route and target, and by target alone."""

from __future__ import annotations

from collections.abc import Collection
from threading import RLock
from weakref import WeakValueDictionary

from .budget import RetryBudget
from .early_cuts import EarlyCuts
from .facts import Alarms, Facts, TargetState
from .rests import Rest

_TARGETS = 4096
"""Facts that are kept: clients name targets without end."""


class Health:
    """Of one process. Moments are seconds on whatever clock the caller has. Threads may share it: each thing is made once."""

    def __init__(self) -> None:
        self._lock = RLock()
        """Held while something is made that is not known yet."""
        self._facts: dict[tuple[str, str], Facts] = {}
        self.evictions = 0
        """How many facts and budgets were given up for others: who keeps some has to get them anew when this number changes."""
        self.alarms = Alarms()
        self._shared: WeakValueDictionary[str, TargetState] = WeakValueDictionary()
        self._domains: WeakValueDictionary[str, Rest] = WeakValueDictionary()
        self._early_cuts: WeakValueDictionary[str, EarlyCuts] = WeakValueDictionary()
        self._budgets: dict[str, RetryBudget] = {}

    def facts(self, route: str, target: str) -> Facts:
        """What is known of ``target`` (``provider/model``) in ``route``, whose name is empty where clients name the target."""
        facts = self._facts.get((route, target))
        return self._new_facts(route, target) if facts is None else facts

    def target(self, name: str) -> TargetState | None:
        """The facts of ``provider/model`` that hold in every route; ``None`` if it was not called."""
        return self._shared.get(name)

    def domain(self, name: str) -> Rest:
        """What holds for all targets that share a limit."""
        rest = self._domains.get(name)
        if rest is None:
            with self._lock:
                rest = self._domains.get(name)
                if rest is None:
                    rest = self._domains[name] = Rest()
        return rest

    def budget(self, route: str) -> RetryBudget:
        """The retry budget of a route, or of a target that clients name."""
        budget = self._budgets.get(route)
        return self._new_budget(route) if budget is None else budget

    def _new_budget(self, route: str) -> RetryBudget:
        with self._lock:
            budget = self._budgets.get(route)
            if budget is None:
                if len(self._budgets) >= _TARGETS:
                    del self._budgets[next(iter(self._budgets))]
                    self.evictions += 1
                budget = self._budgets[route] = RetryBudget()
            return budget

    def every(self) -> list[Facts]:
        """The facts of all targets that were called."""
        return list(self._facts.values())

    def forget(self, labels: Collection[str]) -> None:
        """What is known of the targets of these backends: they are others now. What was missing here may be there, of any."""
        for facts in self.every():
            facts.try_set_up()
            if facts.name.partition("/")[0] in labels:
                facts.forget()
                facts.shared.forget()
                if facts.domain is not None:
                    facts.domain.forget()
                facts.domain = None  # its key may be another one

    def _new_facts(self, route: str, target: str) -> Facts:
        with self._lock:
            facts = self._facts.get((route, target))
            if facts is not None:
                return facts
            if len(self._facts) >= _TARGETS:
                del self._facts[next(iter(self._facts))]
                self.evictions += 1
            shared = self._shared.get(target)
            if shared is None:
                shared = self._shared[target] = TargetState()
            cuts = EarlyCuts() if not route else self._early_cuts.setdefault(route, EarlyCuts())
            facts = self._facts[route, target] = Facts(route, target, shared, self.alarms, cuts, self.budget(route or target))
            return facts
