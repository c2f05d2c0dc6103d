"""Metrics for Prometheus, right across workers.

A request costs a few additions to plain numbers. With several workers each leaves a snapshot of its numbers in a folder they
share, at most a second after they changed; the worker that is scraped adds up its own and theirs. A worker
that ended keeps its counts: ``fold`` puts those of the dead together.
"""

from __future__ import annotations

import os
import secrets
import stat
from asyncio import TimerHandle, get_running_loop
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

from msgspec import DecodeError, Meta, Struct, field
from msgspec.msgpack import Decoder, Encoder

from ...errors import redact
from .attempts import Attempt, AttemptCounts, Counts
from .in_progress import RunningRequest
from .key_counts import Counts as KeysUsed
from .key_counts import KeyCounts, Used
from .record import KindIdentity, Record, RecordKind, RequestFacts, UsualRequest, facts_of
from .request_sums import RequestSums
from .route_states import RouteStates
from .shadows import Counts as ShadowsSent
from .shadows import ShadowCounts, TargetResult
from .usual_requests import Pending, nothing_pending

SETS = 2000
"""Maximum number of label sets; what exceeds it is counted as ``other``."""
_OTHER = "other"
_SECONDS = 1.0
"""How old a snapshot may be that is not true any more."""
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0)
"""Seconds: a whole answer's, and its first piece's."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of a snapshot's file."""
_READS = 100
"""How often is read anew while files are being folded."""
_DONE, _HALF = ".metrics", ".new"
_FOLDED = f"folded{_DONE}"


class Named(NamedTuple):
    """Who answered, as label values."""

    route: str
    provider: str
    model: str


class LabelSets:
    """Makes labels of records, and not many: a client cannot make one up.

    The model is the one that answered. Where none did, it is named only if it answered before. A model by a name that a client
    made up may be answered all the same by a server that echoes it: so the names that were made first give way to new ones.
    """

    def __init__(self, limit: int = SETS) -> None:
        self._limit = limit
        self._named: dict[tuple[str, str, str], Named] = {}
        self._answered: dict[tuple[str, str], None] = {}

    def of(self, record: Record) -> Named:
        provider, model = record.provider, record.served
        if model and record.first is None and (provider, model) not in self._answered:
            model = ""
        named = self._named.get((record.route, provider, model))
        return named or self._new(record.route, provider, model)

    def _new(self, route: str, provider: str, model: str) -> Named:
        if len(model) > 1000:
            return Named(_OTHER, _OTHER, _OTHER)
        if len(self._named) >= self._limit:
            del self._named[next(iter(self._named))]
        if len(self._answered) >= self._limit:
            del self._answered[next(iter(self._answered))]
        named = self._named[route, provider, model] = Named(redact(route, 120), redact(provider, 120), redact(model, 120))
        self._answered[provider, model] = None
        return named


class Labels(NamedTuple):
    dialect: str
    status: str
    verdict: str
    route: str
    provider: str
    model: str


_Count = Annotated[int, Meta(ge=0)]
_Sum = Annotated[float, Meta(ge=0)]
_Buckets = Annotated[list[_Count], Meta(min_length=len(BOUNDS) + 1, max_length=len(BOUNDS) + 1)]
"""A count for each of the bounds, and one for what is beyond."""


def _empty() -> list[int]:
    return [0] * (len(BOUNDS) + 1)


