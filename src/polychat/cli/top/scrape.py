"""What one look at ``/metrics`` says, from Prometheus' text format."""

from __future__ import annotations

import re
from math import inf
from typing import NamedTuple, Self, TypeVar

from ...errors import redact

_SAMPLE = re.compile(r"(polychat_\w{1,80}|process_cpu_seconds_total)(?:\{(.*)\})? (\S{1,40})(?: \S{1,40})?")
_LABEL = re.compile(r'(\w{1,40})="((?:[^"\\]|\\.)*)",?')
_ESCAPE = re.compile(r"\\(.)")
_NAME = 160
"""Characters of a label that are shown, at most."""
LARGEST = 1e18
"""No gateway counts further; sums of what is larger could be infinite."""


_Label = TypeVar("_Label")


class Sums(dict[_Label, float]):
    """Numbers by what they count; of what was not counted, 0."""

    def __missing__(self, label: _Label) -> float:
        return 0.0

    def since(self, before: Self) -> dict[_Label, float]:
        """How much more each is than it was."""
        return {label: number - before[label] for label, number in self.items()}


class TargetName(NamedTuple):
    route: str
    target: str


class Scrape:
    """The numbers of all workers at one moment. Counters begin with the gateway."""

    def __init__(self, at: float) -> None:
        self.at = at
        """In seconds of the clock of whoever looked."""
        self.version = ""
        self.workers = 0
        self.in_progress = 0
        self.verdicts = Sums[str]()
        """Requests by verdict; ``refused`` if no backend was called."""
        self.statuses = Sums[str]()
        self.tokens = Sums[str]()
        self.first = Sums[float]()
        """Streams by the upper bound of the time to their first token in seconds, each with all below it."""
        self.cost = self.dropped = self.unpriced = 0.0
        self.attempts = Sums[TargetName]()
        self.failures = Sums[TargetName]()
        self.states: dict[TargetName, Sums[str]] = {}
        """Workers by the state in which the target is."""
        self.at_target = Sums[str]()
        """Requests in progress by target."""
        self.keys: dict[str, float] = {}
        """The cost by key, where this is shown."""

    @property
    def requests(self) -> float:
        """How many ended."""
        return sum(self.verdicts.values())


def scrape_of(text: str, at: float) -> Scrape:
    """The samples that are known; others, and lines that cannot be read, are passed over."""
    scrape = Scrape(at)
    for line in text.split("\n"):
        if line[:1] not in "#" and (sample := _SAMPLE.fullmatch(line)) is not None:
            name, labels, value = sample.groups()
            take = _TAKERS.get(name)
            number = _number(value)
            if take is not None and number is not None:
                take(scrape, _labels(labels or ""), number)
    return scrape


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if -LARGEST <= number <= LARGEST else None


def _labels(text: str) -> dict[str, str]:
    return {label[1]: _unescaped(label[2]) for label in _LABEL.finditer(text)}


def _unescaped(text: str) -> str:
    if "\\" in text:
        text = _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], text)
    return redact(text, _NAME) if text else ""


def _requests(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.verdicts[labels.get("verdict") or "refused"] += number
    scrape.statuses[labels.get("status", "")] += number


def _tokens(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.tokens[labels.get("kind", "")] += number


def _first(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    bound = inf if labels.get("le") == "+Inf" else _number(labels.get("le", ""))
    if bound is not None:
        scrape.first[bound] += number


def _attempts(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    name = _target(labels)
    scrape.attempts[name] += number
    if labels.get("outcome") not in ("answered", "continued"):
        scrape.failures[name] += number


def _state(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.states.setdefault(_target(labels), Sums())[labels.get("state", "")] += round(number)


def _at_target(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.at_target[labels.get("target", "")] += round(number)


def _key_cost(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.keys[labels.get("key", "")] = number


def _in_progress(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.in_progress += round(number)


def _build(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.version = labels.get("version", "")


def _cost(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.cost += number


def _dropped(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.dropped += number


def _unpriced(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.unpriced += number


def _worker(scrape: Scrape, labels: dict[str, str], number: float) -> None:
    scrape.workers += 1


def _target(labels: dict[str, str]) -> TargetName:
    return TargetName(labels.get("route", ""), labels.get("target", ""))


_TAKERS = {
    "polychat_attempts_total": _attempts,
    "polychat_build_info": _build,
    "polychat_cost_usd_total": _cost,
    "polychat_fields_dropped_total": _dropped,
    "polychat_key_cost_usd_total": _key_cost,
    "polychat_replies_unpriced_total": _unpriced,
    "polychat_requests_in_progress": _in_progress,
    "polychat_requests_total": _requests,
    "polychat_target_requests_in_progress": _at_target,
    "polychat_target_state": _state,
    "polychat_time_to_first_token_seconds_bucket": _first,
    "polychat_tokens_total": _tokens,
    "process_cpu_seconds_total": _worker,
}
