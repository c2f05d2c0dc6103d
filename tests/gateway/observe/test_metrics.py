"""Metrics: what is counted, that clients cannot make labels up, and that several workers add up to one gateway."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

import polychat
from polychat.errors import FaultKind
from polychat.gateway.observe import key_counts
from polychat.gateway.observe import metrics as module
from polychat.gateway.observe.metrics import Metrics, Snapshot, fold, snapshots, total
from polychat.gateway.observe.prometheus import View
from polychat.gateway.observe.record import Record
from polychat.gateway.observe.route_states import STATES, RouteStates, RouteTargetState, route_states
from polychat.routing import Health
from polychat.routing.policy import _OUTCOMES

ROOT = Path(__file__).parents[3]
replaced = msgspec.structs.replace
ANSWERED = {"first": 0.25, "provider": "house", "served": "small", "verdict": "complete", "status": 200}
NAMES = {"route": "", "provider": "house", "model": "small"}


def record(**facts: Any) -> Record:
    """A request that began at 0 and took half a second."""
    made = Record("req_1", "openai-chat", "POST", "/v1/chat/completions", 0.0)
    made.over = 0.5
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def scraped(metrics: Metrics, accept: str = "") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Samples by name and labels."""
    body, content_type = View(*metrics.snapshots()).rendered(accept)
    read = openmetrics if "openmetrics" in content_type else plain
    families = read(body.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scraped(metrics).get((name, tuple(sorted(labels.items()))))


def requests(metrics: Metrics) -> float:
    return sum(number for (name, _), number in scraped(metrics).items() if name == "polychat_requests_total")


def counting(*records: Record, shared: Path | None = None) -> Metrics:
    metrics = Metrics(lambda: 3, shared)
    for one in records:
        metrics(one)
    return metrics


# One worker


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_all_of_a_request_is_counted(accept: str) -> None:
    """In both formats that Prometheus asks for, as its own parsers read them."""
    took = {"prompt_tokens": 10, "completion_tokens": 20, "cached_tokens": 4, "cost": 0.5, "fields_dropped": 2, "attempts": 3}
    samples = scraped(counting(*[record(**ANSWERED, **took, stream=True, route="fast")] * 2), accept)
    names = {"route": "fast", "provider": "house", "model": "small"}
    expected = {
        ("polychat_requests_total", "dialect", "openai-chat", "status", "200", "verdict", "complete"): 2,
        ("polychat_request_duration_seconds_count",): 2,
        ("polychat_request_duration_seconds_sum",): 1.0,
        ("polychat_request_duration_seconds_bucket", "le", "0.25"): 0,
        ("polychat_request_duration_seconds_bucket", "le", "0.5"): 2,
        ("polychat_request_duration_seconds_bucket", "le", "+Inf"): 2,
        ("polychat_time_to_first_token_seconds_sum",): 0.5,
        ("polychat_time_to_first_token_seconds_bucket", "le", "0.1"): 0,
        ("polychat_time_to_first_token_seconds_bucket", "le", "0.25"): 2,
        ("polychat_tokens_total", "kind", "prompt"): 20,
        ("polychat_tokens_total", "kind", "completion"): 40,
        ("polychat_tokens_total", "kind", "cached"): 8,
        ("polychat_cost_usd_total",): 1.0,
        ("polychat_replies_unpriced_total",): 0,
        ("polychat_fields_dropped_total",): 4,
    }
    for (name, *more), number in expected.items():
        labels = {**names, **dict(zip(more[::2], more[1::2], strict=True))}
        assert samples[name, tuple(sorted(labels.items()))] == number, name
    assert samples["polychat_requests_in_progress", ()] == 3
    assert samples["polychat_build_info", (("version", polychat.__version__),)] == 1
    assert samples["process_resident_memory_bytes", (("worker", str(os.getpid())),)] > 1e6


def test_a_cost_that_is_not_known_is_not_zero() -> None:
    """Such answers are counted, so that nobody takes the sum for all there was."""
    metrics = counting(record(**ANSWERED), record(**ANSWERED, cost=0.25), record(status=401))
    assert value(metrics, "polychat_replies_unpriced_total", **NAMES) == 1
    assert value(metrics, "polychat_cost_usd_total", **NAMES) == 0.25


def test_times_are_of_what_a_backend_was_asked() -> None:
    """A refusal takes no time and would make every quantile look good; a plain answer has no first piece."""
    metrics = counting(record(status=401), record(**ANSWERED), record(**ANSWERED))
    samples = scraped(metrics)
    assert requests(metrics) == 3
    assert [number for (name, _), number in samples.items() if name == "polychat_request_duration_seconds_count"] == [2]
    assert not [name for name, _ in samples if name.startswith("polychat_time_to_first_token_seconds_")]


def test_a_client_makes_up_no_label() -> None:
    """A model that nobody serves has none, whatever it is called; one that answered once keeps its name when it fails."""
    failed = {"provider": "house", "status": 502, "verdict": "failed"}
    id_prefix = [record(model=f"x{n}", served=f"x{n}", route="fast", **failed) for n in range(50)]
    metrics = counting(*id_prefix, record(**ANSWERED), record(**failed, served="small"), record(model="y", status=404))
    labels = {"dialect": "openai-chat", "status": "502", "verdict": "failed"}
    name = "polychat_requests_total"
    assert value(metrics, name, **labels, provider="house", route="fast", model="") == 50
    assert value(metrics, name, **labels, **NAMES) == 1
    assert value(metrics, name, dialect="openai-chat", status="404", verdict="", provider="", route="", model="") == 1


def test_labels_end_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a backend makes up without end is counted as one, and nothing is counted less for it: names that are used stay,
    and one that comes after all those has its own count.
    """
    monkeypatch.setattr(module, "SETS", 100)
    id_prefix = [record(**{**ANSWERED, "served": f"m{number}"}) for number in range(500)]
    used = [record(**ANSWERED) for _ in id_prefix]
    late = [record(**{**ANSWERED, "served": "late"}) for _ in range(3)]
    metrics = counting(*(one for pair in zip(used, id_prefix, strict=True) for one in pair), *late)
    assert requests(metrics) == 1003
    labels = {"dialect": "openai-chat", "status": "200", "verdict": "complete"}
    name = "polychat_requests_total"
    assert value(metrics, name, **labels, **NAMES) == 500
    assert value(metrics, name, **labels, **{**NAMES, "model": "late"}) == 3
    assert value(metrics, name, **labels, route="other", provider="other", model="other") >= 400
    assert len(metrics._table) <= 101


def test_no_count_is_lost_when_labels_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a request's labels are remembered, they are forgotten with the numbers that they stood for: requests and
    attempts are all counted.
    """
    monkeypatch.setattr(module, "SETS", 100)
    monkeypatch.setattr(module, "_MOST_USUAL", 50)
    names = [f"m{number % 7 if number % 2 else number}" for number in range(1500)]
    metrics = counting(*(record(**{**ANSWERED, "served": name, "answered": f"house/{name}"}) for name in names))
    assert requests(metrics) == 1500
    assert sum(number for (name, _), number in scraped(metrics).items() if name == "polychat_attempts_total") == 1500
    assert len(metrics._usual) <= 50


def test_names_end_somewhere() -> None:
    """Nor are names kept without end, or names that have none; those that came first make room for those that come now."""
    names = module.LabelSets(limit=10)
    for number in range(50):
        names.of(record(**{**ANSWERED, "served": f"m{number}"}))
    assert len(names._named) == 10
    assert [names.of(record(**{**ANSWERED, "served": name})).model for name in ("m49", "m0", "late")] == ["m49", "m0", "late"]
    assert module.LabelSets().of(record(**{**ANSWERED, "served": "x" * 100_000})).model == "other"


@settings(max_examples=60)
@given(st.text(st.characters(codec=None), max_size=30), st.sampled_from(["", "application/openmetrics-text; version=1.0.0"]))
def test_any_name_can_be_a_label(name: str, accept: str) -> None:
    """Quotes, line breaks and half letters in a backend's name for its model leave the scrape readable."""
    metrics = counting(record(**{**ANSWERED, "served": name, "provider": name}))
    assert sum(number for (sample, _), number in scraped(metrics, accept).items() if sample == "polychat_requests_total") == 1


# Several workers


def test_what_each_key_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the client's key, of all workers and of those that ended, up to a number of keys: others are counted together."""
    monkeypatch.setattr(key_counts, "KEYS", 2)
    first, second = Metrics(lambda: 0, tmp_path), Metrics(lambda: 0, tmp_path)
    used = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.5}
    for metrics, key in ((first, "ada"), (second, "ada"), (first, "bob"), (first, "eve"), (second, "")):
        metrics(record(key=key, **ANSWERED, **used))
    first(record(key="ada", status=429))
    second.close()
    fold(tmp_path, {os.getpid() + 1})
    seen = {
        (name, *dict(labels).values()): number
        for (name, labels), number in scraped(first).items()
        if name.startswith("polychat_key_")
    }
    assert seen["polychat_key_requests_total", "ada"] == 3
    assert seen["polychat_key_requests_limited_total", "ada"] == 1
    assert (seen["polychat_key_tokens_total", "ada", "prompt"], seen["polychat_key_cost_usd_total", "ada"]) == (6, 1.0)
    assert [seen["polychat_key_requests_total", key] for key in ("bob", "other")] == [1, 1]
    assert ("polychat_key_requests_total", "eve") not in seen


