"""What ``polychat top`` shows, as lines of any width and height, from what is known of a gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isinf
from typing import Generic, Literal, NamedTuple, TypeAlias

from ..text_width import fitted, width_of
from .rates import GatewayRates
from .tables import Column, Line, R, sorted_rows, table_lines
from .watching import RunningRow, TargetRow, Watched

PaneName: TypeAlias = Literal["targets", "running"]
PANES: tuple[PaneName, ...] = ("targets", "running")
_LEAST = 4
"""Lines of the tables that a small terminal has at least, before all that is said above them."""
_NAMES = 5
"""People or keys whose spend is shown."""


@dataclass
class PaneView:
    """What a person chose for one pane."""

    sort: int = 0
    """The column."""
    is_reversed: bool = False
    top: int = 0
    """The first row that is shown."""


@dataclass
class ScreenView:
    """What a person chose."""

    panes: dict[PaneName, PaneView] = field(
        default_factory=lambda: {"targets": PaneView(sort=-1), "running": PaneView(is_reversed=True)}
    )
    focus: PaneName = "running"
    text: str = ""
    """Part of a name of each row that is shown."""
    is_typing: bool = False
    """Whether keys go to ``text``."""
    is_paused: bool = False
    is_help: bool = False


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if isinf(seconds):
        return ">600 s"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _rate(number: float) -> str:
    return f"{number:,.1f}" if number < 100 else f"{number:,.0f}"


_STATES = {"closed": "good", "half-open": "warning", "resting": "warning", "unlisted": "warning"}
"""The style of each; of others, ``bad``."""


def _state_style(row: TargetRow) -> str:
    return _STATES.get(row.state.partition(" ")[0], "bad")


def _route(row: TargetRow) -> str:
    return row.route or "-"


def _tokens(row: RunningRow) -> str:
    return "-" if row.tokens is None else f"{row.tokens:,}"


def _why(row: TargetRow) -> str:
    return f"{row.seconds:.0f} s: {row.reason}" if row.seconds else row.reason


TARGETS: Sequence[Column[TargetRow]] = (
    Column("TARGET", lambda row: row.target, lambda row: row.target, 14, 0, grows=True),
    Column(
        "ROUTE", lambda row: row.route or "-", lambda row: row.route, 6, 5, grows=True, is_needed=lambda row: bool(row.route)
    ),
    Column("STATE", lambda row: row.state, lambda row: row.state, 9, 1, grows=True, style=_state_style),
    Column("RUN", lambda row: f"{row.in_flight:,}", lambda row: row.in_flight, 5, 2),
    Column("WAIT", lambda row: f"{row.queued:,}", lambda row: row.queued, 4, 7, is_needed=lambda row: bool(row.queued)),
    Column("REQ/S", lambda row: _rate(row.rate), lambda row: row.rate, 6, 6),
    Column("FAIL", lambda row: f"{row.failed:,}", lambda row: row.failed, 5, 4, style=lambda row: "bad" if row.failed else ""),
    Column("FIRST", lambda row: _seconds(row.first), lambda row: row.first, 7, 8),
    Column("REASON", _why, lambda row: row.reason, 14, 3, grows=True, is_needed=lambda row: bool(row.reason)),
)
RUNNING: Sequence[Column[RunningRow]] = (
    Column("AGE", lambda row: _seconds(row.age), lambda row: row.age, 7, 0),
    Column("STATE", lambda row: row.state, lambda row: row.state, 9, 3, grows=True),
    Column("MODEL", lambda row: row.model or "-", lambda row: row.model, 10, 1, grows=True),
    Column("TARGET", lambda row: row.target or "-", lambda row: row.target, 10, 2, grows=True),
    Column("KEY", lambda row: row.key or "-", lambda row: row.key, 6, 4, grows=True, is_needed=lambda row: bool(row.key)),
    Column("FIRST", lambda row: _seconds(row.first), lambda row: row.first, 7, 6),
    Column("TOKENS", _tokens, lambda row: row.tokens, 7, 5, is_needed=lambda row: bool(row.tokens)),
    Column("ID", lambda row: row.request_id, lambda row: row.request_id, 20, 7, grows=True),
)
HELP = (
    "q, Ctrl-C        leave",
    "p                pause, and go on",
    "s, r             sort by the next column; reverse the order",
    "Tab              the other table: sorting and moving go to it",
    "up, down, PageUp, PageDown, Home, End   move in the table",
    "/                show rows with this text in a name; Enter keeps it, Esc removes it",
    "h, ?             this help",
    "",
    "Rates are of the last 10 seconds, verdicts and times to the first token of the last minute.",
    "Tokens are counted when a request ends; TOKENS of a running request is an estimate, known of keys with limits.",
    "With several workers, FIRST is of one of them, and so is all that is known of targets without a route.",
)


def screen(seen: Watched, view: ScreenView, now: float, clock: str, width: int, height: int) -> list[Line]:
    """As many lines as the terminal has, at most. ``now`` is in the watcher's clock, ``clock`` the time of day."""
    foot = [_foot(view, width)]
    head = [*_head(seen, view, now, clock, width)][: max(1, height - len(foot) - min(_LEAST, height // 2))]
    room = max(0, height - len(head) - len(foot))
    if view.is_help:
        body: list[Line] = [[("", fitted(line, width))] for line in ("", *HELP)][:room]
    else:
        targets = min(2 + len(_found(seen, view, "targets")), max(2, room // 2))
        body = [*_pane(seen, view, "targets", width, targets), *_pane(seen, view, "running", width, room - targets)]
    body = [*body[:room], *([("", "")] for _ in range(room - len(body)))]
    return [_clipped(line, width) for line in [*head, *body, *foot][:height]]


def _clipped(line: Line, width: int) -> Line:
    clipped: Line = []
    for style, text in line:
        columns = width_of(text)
        if columns > width:
            return [*clipped, (style, fitted(text.rstrip(), min(width, width_of(text.rstrip()))))]
        clipped.append((style, text))
        width -= columns
    return clipped


def text_of(seen: Watched, clock: str, width: int) -> str:
    """All of it as plain text."""
    view, rows = ScreenView(), 2 + len(seen.targets) + len(seen.running)
    lines = [*_head(seen, view, seen.answered_at or 0.0, clock, width)]
    for name in PANES:
        lines += [[("", "")], *_pane(seen, view, name, width, rows)]
    return "".join("".join(text for _, text in line).rstrip() + "\n" for line in lines)


def _head(seen: Watched, view: ScreenView, now: float, clock: str, width: int) -> Iterator[Line]:
    workers = f", {seen.workers} workers" if seen.workers > 1 else ""
    version = f"  {seen.version}{workers}" if seen.version else ""
    right = f"paused  {clock}" if view.is_paused else clock
    title = fitted(f"polychat top  {seen.url}{version}", max(0, width - len(right) - 1))
    yield [("title", f"{title} {right}")]
    if seen.lost:
        age = "no answer yet" if seen.answered_at is None else f"no answer for {_age(now - seen.answered_at)}"
        yield from _flowing(iter([("bad", age), *(("bad", part) for part in seen.lost.split(". "))]), width)
    yield from _flowing(_facts(seen), width)


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _facts(seen: Watched) -> Iterator[tuple[str, str]]:
    """Each with a style; those of one kind follow each other."""
    rates = seen.rates
    if rates is None:
        yield "dim", f"no rates: {seen.problems.get('metrics', 'not read yet')}"
    else:
        yield "", f"in flight {seen.in_flight:,}"
        yield "", f"requests {_rate(rates.requests)}/s"
        yield "", f"tokens {_rate(rates.prompt_tokens)}/s in, {_rate(rates.completion_tokens)}/s out"
        yield "", f"first token p50 {_seconds(rates.p50)}, p95 {_seconds(rates.p95)}"
        yield from _verdicts(rates)
    yield from _spend(seen)


def _verdicts(rates: GatewayRates) -> Iterator[tuple[str, str]]:
    styles = {"complete": "good", "failed": "bad", "truncated": "bad"}
    for verdict, number in sorted(rates.verdicts.items(), key=lambda one: -one[1]):
        yield styles.get(verdict, "warning"), f"{number:,} {verdict}"
    if limited := rates.statuses.get("429", 0):
        yield "warning", f"{limited:,} at a limit (429)"
    if rates.dropped:
        yield "warning", f"{rates.dropped:,} fields lost"
    if rates.seconds and not rates.verdicts:
        yield "dim", "nothing ended"


def _spend(seen: Watched) -> Iterator[tuple[str, str]]:
    spend = seen.spend
    if spend is None or "spend" in seen.problems:
        yield "", f"${seen.cost:,.4f} since the gateway began"
        if "spend" in seen.problems:
            yield "dim", f"no spend by key: {seen.problems['spend']}"
        return
    yield "", f"${spend.total:,.4f}{'+' if spend.unpriced else ''} today"
    named = [(name, cost) for name, cost in spend.names if name and cost]
    for name, cost in named[:_NAMES]:
        yield "dim", f"{name} ${cost:,.4f}"
    if len(named) > _NAMES:
        yield "dim", f"{len(named) - _NAMES} others"


def _flowing(facts: Iterator[tuple[str, str]], width: int) -> Iterator[Line]:
    """One after the other, in as many lines as are needed."""
    line: Line = []
    used = 0
    for style, text in facts:
        gap = 3 if line else 0
        if line and used + gap + width_of(text) > width:
            yield line
            line, used, gap = [], 0, 0
        whole = fitted(text, min(width_of(text), width))
        line += [("", " " * gap), (style, whole)] if gap else [(style, whole)]
        used += gap + width_of(whole)
    if line:
        yield line


class _Pane(NamedTuple, Generic[R]):
    title: str
    columns: Sequence[Column[R]]
    rows: Callable[[Watched], Sequence[R]]
    names: Callable[[R], tuple[str, ...]]
    """In which a text is searched for."""


_TARGETS: _Pane[TargetRow] = _Pane(
    "targets", TARGETS, lambda seen: seen.targets, lambda row: (row.target, row.route, row.state)
)
_RUNNING: _Pane[RunningRow] = _Pane(
    "requests in flight",
    RUNNING,
    lambda seen: seen.running,
    lambda row: (row.model, row.route, row.target, row.key, row.request_id, row.state),
)


def columns_of(name: PaneName) -> int:
    """How many columns a pane can be sorted by."""
    return len(TARGETS if name == "targets" else RUNNING)


def rows_of(seen: Watched, view: ScreenView, name: PaneName) -> int:
    """How many rows a pane has."""
    return len(_found(seen, view, name))


def _found(seen: Watched, view: ScreenView, name: PaneName) -> Sequence[TargetRow] | Sequence[RunningRow]:
    return _having(_TARGETS, seen, view) if name == "targets" else _having(_RUNNING, seen, view)


def _having(pane: _Pane[R], seen: Watched, view: ScreenView) -> Sequence[R]:
    rows, text = pane.rows(seen), view.text.casefold()
    return [row for row in rows if any(text in name.casefold() for name in pane.names(row))] if text else rows


def _pane(seen: Watched, view: ScreenView, name: PaneName, width: int, height: int) -> list[Line]:
    lines = (
        _lines(_TARGETS, seen, view, name, width, height)
        if name == "targets"
        else _lines(_RUNNING, seen, view, name, width, height)
    )
    return lines[:height]


def _lines(pane: _Pane[R], seen: Watched, view: ScreenView, name: PaneName, width: int, height: int) -> list[Line]:
    chosen = view.panes[name]
    column = None if chosen.sort < 0 else pane.columns[chosen.sort]
    rows = _having(pane, seen, view)
    if column is not None:
        rows = sorted_rows(rows, column, is_reversed=chosen.is_reversed)
    shown = max(0, height - 2)
    chosen.top = max(0, min(chosen.top, len(rows) - shown))
    part = rows[chosen.top : chosen.top + shown]
    title = _title(pane.title, seen, view, name, len(rows), chosen.top, len(part))
    style = "focus" if view.focus == name else "pane"
    bar = fitted(f"── {title} {'─' * width}", width).replace("…", "─")
    table = table_lines(pane.columns, part, width, column, arrow="▼" if chosen.is_reversed else "▲")
    return [[(style, bar)], *(table if rows else [])]


def _title(title: str, seen: Watched, view: ScreenView, name: PaneName, count: int, top: int, shown: int) -> str:
    if problem := seen.problems.get(name):
        return f"{title}: {problem}"
    if name == "running":
        title = f"{title}: {max(seen.running_total, count):,}"
    if view.text:
        title += f", with “{view.text}” in a name"
    return title if shown == count else f"{title}, {top + 1:,} to {top + shown:,} of {count:,}"


def _foot(view: ScreenView, width: int) -> Line:
    if view.is_typing:
        return [("keys", fitted(f"show rows with: {view.text}▏", width))]
    text = f"  [{view.text}]" if view.text else ""
    return [("keys", fitted(f"q quit  p pause  s sort  r reverse  / filter{text}  Tab table  ? help", width))]
