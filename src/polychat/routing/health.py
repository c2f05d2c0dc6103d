"""How each target has been of late: whether it is passed over for a while, and how soon it begins to answer."""

from __future__ import annotations

_FAILURES = 3
"""Failures in a row after which a target is passed over."""
_WEIGHT = 0.2
"""How much the last answer counts in what a target usually takes."""
_TARGETS = 4096


class _State:
    __slots__ = ("failures", "first", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0
        self.first: float | None = None


class Health:
    """Of one process. Moments are seconds on whatever clock the caller has."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def is_well(self, target: str, now: float) -> bool:
        """Whether it may be asked; one that was passed over is tried again when its time is over."""
        state = self._states.get(target)
        return state is None or now >= state.until

    def first_of(self, target: str) -> float:
        """Seconds until it usually begins to answer; 0 where that is not known: whoever was never asked is to be tried."""
        state = self._states.get(target)
        return 0.0 if state is None or state.first is None else state.first

    def answered(self, target: str, first: float) -> None:
        """It began to answer after ``first`` seconds."""
        state = self._states.get(target)
        if state is None:
            state = self._state(target)
        state.failures = 0
        state.first = first if state.first is None else state.first + _WEIGHT * (first - state.first)

    def failed(self, target: str, now: float, cooldown: float, retry_after: float | None = None) -> None:
        """It failed; it may have said when to come again."""
        state = self._state(target)
        state.failures += 1
        if retry_after is not None:
            state.until = max(state.until, now + retry_after)
        elif state.failures >= _FAILURES:
            state.until = max(state.until, now + cooldown)

    def _state(self, target: str) -> _State:
        if target not in self._states and len(self._states) >= _TARGETS:
            del self._states[next(iter(self._states))]
        return self._states.setdefault(target, _State())