def test_workers_add_up(tmp_path: Path) -> None:
    """Any of them tells of all, at once of itself."""
    first, second = counting(record(**ANSWERED), shared=tmp_path), counting(record(**ANSWERED), record(), shared=tmp_path)
    assert requests(first) == 1
    assert requests(second) == 3
    assert requests(first) == 3
    assert value(first, "polychat_requests_in_progress") == 6
    assert value(first, "polychat_request_duration_seconds_bucket", **NAMES, le="+Inf") == 2


async def test_what_changed_is_there_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a scrape and without an end, be it only that a request began; and no file is written where nothing changed."""
    ticks: list[Any] = []
    written: list[tuple[int, int]] = []
    real = module._replace

    class Loop:
        def call_later(self, seconds: float, call: Any) -> Any:
            assert seconds <= 1.0
            ticks.append(call)
            return asyncio.get_running_loop().call_later(1000, call)

    def replace(file: Path, snapshot: Snapshot) -> None:
        real(file, snapshot)
        written.append((sum(numbers.requests for _, numbers in snapshot.numbers), snapshot.running))

    monkeypatch.setattr(module, "get_running_loop", Loop)
    monkeypatch.setattr(module, "_replace", replace)
    running = 0
    metrics = Metrics(lambda: running, tmp_path)
    ticks.pop()()
    assert written == []
    running = 2
    ticks.pop()()
    for _ in range(5):
        metrics(record())
    ticks.pop()()
    ticks.pop()()
    assert written == [(0, 2), (5, 2)]
    assert len(ticks) == 1
    [process], broken = snapshots(tmp_path)
    assert (process.running, broken) == (2, 0)
    metrics.close()


def test_a_single_worker_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nobody to tell."""
    monkeypatch.chdir(tmp_path)
    metrics = counting(record())
    View(*metrics.snapshots()).rendered("")
    metrics.close()
    assert list(tmp_path.iterdir()) == []


