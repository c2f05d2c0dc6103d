"""In which order those that wait for a target get their turn: by priority, and evenly among the keys of one priority.

Among keys it is deficit round robin (Shreedhar and Varghese, 1995): each has its turn, and what it may take grows by one with
each round, so that a key with large requests has as much as one with many small ones. A request in several queues leaves the
others when one of them takes it.
"""

from __future__ import annotations

from collections import OrderedDict, deque

HIGH, NORMAL, LOW = range(3)
_LARGE = 4_000
_MOST = 8
KEPT = 0.2
"""The share of a queue's places that only the highest priority gets; of fewer than five it is none."""


class Waiter:
    """A request that waits."""

    __slots__ = ("cost", "is_over", "key", "priority")

    def __init__(self, key: str, priority: int, prompt_tokens: int = 0) -> None:
        self.key, self.priority = key, priority
        self.cost = 1 + min(_MOST - 1, prompt_tokens // _LARGE)
        """How many turns of a small request it takes."""
        self.is_over = False
        """Whether it has got its turn, or has left."""


class FairQueue:
    def __init__(self) -> None:
        self._of_keys: tuple[OrderedDict[str, deque[Waiter]], ...] = (OrderedDict(), OrderedDict(), OrderedDict())
        """For each priority the waiters of each key; the key whose turn it is comes first."""
        self._deficits: dict[tuple[int, str], int] = {}
        self._counts = [0, 0, 0]

    def __len__(self) -> int:
        return sum(self._counts)

    def before(self, priority: int) -> int:
        """How many of no lower priority wait."""
        return sum(self._counts[: priority + 1])

    def has_place(self, priority: int, places: int) -> bool:
        """Whether one more may wait, of ``places``."""
        return len(self) < (places if priority == HIGH else places - int(places * KEPT))

    def push(self, waiter: Waiter) -> None:
        self._of_keys[waiter.priority].setdefault(waiter.key, deque()).append(waiter)
        self._counts[waiter.priority] += 1

    def left(self, waiter: Waiter) -> None:
        """One of those that were pushed does not wait any more, unless it was taken out before."""
        waiting = self._of_keys[waiter.priority].get(waiter.key)
        if waiting is not None and waiter in waiting:
            waiting.remove(waiter)
            self._counts[waiter.priority] -= 1
            if not waiting:
                self._forget(waiter.priority, waiter.key)

    def pop(self) -> Waiter | None:
        """Whose turn it is; it does not wait here any more."""
        for priority, keys in enumerate(self._of_keys):
            while keys:
                key, waiting = next(iter(keys.items()))
                keys.move_to_end(key)
                deficit = self._deficits.get((priority, key), 0) + 1
                if deficit < waiting[0].cost:
                    self._deficits[priority, key] = deficit
                    continue
                waiter = waiting.popleft()
                self._deficits[priority, key] = deficit - waiter.cost
                if not waiting:
                    self._forget(priority, key)
                self._counts[priority] -= 1
                return waiter
        return None

    def _forget(self, priority: int, key: str) -> None:
        del self._of_keys[priority][key]
        self._deficits.pop((priority, key), None)
