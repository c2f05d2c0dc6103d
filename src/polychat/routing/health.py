"""How each target has been of late: when it said to come back, whether it is passed over, how soon it begins to answer.

Two things keep a target from being asked. *Resting*: it said when to come back, and no request asks it before that. *Passed
over*: it failed in a row, or refused its key or its quota; others are asked first, and it is asked where there is nobody else.
"""

from __future__ import annotations

from collections.abc import Collection

from ..errors import BackendError, FaultKind, Resting, redact

_FAILURES = 3
"""Failures in a row after which a target is passed over."""
_WEIGHT = 0.2
"""How much the last answer counts in what a target usually takes."""
_TARGETS = 4096
_LONGEST = 86_400.0
"""Seconds: a target that says it will be longer is asked once a day all the same."""


class _State:
    __slots__ = ("failures", "first", "kind", "rests", "status", "until", "why")

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0
        self.rests = 0.0
        """Until when it said that it is not to be asked."""
        self.kind: FaultKind | None = None
        self.status: int | None = None
        self.why = ""
        """What it said with that."""
        self.first: float | None = None


class Health:
    """Of one process. Moments are seconds on whatever clock the caller has."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def is_well(self, target: str, now: float) -> bool:
        """Whether it may be asked; one that was passed over is tried again when its time is over."""
        state = self._states.get(target)
        return state is None or (now >= state.until and now >= state.rests)

    def rest_of(self, target: str, now: float) -> float:
        """Seconds until it may be asked, by its own word; 0 where it may be now."""
        state = self._states.get(target)
        return 0.0 if state is None or now >= state.rests else state.rests - now

    def resting(self, target: str, now: float) -> Resting:
        """The failure that a request has which would ask it before the time it named."""
        state = self._state(target)
        seconds = max(0.0, state.rests - now)
        error = Resting(f"{target} is skipped for another {seconds:.3g} s: {state.why}", retry_after=seconds)
        error.kind, error.status = state.kind, state.status
        return error

    def first_of(self, target: str) -> float:
        """Seconds until it usually begins to answer; 0 where that is not known: whoever was never asked is to be tried."""
        state = self._states.get(target)
        return 0.0 if state is None or state.first is None else state.first

    def answered(self, target: str, first: float) -> None:
        """It began to answer after ``first`` seconds. One that rests goes on resting: that answer was asked for before."""
        state = self._states.get(target)
        if state is None:
            state = self._state(target)
        state.failures = 0
        state.first = first if state.first is None else state.first + _WEIGHT * (first - state.first)

    def failed(
        self, target: str, now: float, cooldown: float, error: BackendError | None = None, *, at_once: bool = False
    ) -> None:
        """It failed; ``error`` may say when to come back. ``at_once``: it is passed over from the first failure on."""
        state = self._state(target)
        state.failures += 1
        if error is not None and error.retry_after:
            until = now + min(error.retry_after, _LONGEST)
            if until > state.rests:
                state.rests, state.why = until, redact(str(error), 160)
                state.kind, state.status = error.kind or ("rate_limit" if error.status == 429 else None), error.status
        elif at_once or state.failures >= _FAILURES:
            state.until = max(state.until, now + cooldown)

    def forget(self, labels: Collection[str]) -> None:
        """What is known of the targets of these backends: they are others now."""
        for target in [name for name in self._states if name.partition("/")[0] in labels]:
            del self._states[target]

    def _state(self, target: str) -> _State:
        if target not in self._states and len(self._states) >= _TARGETS:
            del self._states[next(iter(self._states))]
        return self._states.setdefault(target, _State())