WORKER = """
import sys
from pathlib import Path
from tests.gateway.observe.test_metrics import ANSWERED, counting, record
metrics = counting(*[record(**ANSWERED)] * int(sys.argv[2]), shared=Path(sys.argv[1]))
metrics.close()
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(count: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WORKER, str(tmp_path), str(count)]
        root = Path(__file__).parent.parent.parent.parent
        process = subprocess.Popen(
            command, cwd=root, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stdin=-1, stdout=-1, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_worker_keeps_its_counts(tmp_path: Path, worker: Any) -> None:
    """And what ran in it runs no more; before its file is folded and after."""
    one, two = worker(5), worker(7)
    metrics = counting(shared=tmp_path)
    assert (requests(metrics), value(metrics, "polychat_requests_in_progress")) == (12, 9)
    one.kill()
    one.wait()
    assert (requests(metrics), value(metrics, "polychat_requests_in_progress")) == (12, 6)
    fold(tmp_path, {two.pid, os.getpid()})
    assert (requests(metrics), value(metrics, "polychat_requests_in_progress")) == (12, 6)
    two.kill()
    two.wait()
    fold(tmp_path, {os.getpid()})
    assert (requests(metrics), value(metrics, "polychat_requests_in_progress")) == (12, 3)
    assert len(list(tmp_path.iterdir())) == 2
    workers = {dict(labels).get("worker") for name, labels in scraped(metrics) if name.startswith("process_")}
    assert workers == {str(os.getpid())}


def dead(folder: Path, count: int, pid: int = 1) -> None:
    """What a worker left that is no more."""
    metrics = counting(*[record()] * count, shared=folder)
    metrics._pid = pid
    metrics.close()


def test_folding_loses_nothing_and_counts_nothing_twice_while_it_goes_on(tmp_path: Path) -> None:
    """Whenever one reads, all is there once."""
    wrong: list[tuple[int, int]] = []
    done = threading.Event()
    least = 0

    def read() -> None:
        while not done.is_set():
            before = least
            processes, broken = snapshots(tmp_path)
            seen = sum(numbers.requests for numbers in total(processes).values())
            if not before <= seen <= least + 1 or broken:
                wrong.append((seen, broken))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        dead(tmp_path, 1)
        least = number + 1
        fold(tmp_path, ())
    done.set()
    reader.join()
    assert wrong == []
    assert [path.name for path in tmp_path.iterdir()] == [module._FOLDED]


def test_two_folds_while_one_reads_count_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second forgets whose files the first put away: by then nobody who saw those is to see the sum."""
    dead(tmp_path, 1)
    fold(tmp_path, ())
    dead(tmp_path, 2)
    real, folds = module._bytes, iter([True])

    def read(file: Path) -> bytes:
        data = real(file)
        if next(folds, False):
            fold(tmp_path, ())
            dead(tmp_path, 4)
            fold(tmp_path, ())
        return data

    monkeypatch.setattr(module, "_bytes", read)
    processes, _ = snapshots(tmp_path)
    assert sum(numbers.requests for numbers in total(processes).values()) == 7


