"""The command and API vendors: images, files, schemas, thoughts, usage, lists of models."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from polychat.cli import models
from polychat.events import Citation, Finish, Start, Text, Usage
from polychat.types import FilePart, ImagePart
from polychat.wire.faults import Fault
from polychat.wire.models import ModelInfo, write_models

from ..support.command import run
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

HELLO = [[Start("one", "m")], [Text("Hel")], [Text("lo")], [Usage(11, 7, 18), Finish("complete", "stop")]]


@pytest.fixture
async def dialect(serve: Any, monkeypatch: pytest.MonkeyPatch) -> ScriptedVendor:
    """OpenAI on loopback, with a key in the environment."""
    made = ScriptedVendor("openai-chat", HELLO)
    server = await serve(made)
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    return made


async def test_a_vendor_answers(dialect: ScriptedVendor) -> None:
    """Piece by piece to standard output; tokens and cost on the other."""
    ran = await run("ask", "-m", "openai/m", "--usage", "hi")
    assert (ran.code, ran.out) == (0, "Hello\n")
    assert "11 tokens in, 7 out; unpriced" in ran.err


async def test_what_nobody_counted_is_estimated(dialect: ScriptedVendor) -> None:
    """And marked as such."""
    dialect.answer = [[Text("hello")], [Finish("complete", "stop")]]
    ran = await run("ask", "-m", "openai/m", "--usage", "hi")
    assert "(estimated); unpriced" in ran.err


async def test_images_files_schema_and_reasoning_arrive(dialect: ScriptedVendor, tmp_path: Path) -> None:
    """Each as what it is."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "s.json").write_text('{"type": "object", "title": "Thing", "properties": {"a": {"type": "string"}}}')
    dialect.answer = [[Text('{"a":"b"}')], [Finish("complete", "stop")]]
    files = ["--image", str(tmp_path / "a.png"), "--file", str(tmp_path / "a.pdf"), "--schema", str(tmp_path / "s.json")]
    ran = await run("ask", "-m", "openai/m", *files, "--reasoning", "low", "--json", "what is it?")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["parsed"] == {"a": "b"}
    request = dialect.asks[0]
    kinds = [type(part) for turn in request.messages for part in turn.parts]
    assert {ImagePart, FilePart} <= set(kinds)
    assert request.format is not None
    assert request.format.name == "Thing"
    assert request.reasoning is not None
    assert request.reasoning.effort == "low"


async def test_json_tells_everything(dialect: ScriptedVendor) -> None:
    """Usage, sources, losses, the served model; no key."""
    dialect.answer = [[Start("one", "m")], [Text("so"), Citation("A", "https://example.org")], *HELLO[3:]]
    ran = await run("ask", "-m", "openai/m", "--json", "hi")
    reply = json.loads(ran.out)
    assert (reply["text"], reply["served"], reply["verdict"], reply["usage"]["prompt_tokens"]) == (
        "so",
        "m",
        "complete",
        11,
    )
    assert reply["sources"][0]["url"] == "https://example.org"
    assert (reply["losses"], reply["cost"]) == ([], None)
    assert "k-secret" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--schema", "/no/such.json"], "--schema /no/such.json cannot be read"),
        (["--image", "/no/such.png"], "/no/such.png cannot be read"),
        (["--reasoning", "very"], "reasoning is 'very'"),
        (["--on-loss", "perhaps"], "--on-loss"),
        (["-o", "temprature=1"], "-o temprature: openai has no such option; did you mean temperature?"),
        (["-o", "temperature=hot"], "temperature is 'hot'"),
    ],
)
async def test_bad_usage_is_2(dialect: ScriptedVendor, arguments: list[str], says: str) -> None:
    """Nothing is sent, and the part at fault is named."""
    ran = await run("ask", "-m", "openai/m", *arguments, "hi")
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert dialect.seen == []


async def test_a_loss_is_reported_in_one_line(dialect: ScriptedVendor) -> None:
    """On standard error, as a warning for a person."""
    ran = await run("ask", "-m", "openai/m", "-o", "top_k=3", "hi")
    assert (ran.code, ran.out) == (0, "Hello\n")
    assert ran.err == "polychat: warning: top_k is dropped: OpenAI: the API rejects it\n"


