"""What it costs to keep usage and keys: records a second, bytes a record, a request's way, a store with many keys."""

from __future__ import annotations

import gc
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, perf_counter, process_time, time

from polychat.config import parsed
from polychat.config.settings import State
from polychat.errors import Failure
from polychat.events import Usage
from polychat.gateway.admission.accounting import Accounting
from polychat.gateway.admission.accounts import Buckets
from polychat.gateway.admission.demand import Demand
from polychat.gateway.admission.limits import LimitGuard
from polychat.gateway.admission.people_keys import PeopleKeys
from polychat.gateway.observe.record import Record
from polychat.gateway.observe.usage import Conversion, UsageLog
from polychat.gateway.runtime import Runtime
from polychat.routing import Health, Plan
from polychat.state.database.store import DatabaseStore
from polychat.state.database.tables import keys as key_table
from polychat.state.store import UsageFilter, UsageLabels, UsageRecord

from .report import Table, progress

RECORDS, BATCH = 1_000_000, 5_000
KEYS = 1_000_000
ADDED = 50_000
LIMITED = """
[gateway.keys]
alice = "env:ALICE"
[gateway.key_settings.alice]
rpm = 1_000_000_000
tpm = 1_000_000_000_000
budget = { day = 1_000_000, month = 1_000_000 }
tokens = { day = 1_000_000_000_000 }
[providers.house]
wire = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
serves = ["small"]
[prices."house/small"]
prompt = 1.0
completion = 2.0
"""
"""A key with five limits."""


def measure() -> Iterator[Table]:
    """Three tables: limits, usage and keys. Some minutes, and 200 MB in the folder of temporary files."""
    with tempfile.TemporaryDirectory() as folder:
        yield _limits()
        yield _usage(Path(folder) / "usage.db")
        yield _keys(Path(folder) / "keys.db")


class _Demand:
    """Of a short chat."""

    def prompt_tokens(self) -> int:
        return 100

    def completion_tokens(self, plan: object, catalog: object) -> int:
        return 1000

    def user(self) -> None:
        return None


def _limits() -> Table:
    os.environ["ALICE"] = "a-key-for-a-measurement"
    configured = parsed(LIMITED, Path("polychat.toml"))
    accounting, runtime = Accounting(configured), Runtime(configured, Health())
    guard, plan, demand = accounting.guard(runtime), runtime.resolver.plan("house/small"), _Demand()
    bare = min(_of_limits(guard, plan, demand, shows=False) for _ in range(7))
    whole = min(_of_limits(guard, plan, demand, shows=True) for _ in range(7))
    table = Table("Limits on a request's way, of a key with five, us of CPU", ["what", "figure"])
    table.rows.append(["reserve and settle", f"{bare / 20_000 * 1e6:.1f}"])
    table.rows.append(["reserve, settle and the headers", f"{whole / 20_000 * 1e6:.1f}"])
    return table


def _of_limits(guard: LimitGuard, plan: Plan, demand: Demand, *, shows: bool) -> float:
    """Seconds of CPU for 20,000 requests."""
    records = [_record() for _ in range(20_000)]
    for record in records:
        record.failures = ()
    gc.disable()  # it would look at all of these records, of which a gateway has few
    cpu = process_time()
    for record in records:
        meter = guard.reserve(record, plan, demand)
        if meter is None:
            raise RuntimeError("the key has limits, and none was counted")
        meter.settle(record)
        if shows:
            meter.headers(record)
    cpu = process_time() - cpu
    gc.enable()
    return cpu


def _usage(file: Path) -> Table:
    table = Table("Usage in SQLite", ["what", "figure"])
    table.rows += _on_the_way(file.parent)
    store, conversion = DatabaseStore(f"sqlite:///{file}"), Conversion()
    store.last_change()
    made, cpu = [_record() for _ in range(ADDED)], process_time()
    for record in made:
        conversion(record)
    table.rows.append(["a record of a request into one of the store, us of CPU", f"{(process_time() - cpu) / ADDED * 1e6:.1f}"])
    batches = [_stored(start) for start in range(0, RECORDS, BATCH)]
    begun, cpu = perf_counter(), process_time()
    for number, batch in enumerate(batches):
        store.write_usage(batch)
        progress(f"usage: {number * BATCH:,} of {RECORDS:,}")
    wall, cpu = perf_counter() - begun, process_time() - cpu
    table.rows.append([f"records a second, in batches of {BATCH:,}, each on the disk", f"{RECORDS / wall:,.0f}"])
    table.rows.append(["CPU of one, us", f"{cpu / RECORDS * 1e6:.1f}"])
    begun = perf_counter()
    for batch in batches[:20]:
        for start in range(0, BATCH, 50):
            store.write_usage(batch[start : start + 50])
    table.rows.append(
        ["records a second that are there already, in batches of 50", f"{20 * BATCH / (perf_counter() - begun):,.0f}"]
    )
    begun = perf_counter()
    store.usage("model", UsageFilter())
    table.rows.append([f"a sum of {RECORDS:,} by model, s", f"{perf_counter() - begun:.2f}"])
    store.close()
    size = sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*"))
    table.rows.append([f"size of {RECORDS:,}, MB", f"{size / 1e6:.0f}"])
    begun = perf_counter()
    count = store.forget_usage(time())
    table.rows.append([f"deletion of {count:,}, s", f"{perf_counter() - begun:.1f}"])
    store.close()
    return table


