"""Prometheus' text as ``polychat top`` reads it."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from polychat.cli.top.rates import MetricsHistory, quantile
from polychat.cli.top.scrape import Scrape, TargetName, scrape_of

from ...support.running_gateway import asking, configured, gateway, good, row

HOSTILE = [
    *("", "#", "polychat_", "polychat_requests_total", "polychat_requests_total{", "polychat_requests_total} 1"),
    'polychat_requests_total{verdict="complete"} NaN',
    'polychat_requests_total{verdict="complete"} 1 2 3',
    'polychat_requests_total{verdict="complete"} many',
    'polychat_time_to_first_token_seconds_bucket{le="wide"} 3',
    "polychat_requests_in_progress inf",
]
"""Lines that say nothing."""


async def test_the_metrics_of_a_gateway_are_read(serve: Any) -> None:
    """What a scrape says is what was asked: requests by verdict and status, tokens, times to the first token, attempts."""
    server = await serve(good)
    providers = {"house": row("openai-chat", server.url)}
    async with gateway(configured(providers, routes={"fast": ("house/small",)})) as running:
        for stream in (False, True):
            path, body = asking("openai-chat", "fast", stream=stream, stream_options={"include_usage": True})
            assert (await running.ask(path, body)).status == 200
        assert (await running.ask(*asking("openai-chat", "nobody/x"))).status == 404
        await running.app.recorded(3)
        scrape = scrape_of((await running.ask("/metrics")).body.decode(), 7.0)
    name = TargetName("fast", "house/small")
    assert (scrape.verdicts, scrape.statuses) == ({"complete": 2, "refused": 1}, {"200": 2, "404": 1})
    assert (scrape.tokens["prompt"], scrape.tokens["completion"]) == (6, 4)
    assert (scrape.first[inf], scrape.requests, scrape.at) == (1, 3, 7.0)
    assert (scrape.attempts, scrape.failures) == ({name: 2}, {})
    assert (scrape.workers, bool(scrape.version), scrape.states[name]["closed"]) == (1, True, 1)


def test_lines_that_cannot_be_read_say_nothing() -> None:
    """Whatever stands in a page that is none of ours; and what a label would do to the terminal is inert."""
    scrape = scrape_of("\n".join([*HOSTILE, 'polychat_attempts_total{target="a\\"\\\\\\n\x1b[2J"} 2']), 0.0)
    assert vars(scrape) == {**vars(Scrape(0.0)), "attempts": scrape.attempts, "failures": scrape.failures}
    (name,) = scrape.attempts
    assert name.target == 'a"\\ \ufffd[2J'


@pytest.mark.parametrize(
    ("share", "counts", "seconds"),
    [
        (0.5, {}, None),
        (0.5, {0.1: 0, 1.0: 0, inf: 0}, None),
        (0.5, {0.1: 0, 1.0: 10, inf: 10}, 0.55),
        (0.95, {0.1: 90, 1.0: 100, inf: 100}, 0.55),
        (1.0, {0.1: 90, 1.0: 100, inf: 100}, 1.0),
        (0.95, {0.1: 1, 1.0: 2, inf: 100}, inf),
    ],
)
def test_a_quantile_is_found_within_its_bucket(share: float, counts: dict[float, float], seconds: float | None) -> None:
    """In proportion; of nothing there is none, and beyond the last bound it is infinite."""
    found = quantile(share, counts)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


def test_rates_are_of_the_last_seconds_and_verdicts_of_the_last_minute() -> None:
    """A gateway that began anew counts from there, and no rate is ever negative."""
    history = MetricsHistory()
    assert history.rates() is None
    for second in range(0, 121, 2):
        scrape = Scrape(float(second))
        scrape.verdicts["complete"], scrape.first[0.1], scrape.first[inf] = second * 3, second, second
        history.add(scrape)
    rates = history.rates()
    assert rates is not None
    assert (rates.seconds, rates.requests, rates.verdicts) == (60.0, 3.0, {"complete": 180})
    assert rates.p50 == pytest.approx(0.05)
    history.add(Scrape(122.0))
    began_anew = history.rates()
    assert began_anew is not None
    assert (began_anew.seconds, began_anew.requests, began_anew.verdicts, began_anew.p50) == (0.0, 0.0, {}, None)
