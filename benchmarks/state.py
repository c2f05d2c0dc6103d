"""What it costs to keep usage and keys: records a second, bytes a record, a request's observer, a store with many keys."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, perf_counter, process_time, time

from polychat.config.settings import State
from polychat.errors import Failure
from polychat.events import Usage
from polychat.gateway.observe.record import Record
from polychat.gateway.observe.usage import Conversion, UsageLog
from polychat.state.database.store import DatabaseStore
from polychat.state.database.tables import keys as key_table
from polychat.state.store import UsageFilter, UsageLabels, UsageRecord

from .report import Table, progress

RECORDS, BATCH = 1_000_000, 5_000
KEYS = 1_000_000
ADDED = 50_000


def measure() -> Iterator[Table]:
    """Two tables: usage, and keys. Some minutes, and 200 MB in the folder of temporary files."""
    with tempfile.TemporaryDirectory() as folder:
        yield _usage(Path(folder) / "usage.db")
        yield _keys(Path(folder) / "keys.db")


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
    log = UsageLog(State(url=f"sqlite:///{folder}/none.db", spool=str(folder / "spool")), lambda *_: None)
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
