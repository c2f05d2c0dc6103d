"""``polychat bench`` and ``polychat embed``, against backends on loopback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polychat.cli.bench import BenchResult, percentile
from polychat.events import Finish, Text, Usage
from polychat.wire.faults import Fault

from ..support.command import run
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

ANSWER = [[Text("Hel")], [Text("lo")], [Usage(11, 7, 18), Finish("complete", "stop")]]


async def openai(serve: Any, monkeypatch: pytest.MonkeyPatch, handler: Any) -> None:
    """OpenAI's API on loopback."""
    server = await serve(handler)
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")


async def test_a_target_is_measured(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request has its own prompt and the limit of tokens; the table has times, tokens, and how many were complete."""
    vendor = ScriptedVendor("openai-chat", ANSWER)
    await openai(serve, monkeypatch, vendor)
    ran = await run("bench", "openai/m", "-n", "6", "-c", "3", "--max-tokens", "9", "--prompt", "Tell")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("openai/m: 6 requests, 3 at a time, 6 complete, in ")
    assert [line.split()[0] for line in ran.out.splitlines()[2:5]] == ["p50", "time", "whole"]
    assert "\n42 tokens, " in ran.out
    assert {str(request.messages[-1].parts[0].text) for request in vendor.asks} == {f"{number}. Tell" for number in range(1, 7)}
    assert {request.max_tokens for request in vendor.asks} == {9}


async def test_failures_are_counted_by_kind(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the exit code is 1; as JSON each request has its own."""
    await openai(serve, monkeypatch, ScriptedVendor("openai-chat", fault=Fault("no", "authentication", 401)))
    ran = await run("bench", "openai/m", "-n", "2")
    assert (ran.code, ran.out.count("complete")) == (1, 1)
    assert "0 complete" in ran.out
    assert "\n2 failed: " in ran.out
    assert "k-secret" not in ran.out + ran.err
    ran = await run("bench", "openai/m", "-n", "2", "--json")
    assert [(one["first"], bool(one["error"])) for one in json.loads(ran.out)] == [(None, True)] * 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-n", "0"], "--requests is 0"),
        (["-c", "501"], "--concurrency is 501; it must be between 1 and 500"),
        (["--max-tokens", "-1"], "--max-tokens is -1"),
    ],
)
async def test_what_is_out_of_bounds_is_refused(arguments: list[str], says: str) -> None:
    """Before anything is sent."""
    ran = await run("bench", "openai/m", *arguments)
    assert (ran.code, says in ran.err) == (2, True)


def test_rates_and_percentiles() -> None:
    """A rate counts from the first token on, and there is none for a reply that came at once."""
    assert BenchResult(first=1.0, last=3.0, tokens=21).rate == 10.0
    assert BenchResult(first=1.0, last=1.0, tokens=21).rate is None
    assert [percentile(range(1, 11), share) for share in (1, 50, 90, 99)] == [1, 5, 9, 10]


async def embeddings(seen: Seen, say: Say) -> None:
    """Vectors by the length of each text."""
    body = json.loads(seen.body)
    data = [{"index": at, "embedding": [len(text), body.get("dimensions", 0)]} for at, text in enumerate(body["input"])]
    await say.whole(json.dumps({"model": "m-1", "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}).encode())


async def test_texts_are_embedded(serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the command line, files, and standard input, whole or by lines; a vector is a line of JSON."""
    await openai(serve, monkeypatch, embeddings)
    (tmp_path / "a.txt").write_text("four\nfives\n\n")
    ask = ["embed", "-m", "openai/m"]
    assert (await run(*ask, "ab", "abc", "--dimensions", "2")).out == "[2.0, 2.0]\n[3.0, 2.0]\n"
    assert (await run(*ask, "-f", str(tmp_path / "a.txt"), "--lines")).out == "[4.0, 0.0]\n[5.0, 0.0]\n"
    assert (await run(*ask, piped=b"piped")).out == (await run(*ask, "-", piped=b"piped")).out == "[5.0, 0.0]\n"
    whole = json.loads((await run(*ask, "ab", "--json")).out)
    assert (whole["model"], whole["usage"]["prompt_tokens"]) == ("m-1", 3)
    assert whole["data"] == [{"text": "ab", "vector": [2.0, 0.0]}]


async def test_what_cannot_be_embedded_is_told(tmp_path: Path) -> None:
    """No text at all, a file that is missing, and one that is no text."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd")
    ask = ["embed", "-m", "openai/m"]
    assert "there is no text to embed" in (await run(*ask)).err
    assert "No such file" in (await run(*ask, "-f", str(tmp_path / "none"))).err
    ran = await run(*ask, "-f", str(tmp_path / "binary"))
    assert (ran.code, "text" in ran.err) == (2, True)
