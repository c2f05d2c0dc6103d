"""The metrics in Prometheus' formats. This module loads the Prometheus client, so it is imported at the first scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args

from ...errors import MissingPackage, redact
from ...version import __version__
from ..webhook import Outcome
from .attempts import Attempt, AttemptCounts
from .key_counts import KeyCounts
from .metrics import BOUNDS, LabelledNumbers, Labels, Named, Numbers, Snapshot, events_of, total
from .route_states import STATES, RouteStates
from .shadows import ShadowCounts, ShadowLabels, ShadowNumbers

try:
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingPackage(error.name or "prometheus-client", extra="gateway", purpose="/metrics") from None


class View(Collector):
    """Snapshots of all workers as Prometheus metric families."""

    def __init__(self, snapshots: list[Snapshot], broken: int, *, shows_keys: bool = True) -> None:
        """``shows_keys``: what each client's key used, which other clients must not read."""
        living = [snapshot for snapshot in snapshots if snapshot.is_living]
        self._table, self._broken = total(snapshots), broken
        self._attempts = AttemptCounts.total(snapshot.attempts for snapshot in snapshots)
        self._shadows = ShadowCounts.total(snapshot.shadows for snapshot in snapshots)
        self._running = sum(snapshot.running for snapshot in living)
        self._pids = [snapshot.pid for snapshot in living]
        self._states = [snapshot.states for snapshot in living]
        self._keys = KeyCounts.total(snapshot.keys for snapshot in snapshots if shows_keys)
        self._events = events_of(snapshots)
        self._config_refused = sum(snapshot.config_refused for snapshot in living)
        self._stores_away = [snapshot.stores_away for snapshot in living]

    def rendered(self, accept: str) -> tuple[bytes, str]:
        """The body in the format that ``accept`` prefers, and its content type. Takes 0.3 ms for each set of labels."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        encoder, content_type = choose_encoder(accept)
        return encoder(registry), content_type

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("polychat_build", "The version of polychat that this gateway runs.", {"version": __version__})
        yield GaugeMetricFamily("polychat_requests_in_progress", "Requests in progress now.", self._running)
        unread = "Snapshot files of workers that cannot be read; their counts are missing here."
        yield GaugeMetricFamily("polychat_worker_snapshots_unreadable", unread, self._broken)
        yield from _requests(self._table)
        yield from _by_names(self._table)
        yield _attempts(self._attempts)
        yield from _states(self._states)
        yield from _shadows(self._shadows)
        yield from _keys(self._keys)
        yield from _stores_away(self._stores_away)
        yield from _events(self._events)
        refused = "Workers whose configuration file was refused at the last start or reload: an earlier one is in force."
        yield GaugeMetricFamily("polychat_config_refused", refused, self._config_refused)
        yield from _processes(self._pids)


def _requests(table: LabelledNumbers) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "polychat_requests", "Requests that ended, whether answered, refused or failed.", labels=Labels._fields
    )
    for of, numbers in table.items():
        family.add_metric(of, numbers.requests)
    yield family


def _attempts(counts: AttemptCounts) -> Metric:
    about = "Requests sent to targets, by outcome: answered, continued (a reply of another target), or the kind of failure."
    family = CounterMetricFamily("polychat_attempts", about, labels=Attempt._fields)
    for attempt, count in counts.items():
        family.add_metric(attempt, count)
    return family


def _states(workers: list[RouteStates]) -> Iterator[Metric]:
    """Of all workers together: each has breakers and budgets of its own."""
    yield _breakers(workers)
    yield from _loads(workers)
    left = GaugeMetricFamily(
        "polychat_retries_left", "Retries that a route's budget allows now, over all workers.", labels=("route",)
    )
    retries: dict[str, float] = {}
    for worker in workers:
        for route, number in worker.retries_left.items():
            retries[route] = retries.get(route, 0.0) + number
    for route, number in retries.items():
        left.add_metric((redact(route, 120),), number)
    yield left


def _breakers(workers: list[RouteStates]) -> Metric:
    state = GaugeMetricFamily(
        "polychat_target_state", "Workers in which a route's target is in this state.", labels=("route", "target", "state")
    )
    counts = Counter((target.route, target.target, target.state) for worker in workers for target in worker.targets)
    for route, name in dict.fromkeys((route, name) for route, name, _ in counts):
        for word in STATES:
            state.add_metric((redact(route, 120), redact(name, 120), word), counts[route, name, word])
    return state


def _loads(workers: list[RouteStates]) -> Iterator[Metric]:
    """Requests of each target: in progress, allowed at once, and waiting."""
    running, limits, waiting = Counter[str](), Counter[str](), Counter[str]()
    for worker in workers:
        limited = [target for target in worker.targets if target.limit]
        running.update({target.target: target.in_flight for target in worker.targets})  # of all routes in each of them
        limits.update({target.target: target.limit for target in limited})
        waiting.update({target.target: target.queued for target in limited})
    for name, about, numbers in (
        ("polychat_target_requests_in_progress", "Requests in progress at a target.", running),
        ("polychat_target_requests_limit", "Maximum number of concurrent requests of a target, over all workers.", limits),
        ("polychat_target_requests_queued", "Requests waiting for a target.", waiting),
    ):
        family = GaugeMetricFamily(name, about, labels=("target",))
        for target, count in numbers.items():
            family.add_metric((redact(target, 120),), count)
        yield family


def _shadows(counts: ShadowCounts) -> Iterator[Metric]:
    """Only where requests are mirrored."""
    if not counts:
        return
    requests = CounterMetricFamily(
        "polychat_mirrored_requests",
        "Requests that were also sent to a route's shadow, by the verdicts of the answer and of the shadow.",
        labels=ShadowLabels._fields,
    )
    names = ("route", "target", "role")
    seconds = CounterMetricFamily("polychat_mirrored_seconds", "Duration of mirrored requests in seconds.", labels=names)
    cost = CounterMetricFamily("polychat_mirrored_cost_usd", "Known cost of mirrored requests in US dollars.", labels=names)
    sums: dict[tuple[str, str, str], ShadowNumbers] = {}
    for labels, numbers in counts.items():
        requests.add_metric(labels, numbers.requests)
        sums.setdefault((labels.route, labels.target, labels.role), ShadowNumbers()).add(numbers)
    for names_of, numbers in sums.items():
        seconds.add_metric(names_of, numbers.seconds)
        cost.add_metric(names_of, numbers.cost)
    yield from (requests, seconds, cost)


def _keys(counts: KeyCounts) -> Iterator[Metric]:
    """Only where requests have keys."""
    if not counts:
        return
    requests = CounterMetricFamily("polychat_key_requests", "Requests with a client's key that ended.", labels=("key",))
    refused = CounterMetricFamily("polychat_key_requests_limited", "Of these, those answered with 429.", labels=("key",))
    tokens = CounterMetricFamily(
        "polychat_key_tokens", "Tokens that requests with a client's key used.", labels=("key", "kind")
    )
    cost = CounterMetricFamily(
        "polychat_key_cost_usd", "Known cost of requests with a client's key in US dollars.", labels=("key",)
    )
    for key, numbers in counts.items():
        requests.add_metric((key,), numbers.requests)
        refused.add_metric((key,), numbers.refused)
        tokens.add_metric((key, "prompt"), numbers.prompt)
        tokens.add_metric((key, "completion"), numbers.completion)
        cost.add_metric((key,), numbers.cost)
    yield from (requests, refused, tokens, cost)


def _stores_away(workers: list[dict[str, bool]]) -> Iterator[Metric]:
    """Only where limits are shared."""
    family = GaugeMetricFamily(
        "polychat_limits_store_away",
        "Workers that cannot reach a store of shared limits, and apply their share of these limits.",
        labels=("store",),
    )
    for name in dict.fromkeys(name for worker in workers for name in worker):
        family.add_metric((name,), sum(worker.get(name, False) for worker in workers))
    if family.samples:
        yield family


def _events(counts: Mapping[str, int]) -> Iterator[Metric]:
    """Only where limits are counted."""
    if not counts:
        return
    about = "Soft limits that were passed, each once in its window or hour."
    yield CounterMetricFamily("polychat_limit_warnings", about, counts.get("limit_warnings", 0))
    about = "Events for the webhook, by outcome: sent, failed, or dropped as too many waited or the gateway ended."
    webhook = CounterMetricFamily("polychat_webhook_events", about, labels=("outcome",))
    for outcome in get_args(Outcome):
        webhook.add_metric((outcome,), counts.get(f"webhook_{outcome}", 0))
    yield webhook


_SUMS = {
    "polychat_cost_usd": ("cost", "Cost of replies in US dollars, where the price is known."),
    "polychat_replies_unpriced": ("unpriced", "Replies without a known price, which polychat_cost_usd_total does not include."),
    "polychat_fields_dropped": ("fields_dropped", "Request fields that the backend does not support and that were dropped."),
}
_KINDS = ("prompt", "completion", "cached")


def _by_names(table: LabelledNumbers) -> Iterator[Metric]:
    """Everything but the number of requests has fewer labels: there are many numbers to it."""
    sums: dict[Named, Numbers] = {}
    for of, numbers in table.items():
        sums.setdefault(Named(of.route, of.provider, of.model), Numbers()).add(numbers)
    took = HistogramMetricFamily(
        "polychat_request_duration_seconds", "Time from the request's headers to the end of the reply.", labels=Named._fields
    )
    first = HistogramMetricFamily(
        "polychat_time_to_first_token_seconds",
        "Time from the request's headers to the first event of a streamed reply.",
        labels=Named._fields,
    )
    tokens = CounterMetricFamily(
        "polychat_tokens", "Tokens of prompts and completions, as the backends count them.", labels=(*Named._fields, "kind")
    )
    counters = {name: CounterMetricFamily(name, about, labels=Named._fields) for name, (_, about) in _SUMS.items()}
    for names, numbers in sums.items():
        if any(numbers.within):
            took.add_metric(names, _buckets(numbers.within), numbers.seconds)
        if numbers.streams:
            first.add_metric(names, _buckets(numbers.first_within), numbers.first_seconds)
        if numbers.prompt or numbers.completion:
            for kind in _KINDS:
                tokens.add_metric((*names, kind), getattr(numbers, kind))
        for name, (counted, _) in _SUMS.items():
            counters[name].add_metric(names, getattr(numbers, counted))
    yield from (took, first, tokens, *counters.values())


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Each with all below it, as Prometheus has it."""
    buckets, below = [], 0
    for bound, count in zip((*map(repr, BOUNDS), "+Inf"), counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets


def _processes(pids: Iterable[int]) -> Iterator[Metric]:
    """The values of each worker, as the operating system reports them."""
    families: dict[str, Any] = {}
    for pid in pids:
        for metric in ProcessCollector(pid=_always(pid), registry=None).collect():
            for sample in metric.samples:
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                family.add_sample(sample.name, {"worker": str(pid)}, sample.value)
    yield from families.values()


def _always(pid: int) -> Callable[[], int]:
    return lambda: pid