def _on_the_way(folder: Path) -> list[list[str]]:
    """What a request pays: the call of the observer, with a writer that does not run."""
    log = UsageLog(State(url=f"sqlite:///{folder}/none.db", spool=str(folder / "spool")), lambda *_: None, dict)
    log.start = lambda: None  # type: ignore[method-assign]
    record, least = _record(), float("inf")
    for _ in range(7):
        log._writer._queue.clear()
        cpu = process_time()
        for _ in range(ADDED):
            log(record)
        least = min(least, process_time() - cpu)
    return [["the observer, on a request's way, us of CPU", f"{least / ADDED * 1e6:.2f}"]]


def _record() -> Record:
    record = Record("req_1", "openai-chat", "POST", "/v1/chat/completions", monotonic())
    record.key, record.model, record.route, record.answered = "alice", "house", "house", "openai/gpt-5-mini"
    record.verdict, record.reason, record.status, record.over, record.attempts = "complete", "stop", 200, monotonic() + 1.0, 2
    record.failures = (Failure("other/gpt-5", "timeout", "", ""),)
    record.prompt_tokens, record.completion_tokens, record.cached_tokens, record.cost = 1234, 321, 1024, 0.001234
    record.usage = Usage(1234, 321, 1555, cached_tokens=1024, reasoning_tokens=128)
    return record


def _stored(start: int) -> list[UsageRecord]:
    """Of twenty people's keys and ten models, three days of a busy gateway."""
    rng = random.Random(start)
    labels = [
        UsageLabels(
            f"key-{rng.randrange(20)}", "", "", "", "", "openai-chat", model, model, f"openai/{model}", "complete", "stop", 200
        )
        for model in (f"model-{number}" for number in range(10))
    ]
    at = int(time() * 1000) - 3 * 86_400_000
    return [
        UsageRecord(
            at=at + (start + number) * 259,
            id=rng.getrandbits(63),
            took=rng.randrange(200, 30_000),
            labels=labels[number % 10],
            prompt_tokens=rng.randrange(10, 20_000),
            completion_tokens=rng.randrange(10, 2_000),
            cached_tokens=rng.randrange(0, 10),
            reasoning_tokens=0,
            cost=rng.randrange(10_000, 50_000_000),
        )
        for number in range(BATCH)
    ]


def _keys(file: Path) -> Table:
    table = Table(f"{KEYS:,} keys in SQLite", ["what", "figure"])
    store = DatabaseStore(f"sqlite:///{file}")
    store.last_change()
    for start in range(0, KEYS, BATCH):
        rows = [_key(number) for number in range(start, start + BATCH)]
        store._database.write(lambda connection, rows=rows: connection.execute(key_table.insert(), rows))
        progress(f"keys: {start:,} of {KEYS:,}")
    store.close()
    store = DatabaseStore(f"sqlite:///{file}")
    begun = perf_counter()
    store.key_by_digest(_key(7)["digest"])
    table.rows.append(["from a closed store to the first key by its digest, ms", f"{(perf_counter() - begun) * 1000:.1f}"])
    begun = perf_counter()
    for number in range(2000):
        store.key_by_digest(_key(number * 499)["digest"])
    table.rows.append(["a key by its digest, us", f"{(perf_counter() - begun) / 2000 * 1e6:.0f}"])
    begun = perf_counter()
    for _ in range(2000):
        store.changes(KEYS)
    table.rows.append(["whether anything has changed, us", f"{(perf_counter() - begun) / 2000 * 1e6:.0f}"])
    people = PeopleKeys(store, Buckets(shared=True))
    begun = perf_counter()
    people.refresh()
    table.rows.append(["what a gateway asks when it starts, ms", f"{(perf_counter() - begun) * 1000:.1f}"])
    table.rows.append(["size, MB", f"{file.stat().st_size / 1e6:.0f}"])
    store.close()
    return table


def _key(number: int) -> dict[str, object]:
    return {
        "id": f"{number:012d}",
        "digest": random.Random(number).randbytes(32),
        "name": f"key {number}",
        "policy": "{}",
        "created_at": float(number),
        "ends_streams": False,
        "replaced_by": "",
        "change": number,
    }
