"""What is known of a gateway now: its pages, read again and again, each no oftener than it should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote

from ...errors import PolychatError, redact
from ..key_labels import key_labels
from .pages import GatewayPages, PageRefused
from .rates import GatewayRates, MetricsHistory
from .scrape import LARGEST, TargetName, scrape_of

LISTED = 100
"""Requests in progress that are read at once."""
_USAGE_EVERY = 15.0
_REFUSED_EVERY = 30.0
"""Seconds until a page that was refused is read again."""
_NAME = 120


class TargetRow(NamedTuple):
    """A target of a route."""

    route: str
    target: str
    state: str
    """With several workers, the one that most of those have that differ from ``closed``, and how many have it."""
    reason: str
    seconds: float
    """Until it is called again."""
    in_flight: int
    queued: int
    first: float | None
    """Seconds to its first token."""
    rate: float
    """Attempts a second."""
    failed: int
    """Attempts of the last minute that failed."""


class RunningRow(NamedTuple):
    """A request in progress."""

    request_id: str
    model: str
    route: str
    target: str
    key: str
    state: str
    age: float
    first: float | None
    tokens: int | None


class Spend(NamedTuple):
    """What was spent today, and by which names, the largest first."""

    total: float
    by: str
    """``person`` or ``key``."""
    names: list[tuple[str, float]]
    unpriced: int
    """Requests without a price, which the sums leave out."""


@dataclass
class Watched:
    """What is shown. Of each part that cannot be read, ``problems`` says why; what was read before stays."""

    url: str
    rates: GatewayRates | None = None
    version: str = ""
    workers: int = 0
    in_flight: int = 0
    cost: float = 0.0
    """Since the gateway began, as far as prices are known."""
    targets: list[TargetRow] = field(default_factory=list)
    running: list[RunningRow] = field(default_factory=list)
    running_total: int = 0
    spend: Spend | None = None
    problems: dict[str, str] = field(default_factory=dict)
    """By part: ``metrics``, ``targets``, ``running``, ``spend``."""
    lost: str = ""
    """Why the gateway does not answer; empty while it does."""
    answered_at: float | None = None
    """When it answered last, in seconds of the watcher's clock."""

    @property
    def is_readable(self) -> bool:
        """Whether any part could be read."""
        return len(self.problems) < len(_PARTS)


_PARTS = ("metrics", "targets", "running", "spend")


