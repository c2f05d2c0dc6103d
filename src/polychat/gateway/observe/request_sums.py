"""What requests of one kind took together: most requests are usual, and each is counted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from .record import RequestFacts


class RequestSums:
    """Seconds, tokens and US dollars of some requests of one kind; ``within`` gets a count of each duration by its place in
    ``bounds``. Durations are of those for which a backend was called, and a price is missing where one answered.
    """

    __slots__ = ("cached", "completion", "cost", "prompt", "seconds", "unpriced")

    def __init__(self, requests: Sequence[RequestFacts], within: list[int], bounds: Sequence[float]) -> None:
        prompt, completion, cached, unpriced, seconds, dollars = 0, 0, 0, 0, 0.0, 0.0
        was_called, was_answered = requests[0][0].common.verdict is not None, requests[0][4] is not None
        if not was_called:
            within = [0] * len(within)
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
        self.seconds, self.cost, self.unpriced = seconds if was_called else 0.0, dollars, unpriced if was_answered else 0
        self.prompt, self.completion, self.cached = prompt, completion, cached
