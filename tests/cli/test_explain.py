"""``polychat explain`` as a person and a script meet it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polychat.cli.explain import _lines

from ..support.command import Ran, run
from ..support.running_gateway import fault, good
from ..support.scripted_server import Seen, serving

SECRET = "my secret prompt"


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"model": "house", "seed": 3, "messages": [{"role": "user", "content": SECRET}]}))
    return file


def configuration(tmp_path: Path, one: str, two: str) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[gateway]\nkeys = { alice = "env:NOT_SET_HERE" }\n[routes.house]\ntargets = ["one/small", "two/large", "three/x"]\n'
        f'[providers.one]\nwire = "openai-chat"\nbase_url = "{one}/v1"\n'
        f'[providers.two]\nwire = "openai-chat"\nbase_url = "{two}/v1"\n'
        f'[providers.three]\nwire = "anthropic"\nbase_url = "{two}"\napi_key = "env:NOT_SET_HERE"\n'
    )
    return file


async def explained(file: Path, request: Path, *more: str) -> Ran:
    return await run("explain", "--config", str(file), *more, str(request))


async def test_a_request_is_sent_and_explained(tmp_path: Path, request_file: Path) -> None:
    """Candidates with what became of each, and attempts; no key of a client is needed, no reply shown."""
    async with serving(fault(500, message="it is on fire")) as first, serving(good) as second:
        ran = await explained(configuration(tmp_path, first.url, second.url), request_file, "--json")
    printed = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert [(entry["target"], entry["outcome"]) for entry in printed["candidates"]] == [
        ("one/small", "server"),
        ("two/large", "answered"),
        ("three/x", "not asked"),
    ]
    assert [entry["outcome"] for entry in printed["attempts"]] == ["server", "complete"]
    assert (printed["prompt_tokens"], printed["verdict"]) == (3, "complete")
    assert SECRET not in ran.out
    assert "Hello" not in ran.out


async def test_it_fits_80_columns(tmp_path: Path, request_file: Path) -> None:
    """Whatever the reasons are; each line is within the width of the terminal."""
    long = fault(500, message="one word after the other " * 8)
    async with serving(long) as first, serving(good) as second:
        ran = await run(
            "explain",
            *("--config", str(configuration(tmp_path, first.url, second.url)), str(request_file)),
            env={"COLUMNS": "80"},
        )
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "/v1/chat/completions  house: route house (ordered)" in ran.out
    assert "  two/large  answered" in ran.out


def test_the_wait_in_a_queue_is_printed() -> None:
    """Beside the time that the request took in all."""
    explained = {
        **{"path": "/v1/chat/completions", "model": "fast", "route": "fast", "strategy": "ordered", "candidates": []},
        **{"status": 200, "verdict": "complete", "error": "", "duration_ms": 900.0, "queued_ms": 700.0, "attempts": []},
    }
    assert "  200 complete in 900 ms, 700 of them in the queue for a target" in list(_lines(explained))


async def test_a_dry_run_sends_nothing(tmp_path: Path, request_file: Path) -> None:
    """It tells the order, and what each target would lose or is refused for."""

    async def never(seen: Seen, say: Any) -> None:
        raise AssertionError(seen)

    async with serving(never) as server:
        file = configuration(tmp_path, server.url, server.url)
        ran = await explained(file, request_file, "--dry-run", "--json")
        as_anthropic = await explained(file, request_file, "--dry-run", "--json", "--path", "/v1/messages")
        assert server.seen == []
    one, two, three = json.loads(ran.out)["candidates"]
    assert (ran.code, one["outcome"], two["outcome"]) == (0, "passes", "passes")
    assert three["outcome"] == "refused"
    assert "NOT_SET_HERE" in three["reason"]
    assert json.loads(as_anthropic.out)["candidates"][0]["outcome"] == "translated"


async def test_a_dry_run_names_targets_that_a_condition_excludes(tmp_path: Path, request_file: Path) -> None:
    """After those that would be called, each with the condition that the request does not meet."""
    file = configuration(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")
    routes = file.read_text().replace("[providers.one]", 'conditions = ["tools", "", "prompt>8000"]\n[providers.one]', 1)
    file.write_text(routes)
    ran = await explained(file, request_file, "--dry-run", "--json")
    candidates = json.loads(ran.out)["candidates"]
    assert [(entry["target"], entry["outcome"]) for entry in candidates] == [
        ("two/large", "passes"),
        ("one/small", "passed over"),
        ("three/x", "passed over"),
    ]
    assert [entry["reason"].rpartition(" ")[2] for entry in candidates[1:]] == ["tools", "prompt>8000"]


async def test_a_request_that_fails_everywhere_is_1(tmp_path: Path, request_file: Path) -> None:
    """As for ``ask``; the explanation is there all the same."""
    async with serving(fault(401, "authentication_error", "no such key")) as server:
        ran = await explained(configuration(tmp_path, server.url, server.url), request_file)
    assert ran.code == 1
    assert "one/small  authentication" in ran.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.json"], "nowhere.json cannot be read: No such file or directory; pass a file"),
        (["--path", "/v1/models", "{file}"], "/v1/models is not a chat endpoint of the gateway"),
        (["--path", "/nothing", "{file}"], "/nothing is not a chat endpoint of the gateway"),
        (["--dry-run", "{empty}"], "the body is not a JSON object"),
    ],
)
async def test_bad_usage_is_2(tmp_path: Path, request_file: Path, arguments: list[str], says: str) -> None:
    """One line says what is wrong; nothing was sent."""
    empty = tmp_path / "empty.json"
    empty.write_text("")
    file = configuration(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9")
    filled = [argument.format(file=request_file, empty=empty) for argument in arguments]
    ran = await run("explain", "--config", str(file), *filled)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