async def test_a_refused_key_is_1_and_not_shown(dialect: ScriptedVendor) -> None:
    """The vendor's words, without the key."""

    dialect.fault = Fault("Incorrect API key provided: k-secret", "authentication", 401)
    ran = await run("ask", "-m", "openai/m", "hi")
    assert (ran.code, ran.out) == (1, "")
    assert "401" in ran.err
    assert "k-secret" not in ran.err


async def test_a_missing_key_names_its_variable() -> None:
    """Exit code 1: something is missing on this machine."""
    ran = await run("ask", "-m", "groq/m", "hi")
    assert ran.code == 1
    assert "GROQ_API_KEY" in ran.err


async def test_models_of_a_vendor(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As targets to be copied, and as JSON."""

    async def listing(seen: Seen, say: Say) -> None:
        assert (seen.method, seen.path) == ("GET", "/v1/models")
        assert seen.headers["authorization"] == "Bearer k"
        await say.whole(write_models("openai-chat", [ModelInfo("b", context=5), ModelInfo("a")]))

    server = await serve(listing)
    monkeypatch.setenv("GROQ_API_KEY", "k")
    plain = await run("models", "groq", "--base-url", f"{server.url}/v1")
    assert (plain.code, plain.out) == (0, "groq/a\ngroq/b\n")
    printed = json.loads((await run("models", "groq", "--json", "--base-url", f"{server.url}/v1")).out)
    assert [(one["id"], one["context"]) for one in printed] == [("b", 5), ("a", None)]


async def test_models_of_all_vendors(serve: Any, monkeypatch: pytest.MonkeyPatch, own_config: Any) -> None:
    """Of those that are set up, with what is known of each; one that does not answer is reported, and the others are listed."""

    async def listing(seen: Seen, say: Say) -> None:
        await say.whole(write_models("openai-chat", [ModelInfo("b", context=131_072, can={"tools": True}), ModelInfo("a")]))

    server = await serve(listing)
    own_config('[prices."groq/b"]\nprompt = 0.25\ncompletion = 2\n')
    for vendor, url in {"GROQ": f"{server.url}/v1", "MISTRAL": "http://127.0.0.1:1/v1"}.items():
        monkeypatch.setenv(f"{vendor}_API_KEY", "k")
        monkeypatch.setenv(f"{vendor}_BASE_URL", url)
    plain = await run("models", "all")
    assert (plain.code, plain.out, "mistral: cannot connect" in plain.err) == (0, "groq/a\ngroq/b\n", True)
    table = (await run("models", "all", "--long")).out.splitlines()
    assert table[0].split() == ["groq/a", "?", "?"]
    assert table[1].split()[:5] == ["groq/b", "131,072", "$0.25", "/", "$2"]
    rows = json.loads((await run("models", "all", "--json")).out)
    assert [(one["target"], one["price"]) for one in rows] == [("groq/b", [0.25, 2.0]), ("groq/a", None)]
    assert "one vendor" in (await run("models", "all", "--base-url", server.url)).err


async def test_models_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name is reported with the most similar one."""
    ran = await run("models", "grok")
    assert ran.code == 2
    assert "groq" in ran.err


async def test_an_error_says_who_where_and_what_next(dialect: ScriptedVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend with its host, for a rejected key where it is set; a server that is not there; an answer that was cut."""
    dialect.fault = Fault("Incorrect API key provided", "authentication", 401)
    ran = await run("ask", "-m", "openai/m", "hi")
    start = "polychat: error: openai (127.0.0.1): 401 X: Incorrect API key provided"
    assert ran.err.startswith(start), ran.err
    assert ran.err.endswith(" (key from OPENAI_API_KEY)\n")
    dialect.fault, dialect.answer = None, [[Text("Once")], [Finish("complete", "length")]]
    ran = await run("ask", "-m", "openai/m", "hi")
    assert (ran.code, ran.out, "stopped at max_tokens" in ran.err) == (0, "Once\n", True)
    for host in ("127.0.0.1", "localhost"):
        ran = await run("ask", "-m", "openai/m", "hi", env={"OPENAI_BASE_URL": f"http://{host}:1/v1"})
        assert ran.err == f"polychat: error: cannot connect to {host}:1: connection refused. Is the server running?\n"


def test_the_list_of_weights_says_what_they_lack(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the extra ``local``, on standard error."""
    arguments = argparse.Namespace(what="list")
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert models.run(arguments) == 0
    printed = capsys.readouterr()
    assert "local/smollm2" in printed.out
    assert 'pip install "polychat[local]"' in printed.err
