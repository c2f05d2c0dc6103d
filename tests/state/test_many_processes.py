"""Eight processes of one machine spend one budget through each store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..support.database_servers import valkey

pytest.importorskip("sqlalchemy", reason="needs the extra: pip install 'polychat[state]'")
CAP, LARGEST, PROCESSES = 5_000, 60, 8
_SPENDING = """
import json, os, sys
from random import Random
from time import time

from polychat.state.ledger import Bucket, BucketFull, BucketName, Ledger
from polychat.state.sharing import SharedBuckets

url, cap, largest, processes = sys.argv[1], *map(int, sys.argv[2:])


def store():
    if url.startswith("valkey"):
        from polychat.state.valkey import ValkeyLedger as Store
    else:
        from polychat.state.database.store import DatabaseStore as Store
    return Store(url, patience=30)


def spent(seed):
    \"\"\"What one process uses until three requests on end are refused, and by how much that is more than it reserved.\"\"\"
    random, ledger, bucket = Random(seed), Ledger(3600), Bucket(BucketName("team", "red", "tokens", "month"), cap)
    bucket.granted = 0
    shared = SharedBuckets(store(), ledger, time)
    running, used, beyond, refused = [], 0, 0, 0
    while refused < 3:
        charges = [(bucket, random.randint(1, largest))]
        result = ledger.reserve(charges, time())
        if isinstance(result, BucketFull):
            shared.top_up(charges)
            result = ledger.reserve(charges, time())
        if isinstance(result, BucketFull):
            refused += 1
        else:
            refused = 0
            running.append(result)
        if running and (refused or len(running) > 5):
            reservation = running.pop(0)
            reserved = reservation.charges[0][1]
            amount = random.randint(reserved // 2, reserved) if random.random() < 0.95 else reserved + 7
            ledger.settle(reservation, [amount])
            used, beyond = used + amount, beyond + max(0, amount - reserved)
        if random.random() < 0.05:
            shared.refresh()
    for reservation in running:
        ledger.settle(reservation, [reservation.charges[0][1]])
        used += reservation.charges[0][1]
    shared.close()
    return {"used": used, "beyond": beyond}


if not url.startswith("valkey"):
    store().last_change()  # makes the tables
reads = []
for seed in range(processes):
    read, write = os.pipe()
    if not os.fork():
        os.write(write, json.dumps(spent(seed)).encode())
        os._exit(0)
    os.close(write)
    reads.append(read)
print(json.dumps([json.loads(os.read(read, 1000)) for read in reads]))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "valkey"])
def test_eight_processes_pass_the_cap_by_no_more_than_their_requests_do(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Together they use the budget up to the size of a request for each, and exceed it by no more than what requests used
    beyond their own reservations."""
    if kind == "valkey":
        with valkey(tmp_path) as url:
            results = spending(url)
    elif kind == "sqlite":
        results = spending(f"sqlite:///{tmp_path}/gateway.db")
    else:
        results = spending(str(request.getfixturevalue("postgresql_server").url))
    used, beyond = (sum(result[name] for result in results) for name in ("used", "beyond"))
    assert len(results) == PROCESSES
    assert CAP - PROCESSES * 6 * LARGEST < used <= CAP + beyond


def spending(url: str) -> list[Any]:
    """What each process tells of itself."""
    command = [sys.executable, "-c", _SPENDING, url, *map(str, (CAP, LARGEST, PROCESSES))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout)
    return results
