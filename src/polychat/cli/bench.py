"""``polychat bench``: how fast a target answers, and how reliably."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from ..client import Stream
from ..client.calls import stream_of
from ..client.targets import targets_of, user_targets
from ..errors import BadInput, PolychatError, redact
from ..events import Reasoning, Text
from . import ANSWERED, FAILED, print_json
from .connection import connection_options

MOST_REQUESTS, MOST_TOGETHER = 10_000, 500
_PERCENTILES = (50, 90, 99)


@dataclass(slots=True)
class BenchResult:
    """One request. Times are seconds since it was sent."""

    first: float | None = None
    """When its first text or reasoning arrived; ``None`` if none did."""
    last: float | None = None
    """When the last did."""
    total: float = 0.0
    tokens: int | None = None
    """Tokens of the reply, reasoning included."""
    is_estimated: bool = False
    """Whether the tokens are estimated, as the backend did not count."""
    error: str = ""
    """What went wrong; empty for a complete reply."""

    @property
    def rate(self) -> float | None:
        """Tokens a second after the first; ``None`` where the reply came at once."""
        if self.tokens is None or self.first is None or self.last is None or self.last <= self.first:
            return None
        return (self.tokens - 1) / (self.last - self.first)


def run(arguments: argparse.Namespace) -> int:
    """Send the requests and print what was measured; 0 where each got a complete reply."""
    _check(arguments)
    targets = user_targets() if arguments.config is None else targets_of(arguments.config)
    options = {**connection_options(arguments), "max_tokens": arguments.max_tokens}

    def asked(number: int) -> Stream[Any]:
        # No two prompts are the same: a cache of replies would answer.
        return stream_of(targets, f"{number}. {arguments.prompt}", arguments.target, None, dict(options))

    begin = perf_counter()
    measured = asyncio.run(measured_by(asked, arguments.requests, arguments.concurrency))
    seconds = perf_counter() - begin
    if arguments.json:
        print_json([asdict(one) | {"tokens_per_second": one.rate} for one in measured], indent=2)
    else:
        print("\n".join(_report(arguments, measured, seconds)))
    return FAILED if any(one.error for one in measured) else ANSWERED


def _check(arguments: argparse.Namespace) -> None:
    for name, most in (("requests", MOST_REQUESTS), ("concurrency", MOST_TOGETHER), ("max_tokens", 1_000_000)):
        if not 1 <= (value := getattr(arguments, name)) <= most:
            raise BadInput(f"--{name.replace('_', '-')} is {value:,}; it must be between 1 and {most:,}", field=name)


async def measured_by(asked: Callable[[int], Stream[Any]], requests: int, concurrency: int) -> list[BenchResult]:
    """Each of so many requests, of which so many run at a time, in the order of their end. Raises ``BadInput``."""
    numbers = iter(range(1, requests + 1))
    measured: list[BenchResult] = []

    async def one_after_another() -> None:
        for number in numbers:
            result = await _measured(asked(number))
            measured.append(result)

    await asyncio.gather(*(one_after_another() for _ in range(min(requests, concurrency))))
    return measured


async def _measured(reply: Stream[Any]) -> BenchResult:
    result, begin = BenchResult(), perf_counter()
    try:
        async with reply:
            async for events in reply.events():
                if any(isinstance(event, (Text, Reasoning)) for event in events):
                    result.last = perf_counter() - begin
                    result.first = result.last if result.first is None else result.first
    except BadInput:
        raise
    except PolychatError as error:
        result.error = f"{type(error).__name__}: {redact(str(error), 300)}"
    else:
        if (usage := reply.reply().usage) is not None:
            result.tokens, result.is_estimated = usage.completion_tokens, usage.estimated
    result.total = perf_counter() - begin
    return result


def _report(arguments: argparse.Namespace, measured: Sequence[BenchResult], seconds: float) -> Iterator[str]:
    """Lines for a terminal."""
    complete = [one for one in measured if not one.error]
    together = f", {arguments.concurrency} at a time" if arguments.concurrency > 1 else ""
    yield f"{arguments.target}: {len(measured)} requests{together}, {len(complete)} complete, in {_time(seconds)}"
    rows = [
        ("time to first token", [one.first for one in complete if one.first is not None], _time),
        ("whole reply", [one.total for one in complete], _time),
        # By -rate: as of the times, the 99th is worse than the 50th.
        ("tokens a second", [-one.rate for one in complete if one.rate is not None], lambda rate: f"{-rate:.1f}"),
    ]
    if complete:
        yield "\n" + " " * 20 + "".join(f"p{share}".rjust(11) for share in _PERCENTILES)
    for title, values, shown in rows:
        if values:
            yield f"{title:<20}" + "".join(f"{shown(percentile(values, share)):>11}" for share in _PERCENTILES)
    tokens = sum(one.tokens or 0 for one in complete)
    if tokens:
        estimated = " (estimated: the backend did not count)" if any(one.is_estimated for one in complete) else ""
        yield f"\n{tokens:,} tokens, {tokens / seconds:,.1f} a second altogether{estimated}"
    for error, count in Counter(one.error for one in measured if one.error).most_common(10):
        yield f"\n{count} failed: {error}"


def percentile(values: Sequence[float], share: int) -> float:
    """The smallest value that ``share`` per cent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