class Numbers(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What is counted for one set of labels."""

    requests: _Count = 0
    seconds: _Sum = 0.0
    """Of requests for which a backend was called; so are the buckets."""
    within: _Buckets = field(default_factory=_empty)
    streams: _Count = 0
    first_seconds: _Sum = 0.0
    first_within: _Buckets = field(default_factory=_empty)
    prompt: _Count = 0
    completion: _Count = 0
    cached: _Count = 0
    cost: _Sum = 0.0
    unpriced: _Count = 0
    attempts: _Count = 0
    fields_dropped: _Count = 0

    def count(self, requests: Sequence[RequestFacts]) -> Used:
        """Count requests of one kind; returns what they used together."""
        common, count, sums = requests[0][0].common, len(requests), RequestSums(requests, self.within, BOUNDS)
        self.requests += count
        self.seconds += sums.seconds
        self.prompt += sums.prompt
        self.completion += sums.completion
        self.cached += sums.cached
        self.attempts += common.attempts * count
        self.fields_dropped += common.fields_dropped * count
        self.cost += sums.cost
        self.unpriced += sums.unpriced
        if common.stream:
            for _, _, start, _, first, _, _, _ in requests:
                if first is not None:
                    self._count_first(first - start)
        return Used(sums.prompt, sums.completion, sums.cost)

    def _count_first(self, took: float) -> None:
        self.streams += 1
        self.first_seconds += took
        self.first_within[bisect_left(BOUNDS, took)] += 1

    def add(self, other: Numbers) -> None:
        for name in self.__struct_fields__:
            mine, more = getattr(self, name), getattr(other, name)
            setattr(self, name, [a + b for a, b in zip(mine, more, strict=True)] if isinstance(mine, list) else mine + more)


class LabelledNumbers(dict[Labels, Numbers]):
    """Numbers by their labels, at most ``SETS`` of them and some for the rest.

    What is used least is counted with the rest when there is no room for something new: names that a client made up, and
    used once, do not keep out those that are used. The sums over all labels stay as they are.
    """

    def of(self, labels: Labels) -> Numbers:
        """The numbers of these labels, made if there are none."""
        if (numbers := self.get(labels)) is not None:
            return numbers
        if len(self) >= SETS:
            self._make_room()
        return self.setdefault(labels, Numbers())

    @property
    def is_full(self) -> bool:
        """Whether new labels take the place of others."""
        return len(self) >= SETS

    def _make_room(self) -> None:
        """Of those used least, the oldest: a quarter at once, so that it is seldom done."""
        named = [labels for labels in self if labels.model != _OTHER]
        for labels in sorted(named, key=lambda labels: self[labels].requests)[: max(len(named) // 4, 1)]:
            rest = labels._replace(route=_OTHER, provider=_OTHER, model=_OTHER)
            self.setdefault(rest, Numbers()).add(self.pop(labels))


_Usual: TypeAlias = KindIdentity | tuple[str, int, str | None, str, str, str, str]
_MOST_USUAL = 1000
_RECORDS = 64


class Metrics:
    """Takes every request's ``Record``. ``running`` gives how many are in progress; ``shared`` is the workers' folder.

    ``states`` gives the state of the targets, ``in_progress`` the requests that other workers list.
    """

    def __init__(
        self,
        running: Callable[[], int],
        shared: Path | None = None,
        states: Callable[[], RouteStates] = RouteStates,
        stores_away: Callable[[], dict[str, bool]] = dict,
        config_refused: Callable[[], bool] = bool,
        in_progress: Callable[[], list[RunningRequest]] = list,
    ) -> None:
        self._running, self._pid, self._states, self._stores_away = running, os.getpid(), states, stores_away
        self._config_refused, self._in_progress = config_refused, in_progress
        self._names, self._table, self._attempts = LabelSets(), LabelledNumbers(), AttemptCounts()
        self._shadows, self._keys = ShadowCounts(), KeyCounts()
        self._events: dict[str, int] = {}
        self._kept: list[RequestFacts] = []
        """Requests with records that ended: those of one kind are counted together, which takes half the time."""
        self.pending: Pending = nothing_pending
        """See ``UsualRequests``."""
        self._usual: dict[_Usual, tuple[Numbers, Attempt]] = {}
        """Where answered requests are counted, found without making their labels."""
        # A process may have the number of one that died: its file is not to be overwritten.
        self._file = None if shared is None else shared / f"{self._pid}-{secrets.token_hex(4)}{_DONE}"
        self._changed = False
        self._reported: tuple[int, dict[str, bool], bool] = (0, {}, False)
        """By the latest snapshot: how many ran, which stores could not be reached, and whether the file was refused."""
        self._is_settled = True
        """Whether the states in it last while no request comes."""
        self._timer: TimerHandle | None = None
        self._later()

    def __call__(self, record: Record) -> None:
        facts = facts_of(record)
        kind = facts[0]
        if kind.identity is not None:
            self._kept.append(facts)
            if len(self._kept) >= _RECORDS:
                self._count_kept()
        else:
            self._count_kept()  # what is counted of a failure depends on who has answered before
            self._count_of_kind(kind, [facts])
        self._changed = True
        if self._timer is None and self._file is not None:
            self._later()

    def expect(self) -> None:
        """Usual requests will come."""
        if self._timer is None and self._file is not None:
            self._later()

    def take(self, requests: Sequence[UsualRequest]) -> None:
        """Count usual requests."""
        self._changed = True
        self._count(requests)

    def _count_kept(self) -> None:
        self.pending()
        kept, self._kept = self._kept, []
        self._count(kept)

    def _count(self, requests: Sequence[RequestFacts]) -> None:
        for kind, of_kind in groupby(requests, itemgetter(0)):
            self._count_of_kind(kind, list(of_kind))

    def _count_of_kind(self, kind: RecordKind, requests: list[RequestFacts]) -> None:
        common = kind.common
        usual: _Usual = kind.identity or (
            common.dialect,
            common.status,
            common.verdict,
            common.route,
            common.provider,
            common.served,
            common.answered,
        )
        known = self._usual.get(usual)
        if known is None or requests[0][4] is None or common.failures:
            for request in requests:
                self._keys.count(common.key, 1, self._count_anew(request, usual), status=common.status)
            return
        numbers, attempt = known
        self._keys.count(common.key, len(requests), numbers.count(requests), status=common.status)
        self._attempts[attempt] += len(requests)

    def shadowed(self, route: str, answer: TargetResult, shadow: TargetResult) -> None:
        """A mirrored request is over."""
        self._shadows.count(route, answer, shadow)
        self._changed = True

    def count(self, event: str) -> None:
        """An event of the gateway itself happened, such as ``limit_warnings``."""
        self._events[event] = self._events.get(event, 0) + 1
        self._changed = True

    def _count_anew(self, request: RequestFacts, usual: _Usual) -> Used:
        """Count a request whose labels are to be made; ``usual``: by what they are found the next time."""
        if len(self._usual) >= _MOST_USUAL or self._table.is_full or self._attempts.is_full:
            self._usual.clear()  # others' labels may give way to these, and are made anew then
        record = request[0].record(request)
        labels = Labels(record.dialect, _STATUS[record.status], record.verdict or "", *self._names.of(record))
        numbers = self._table.of(labels)
        used = numbers.count([request])
        self._attempts.count(record)
        attempt = Attempt(record.route, record.answered, "answered")
        if record.first is not None and attempt in self._attempts:
            self._usual[usual] = numbers, attempt
        return used

    def snapshots(self) -> tuple[list[Snapshot], int]:
        """The numbers of all workers as they are now, and how many workers' files could not be read."""
        mine = self._taken()
        if self._file is None:
            return [mine], 0
        self._write()
        others, broken = snapshots(self._file.parent, self._file.name)
        return [mine, *others], broken

    def close(self) -> None:
        """The numbers as they are now, for others to add."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._write()

    def _taken(self) -> Snapshot:
        self._count_kept()
        attempts, shadows = list(self._attempts.items()), list(self._shadows.items())
        table, states = list(self._table.items()), self._states()
        keys, away = list(self._keys.items()), self._stores_away()
        return Snapshot(
            self._pid,
            self._running(),
            table,
            attempts=attempts,
            states=states,
            shadows=shadows,
            keys=keys,
            stores_away=away,
            events=self._events.copy(),
            config_refused=self._config_refused(),
            in_progress=[] if self._file is None else self._in_progress(),
        )

    def _later(self) -> None:
        if self._file is not None:
            with suppress(RuntimeError):  # no loop yet
                self._timer = get_running_loop().call_later(_SECONDS, self._tick)

    def _tick(self) -> None:
        # Requests that only begin change nothing but how many run: that is looked at here, and costs them nothing.
        now = self._running(), self._stores_away(), self._config_refused()
        self.pending()
        if self._changed or not self._is_settled or now != self._reported or self._in_progress():
            self._write()
        self._later()

    def _write(self) -> None:
        if self._file is not None:
            taken = self._taken()
            self._changed, self._is_settled = False, taken.states.is_settled
            self._reported = taken.running, taken.stores_away, taken.config_refused
            with suppress(OSError):  # the folder is gone, or the disk full: the next one may fit
                _replace(self._file, taken)


class _Status(dict[int, str]):
    def __missing__(self, status: int) -> str:
        return self.setdefault(status, str(status))


_STATUS = _Status()


# What workers tell each other.


class Snapshot(Struct, tag_field="format", tag="polychat-metrics-2", forbid_unknown_fields=True):
    """A worker's numbers; with ``pid`` 0 those of workers that exited."""

    pid: int
    running: _Count
    numbers: list[tuple[Labels, Numbers]]
    folded: list[str] = []
    """Files whose numbers are in here: those that are still there are not to be counted again."""
    attempts: Counts = []
    states: RouteStates = field(default_factory=RouteStates)
    shadows: ShadowsSent = []
    keys: KeysUsed = []
    stores_away: dict[str, bool] = {}
    """Of each store of shared limits, whether this worker cannot reach it."""
    events: dict[str, int] = {}
    """How often each event of the gateway itself happened."""
    config_refused: bool = False
    """Whether the configuration file was refused at the last start or reload."""
    in_progress: list[RunningRequest] = []
    """Its oldest."""

    @property
    def is_living(self) -> bool:
        """Whether it is of a process that runs."""
        try:
            if self.pid:
                os.kill(self.pid, 0)
        except OSError:
            return False
        return bool(self.pid)


_encoder, _decoder = Encoder(), Decoder(Snapshot)


def snapshots(folder: Path, but: str = "") -> tuple[list[Snapshot], int]:
    """All snapshots in the folder ``but`` one file's, and how many files cannot be read as snapshots."""
    for _ in range(_READS):
        try:
            files, broken = _read(folder, but)
        except FileNotFoundError:
            continue  # one was folded meanwhile: its numbers are elsewhere now
        return _counted_once(files), broken
    return [], 0


def fold(folder: Path, alive: Collection[int]) -> None:
    """Put the files of workers that are not ``alive`` into one. Only the supervisor may; files that are broken stay."""
    with suppress(OSError):
        snapshots, _ = _read(folder)
        before = snapshots.pop(_FOLDED, Snapshot(0, 0, []))
        dead = {name: snapshot for name, snapshot in snapshots.items() if snapshot.pid not in alive}
        if dead:
            fresh = {name: snapshot for name, snapshot in dead.items() if name not in before.folded}
            counted = [before, *fresh.values()]
            attempts = list(AttemptCounts.total(snapshot.attempts for snapshot in counted).items())
            shadows = list(ShadowCounts.total(snapshot.shadows for snapshot in counted).items())
            keys = list(KeyCounts.total(snapshot.keys for snapshot in counted).items())
            numbers, events = list(total(counted).items()), events_of(counted)
            folded = Snapshot(0, 0, numbers, list(dead), attempts, shadows=shadows, keys=keys, events=events)
            _replace(folder / _FOLDED, folded)
            for name in dead:
                (folder / name).unlink(missing_ok=True)


def events_of(snapshots: Iterable[Snapshot]) -> dict[str, int]:
    """How often each event happened."""
    counts = Counter[str]()
    for snapshot in snapshots:
        counts.update(snapshot.events)
    return dict(counts)


def total(snapshots: Iterable[Snapshot]) -> LabelledNumbers:
    table = LabelledNumbers()
    for snapshot in snapshots:
        for labels, numbers in snapshot.numbers:
            table.of(labels).add(numbers)
    return table


def _counted_once(snapshots: dict[str, Snapshot]) -> list[Snapshot]:
    folded = snapshots[_FOLDED].folded if _FOLDED in snapshots else ()
    return [snapshot for name, snapshot in snapshots.items() if name not in folded]


def _read(folder: Path, but: str = "") -> tuple[dict[str, Snapshot], int]:
    """By file name. Raises ``FileNotFoundError`` where a file goes away meanwhile."""
    snapshots: dict[str, Snapshot] = {}
    broken = 0
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name != but and not entry.name.endswith(_HALF)]
    # The folded ones first: what is folded after that is missed where it was, and everything is read again.
    for name in sorted(names, key=lambda name: name != _FOLDED):
        try:
            snapshots[name] = _decoder.decode(_bytes(folder / name))
        except (DecodeError, PermissionError, IsADirectoryError, _Foreign):
            broken += 1
    return snapshots, broken


class _Foreign(Exception):  # a file is
    """Not one of ours."""


def _bytes(file: Path) -> bytes:
    known = file.lstat()  # checked once: a file that is removed between two checks would count as a foreign one
    if not stat.S_ISREG(known.st_mode) or known.st_size > _LARGEST:
        raise _Foreign
    return file.read_bytes()


def _replace(file: Path, snapshot: Snapshot) -> None:
    half = file.with_suffix(_HALF)
    half.write_bytes(_encoder.encode(snapshot))
    half.replace(file)
