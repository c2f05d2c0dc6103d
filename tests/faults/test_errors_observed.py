"""Kinds of fault: a dead backend behind a route that nobody sees, and an operator's mistake told to a client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polychat.gateway.observe.logs import Log
from polychat.gateway.observe.metrics import Metrics, fold
from polychat.gateway.paths import DIALECTS

from ..furniture.gateways import asking, configured, fault, gateway, good, row


async def test_each_target_by_its_outcome(serve: Any) -> None:
    """Metrics count the attempts at each target, and the log names the one that failed, though another answered."""
    first, second = await serve(fault(500, "server_error", "the disk is full")), await serve(good)
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    lines: list[bytes] = []
    async with gateway(configured(providers, routes={"fast": ("house/small", "other/small")})) as here:
        for _ in range(2):
            await here.ask(*asking("openai-chat", "fast"))
        await here.ask(*asking("openai-chat", "house/made-up"))
        records = await here.app.recorded(3)
        body = here.app.metrics.view().rendered("")[0].decode()
        log = Log("json", 1.0, lines.append)
        log(records[0])
        log.close()
    assert 'polychat_attempts_total{outcome="server",route="fast",target="house/small"} 2.0' in body
    assert 'polychat_attempts_total{outcome="answered",route="fast",target="other/small"} 2.0' in body
    assert 'polychat_attempts_total{outcome="server",route="",target="house"} 2.0' in body
    assert "made-up" not in body
    (line,) = (json.loads(line) for line in b"".join(lines).splitlines())
    assert line["target"].startswith("other/")
    assert line["failures"][0].startswith("house/small: server: ")
    assert "the disk is full" in line["failures"][0]


async def test_across_workers(serve: Any, tmp_path: Path) -> None:
    """Attempts of all workers are added, those of workers that ended too."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, routes={"one": ("house/small",)})) as here:
        await here.ask(*asking("openai-chat", "one"))
        (record,) = await here.app.recorded()
    workers = [Metrics(lambda: 0, tmp_path) for _ in range(3)]
    for worker in workers:
        worker(record)
        worker.close()
    fold(tmp_path, [])
    living = Metrics(lambda: 0, tmp_path)
    living(record)
    body = living.view().rendered("")[0].decode()
    living.close()
    assert 'polychat_attempts_total{outcome="answered",route="one",target="house/small"} 4.0' in body


MISTAKES: dict[str, dict[str, Any]] = {
    "no key": {"api_key": "env:THE_SECRET_VARIABLE"},
    "no file": {"api_key": "file:/somewhere/of/the/operator"},
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("door", DIALECTS)
async def test_a_mistake_of_the_operator(door: str, mistake: str) -> None:
    """Is 503 for the client, naming no variable and no file, and not worth a retry; the log has what is missing."""
    told = row("openai-chat", "http://127.0.0.1:9", **MISTAKES[mistake])
    async with gateway(configured({"house": told})) as here:
        answer = await here.ask(*asking(door))
        (record,) = await here.app.recorded()
    assert answer.status == 503
    assert answer.headers["x-should-retry"] == "false"
    for secret in ("THE_SECRET_VARIABLE", "/somewhere", "env:", "file:", "api_key"):
        assert secret not in answer.body.decode()
    assert "THE_SECRET_VARIABLE" in record.error or "/somewhere/of/the/operator" in record.error