class Watcher:
    """Reads the pages of one gateway into ``seen``."""

    def __init__(
        self, pages: GatewayPages, clock: Callable[[], float] = monotonic, today: Callable[[], str] | None = None
    ) -> None:
        self.seen = Watched(pages.url)
        self._pages, self._clock, self._today = pages, clock, today or _today
        self._history = MetricsHistory()
        self._not_before = dict.fromkeys(_PARTS, 0.0)

    async def look(self, text: str = "") -> float:
        """Read what is due; gives the seconds that the gateway took. ``text`` is part of a name of each request listed."""
        begin = self._clock()
        try:
            await self._read("metrics", self._metrics)
            await self._read("targets", self._targets)
            await self._read("running", self._running, text)
            await self._read("spend", self._spend)
        except PolychatError as error:
            self.seen.lost = redact(str(error), 200)
        else:
            self.seen.lost = ""
            self.seen.answered_at = self._clock()
        return self._clock() - begin

    async def _read(self, part: str, read: Callable[..., Any], *arguments: str) -> None:
        if self._clock() < self._not_before[part]:
            return
        try:
            await read(*arguments)
        except PageRefused as error:
            self.seen.problems[part] = str(error)
            self._not_before[part] = self._clock() + _REFUSED_EVERY
        else:
            self.seen.problems.pop(part, None)

    async def _metrics(self) -> None:
        text = await self._pages.metrics()
        scrape = scrape_of(text, self._clock())
        if not scrape.version:
            raise PageRefused("/metrics is not of a gateway of polychat")
        self._history.add(scrape)
        seen = self.seen
        seen.rates, seen.cost = self._history.rates(), scrape.cost
        seen.version, seen.workers, seen.in_flight = scrape.version, scrape.workers, scrape.in_progress
        if "targets" in seen.problems:
            names = dict.fromkeys([*scrape.states, *(name for name in scrape.attempts if name.target)])
            seen.targets = [self._row({"route": name.route, "target": name.target}) for name in names]

    async def _targets(self) -> None:
        entries = (await self._pages.admin("targets", "targets"))["targets"]
        self.seen.targets = [self._row(entry) for entry in _dicts(entries)]

    async def _running(self, text: str) -> None:
        wanted = f"&contains={quote(text)}" if text else ""
        page = await self._pages.admin(f"running?limit={LISTED}{wanted}", "requests")
        entries = _dicts(page["requests"])
        keys = key_labels([(_text(entry, "key"), _text(entry, "key_name")) for entry in entries])
        self.seen.running = [_running_row(entry, key) for entry, key in zip(entries, keys, strict=True)]
        self.seen.running_total = round(_number(page.get("total")) or 0)

    async def _spend(self) -> None:
        since = self._today()
        by, rows = "person", _dicts((await self._pages.admin(f"usage?by=person&since={since}", "usage"))["usage"])
        if not any(row.get("name") for row in rows):
            by, rows = "key", _dicts((await self._pages.admin(f"usage?by=key&since={since}", "usage"))["usage"])
        shown = key_labels([(_text(row, "name"), _text(row, "key_name")) for row in rows])
        names = sorted(zip(shown, (_number(row.get("cost_usd")) or 0.0 for row in rows), strict=True), key=lambda one: -one[1])
        unpriced = sum(round(_number(row.get("unpriced")) or 0) for row in rows)
        self.seen.spend = Spend(sum(cost for _, cost in names), by, names, unpriced)
        self._not_before["spend"] = self._clock() + _USAGE_EVERY

    def _row(self, entry: dict[str, Any]) -> TargetRow:
        """Of an entry of ``/admin/targets``, which is of one worker, and of the metrics, which are of all."""
        name = TargetName(_text(entry, "route"), _text(entry, "target"))
        scrape, rates = self._history.latest, self.seen.rates
        state, in_flight = _text(entry, "state"), round(_number(entry.get("in_flight")) or 0)
        if scrape is not None:
            state = _of_all(scrape.states.get(name, {}), scrape.workers) or state
            in_flight = round(scrape.at_target.get(name.target, in_flight))
        return TargetRow(
            *name,
            state or "closed",
            _text(entry, "reason") or _text(entry, "error"),
            _number(entry.get("seconds")) or 0.0,
            in_flight,
            round(_number(entry.get("queued")) or 0),
            _number(entry.get("time_to_first_token")),
            0.0 if rates is None else rates.attempts.get(name, 0.0),
            0 if rates is None else rates.failures.get(name, 0),
        )


def _of_all(states: dict[str, float], workers: int) -> str:
    """The state over all workers; empty where nothing is known."""
    if not states:
        return ""
    others = [(count, state) for state, count in states.items() if state != "closed" and count]
    if not others:
        return "closed"
    count, state = max(others)
    return state if workers < 2 else f"{state} {count:.0f}/{workers}"


def _running_row(entry: dict[str, Any], key: str) -> RunningRow:
    age, first, tokens = (_number(entry.get(name)) for name in ("age_ms", "time_to_first_token_ms", "tokens"))
    return RunningRow(
        request_id=_text(entry, "request_id"),
        model=_text(entry, "model"),
        route=_text(entry, "route"),
        target=_text(entry, "target"),
        key=key,
        state=_text(entry, "state"),
        age=(age or 0.0) / 1000,
        first=None if first is None else first / 1000,
        tokens=None if tokens is None else round(tokens),
    )


def _dicts(values: list[Any]) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)]


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    return redact(value, _NAME) if isinstance(value, str) and value else ""


def _number(value: object) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST:
        return float(value)
    return None


def _today() -> str:
    return str(datetime.now(UTC).date())