def test_a_fold_that_was_cut_off_counts_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dead worker's file is still there, beside the sum that holds it; the next fold takes it away."""
    dead(tmp_path, 4)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        fold(tmp_path, ())
    assert len(list(tmp_path.iterdir())) == 2
    assert requests(counting(shared=tmp_path)) == 4
    dead(tmp_path, 2)
    fold(tmp_path, (os.getpid(),))
    assert requests(counting(shared=tmp_path)) == 6


@pytest.mark.parametrize("broken", ["half", "foreign", "empty", "wrong", "longer", "folder", "link", "nothing", "pipe"])
def test_a_broken_file_is_skipped_and_reported(tmp_path: Path, broken: str) -> None:
    """Whatever is wrong with it, the others count; it stays for somebody to look at."""
    dead(tmp_path, 4)
    [whole] = tmp_path.iterdir()
    data = whole.read_bytes()
    other = tmp_path / "7-00.metrics"
    match broken:
        case "folder":
            other.mkdir()
        case "link":
            other.symlink_to(whole)
        case "nothing":
            other.symlink_to(tmp_path / "not-there")
        case "pipe":
            os.mkfifo(other)
        case _:
            snapshot = msgspec.msgpack.decode(data)
            snapshot["numbers"][0][1][2].append(1)  # one bucket more than there are
            wrong = msgspec.msgpack.encode(snapshot)
            made = {
                "half": data[: len(data) // 2],
                "foreign": b"# HELP x\n",
                "empty": b"",
                "wrong": wrong,
                "longer": data + b"x",
            }
            other.write_bytes(made[broken])
    metrics = counting(record(), shared=tmp_path)
    assert (requests(metrics), value(metrics, "polychat_worker_snapshots_unreadable")) == (5, 1)
    fold(tmp_path, (os.getpid(),))
    assert (requests(metrics), value(metrics, "polychat_worker_snapshots_unreadable")) == (5, 1)


def test_a_file_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    """It takes its name when it is whole; until then it is no broken one."""
    dead(tmp_path, 4)
    [whole] = tmp_path.iterdir()
    (tmp_path / "7-00.new").write_bytes(whole.read_bytes()[:10])
    metrics = counting(shared=tmp_path)
    assert (requests(metrics), value(metrics, "polychat_worker_snapshots_unreadable")) == (4, 0)


def test_a_folder_that_is_gone_costs_only_the_others(tmp_path: Path) -> None:
    """As when somebody cleans up /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    metrics = counting(record(), shared=folder)
    metrics.close()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert requests(metrics) == 1
    metrics.close()
    fold(folder, ())


def test_a_view_stays_as_it_was_taken() -> None:
    """It is rendered in a thread while requests are counted."""
    metrics = counting(record())
    view = View(*metrics.snapshots())
    metrics(record())
    assert b'verdict=""} 1.0' in view.rendered("")[0]


# How targets are


FLAWED = RouteTargetState("fast", "house/small", "open", 2)
WELL = RouteTargetState("fast", "annex/small", "closed", 1)


def with_states(*targets: RouteTargetState, shared: Path | None = None) -> Metrics:
    return Metrics(lambda: 3, shared, lambda: RouteStates(list(targets), {"fast": 4.0}))


def test_targets_tell_in_how_many_workers_they_are_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every state is there, with 0 where no worker has it; requests in progress and retries left are those of all workers."""
    other = with_states(FLAWED, WELL, shared=tmp_path)
    other.close()
    metrics = with_states(replaced(FLAWED, state="closed"), replaced(WELL, route="slow"), WELL, shared=tmp_path)
    states = {
        (target, state): value(metrics, "polychat_target_state", route="fast", target=target, state=state)
        for target in ("house/small", "annex/small")
        for state in STATES
    }
    assert {at: number for at, number in states.items() if number} == {
        ("house/small", "open"): 1,
        ("house/small", "closed"): 1,
        ("annex/small", "closed"): 2,
    }
    assert None not in states.values()
    assert value(metrics, "polychat_target_requests_in_progress", target="annex/small") == 2
    assert value(metrics, "polychat_retries_left", route="fast") == 8
    assert value(metrics, "polychat_target_requests_limit", target="annex/small") is None, "no route limits it"
    metrics.close()


def test_who_waits_for_a_target(tmp_path: Path) -> None:
    """Limits and queues of all workers together; a target that two routes have counts once in each worker."""
    other = with_states(replaced(WELL, limit=4, queued=3), shared=tmp_path)
    other.close()
    limited = replaced(WELL, limit=2, queued=1)
    metrics = with_states(limited, replaced(limited, route="slow"), shared=tmp_path)
    assert value(metrics, "polychat_target_requests_limit", target="annex/small") == 6
    assert value(metrics, "polychat_target_requests_queued", target="annex/small") == 4
    metrics.close()


def test_a_state_that_ends_by_itself_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A breaker half opens though no request comes; what is closed stays so, and nothing is written."""
    ticks: list[Any] = []
    written: list[Snapshot] = []
    states = [WELL]

    class Loop:
        def call_later(self, _: float, tick: Any) -> Any:
            ticks.append(tick)

    monkeypatch.setattr(module, "get_running_loop", Loop)
    monkeypatch.setattr(module, "_replace", lambda file, snapshot: written.append(snapshot))
    metrics = Metrics(lambda: 0, tmp_path, lambda: RouteStates(list(states)))
    ticks.pop()()
    assert written == []
    states[0] = FLAWED
    metrics(record())
    ticks.pop()()
    states[0] = replaced(FLAWED, state="half-open")
    ticks.pop()()
    states[0] = WELL
    ticks.pop()()
    ticks.pop()()
    assert [snapshot.states.targets[0].state for snapshot in written] == ["open", "half-open", "closed"]


def test_states_are_those_of_the_configurations_routes() -> None:
    """A target that a client names itself is no label."""
    health = Health()
    for route in ("fast", "gone", ""):
        health.facts(route, "house/small")
    states = route_states(["fast"], health, 0.0)
    assert [(one.route, one.target, one.state) for one in states.targets] == [("fast", "house/small", "closed")]
    assert states.retries_left.keys() == {"fast"}


def test_alert_rules_name_metrics_that_there_are() -> None:
    """And labels that these have, with values that occur."""
    groups = yaml.safe_load((ROOT / "examples/gateway/alerts.yaml").read_text(encoding="utf-8"))["groups"]
    metrics = with_states(FLAWED, replaced(WELL, limit=1))
    metrics(record(**ANSWERED, route="fast", stream=True, attempts=1, answered="house/small"))
    samples: dict[str, set[str]] = {}
    for name, labels in scraped(metrics):
        samples.setdefault(name, set()).update(label for label, _ in labels)
    for rule in [rule for group in groups for rule in group["rules"]]:
        used = re.findall(r"(polychat_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert used, rule
        for name, conditions in used:
            assert name in samples, rule["alert"]
            assert set(re.findall(r"(\w+)!?=", conditions)) <= samples[name], rule["alert"]
        assert {"summary"} <= rule["annotations"].keys()
    outcomes = {word for _, word in _OUTCOMES} | set(get_args(FaultKind)) | {"answered"}
    named = re.findall(r'outcome=~"([^"]+)"', str(groups))
    assert {word for words in named for word in words.split("|")} <= outcomes
