"""What usual requests of one kind took together: each is counted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from .record import UsualRequest


class UsualSums:
    """Seconds, tokens and US dollars of some requests; ``within`` gets a count of each duration by its place in ``bounds``."""

    __slots__ = ("cached", "completion", "cost", "prompt", "seconds", "unpriced")

    def __init__(self, requests: Sequence[UsualRequest], within: list[int], bounds: Sequence[float]) -> None:
        prompt, completion, cached, unpriced, seconds, dollars = 0, 0, 0, 0, 0.0, 0.0
        for _, _, start, _, _, over, usage, cost in requests:
            took = over - start
            seconds += took
            within[bisect_left(bounds, took)] += 1
            if usage is not None:
                prompt += usage.prompt_tokens or 0
                completion += usage.completion_tokens or 0
                if usage.cached_tokens:
                    cached += usage.cached_tokens
            if cost is not None:
                dollars += cost
            else:
                unpriced += 1
        self.seconds, self.cost, self.unpriced = seconds, dollars, unpriced
        self.prompt, self.completion, self.cached = prompt, completion, cached
