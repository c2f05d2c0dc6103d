"""``polychat setup``: the settings of programs that use a gateway, tried by real requests, and a first configuration."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from polychat.cli.client_tools import TOOLS, Access, ToolFile
from polychat.cli.file_changes import changed, shown
from polychat.cli.written_settings import FILE, before_setup, record
from polychat.events import Finish, Text, Usage
from polychat.state.probes import folder
from polychat.wire.models import ModelInfo, write_models

from ..support.command import run
from ..support.running_gateway import Running, configured, gateway, row
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

READERS: Mapping[str, Any] = {".json": json.loads, ".toml": tomllib.loads, ".yaml": yaml.safe_load}
ACCESS = Access("http://127.0.0.1:8000", "house/small", "")
FILES = {name: file for name, tool in TOOLS.items() if (file := tool.file(ACCESS)) is not None}


@pytest.fixture
async def here(serve: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Running]:
    """A gateway in front of one scripted backend."""
    monkeypatch.setenv("TEAM_KEY", "key-of-the-team")
    vendor = ScriptedVendor("openai-chat", [[Text("ready")], [Usage(1, 1, 2), Finish("complete", "stop")]])
    server = await serve(vendor)
    async with gateway(configured({"house": row("openai-chat", server.url)}, keys={"team": "env:TEAM_KEY"})) as running:
        yield running


@pytest.mark.parametrize("name", ["codex", "claude-code", "gemini-cli", "llm"])
async def test_settings_are_tried_by_the_api_that_the_program_uses(here: Running, name: str, tmp_path: Path) -> None:
    """One program of each API: a request went through the gateway, and the key is named and not shown."""
    environment = {"POLYCHAT_KEY": "key-of-the-team", "HOME": str(tmp_path)}
    ran = await run("setup", name, "-m", "house/small", "--url", here.url, env=environment)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"# house/small answered through {here.url} in ")
    record = (await here.app.recorded(2))[-1]
    assert (record.dialect, record.model, record.verdict) == (TOOLS[name].wire, "house/small", "complete")
    assert here.url in ran.out.partition("\n")[2]
    assert "key-of-the-team" not in ran.out
    assert not [*tmp_path.rglob("*.json"), *tmp_path.rglob("*.toml")]


async def test_what_does_not_work_is_told_and_not_written(here: Running, tmp_path: Path) -> None:
    """Without a key, with a model that does not exist, and without a gateway."""
    environment = {"HOME": str(tmp_path)}
    ask = ["setup", "codex", "--write"]
    ran = await run(*ask, "-m", "house/small", "--url", here.url, env=environment)
    assert (ran.code, "nothing was written: " in ran.err, "401" in ran.err) == (1, True, True)
    ran = await run(*ask, "-m", "no/such", "--url", here.url, env={**environment, "POLYCHAT_KEY": "key-of-the-team"})
    assert (ran.code, "nothing was written: " in ran.err) == (1, True)
    ran = await run(*ask, "-m", "house/small", "--url", "http://127.0.0.1:1", env=environment)
    assert "Is the server running? Start the gateway with  polychat serve" in ran.err
    assert not (tmp_path / ".codex").exists()
    assert (await run("setup", "codex", "--url", "nonsense")).code == 2


async def test_llm_answers_with_what_was_written(here: Running, tmp_path: Path) -> None:
    """The program itself, with the file that was written, asks the gateway."""
    environment = {"LLM_USER_PATH": str(tmp_path), "POLYCHAT_KEY": "key-of-the-team", "HOME": str(tmp_path)}
    ran = await run("setup", "llm", "--write", "-m", "house/small", "--url", here.url, env=environment)
    assert (ran.code, ran.err) == (0, "")
    (tmp_path / "keys.json").write_text('{"polychat": "key-of-the-team"}')
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "llm"),
        *("-m", "polychat/house/small", "hi"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert out.decode().strip() == "ready"


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_valid_and_stays_when_it_is_written_again(name: str) -> None:
    """In its own format, with all that it is to have; a second time nothing changes."""
    file = FILES[name]
    read = READERS[file.path.suffix]
    text = changed(file, None)
    assert text is not None
    assert read(text) == file.content
    assert changed(file, text) == text


def test_what_a_file_has_stays() -> None:
    """Members of JSON, comments and tables of TOML, entries of a YAML list."""
    zed = FILES["zed"]
    before = {"theme": "One", "language_models": {"ollama": {"api_url": "x"}}}
    merged = json.loads(changed(zed, json.dumps(before)) or "")
    assert merged["theme"] == "One"
    assert set(merged["language_models"]) == {"ollama", "openai_compatible"}
    codex = FILES["codex"]
    text = changed(codex, '# mine\nsandbox = "on"  # why\n\n[mcp_servers.a]\ncommand = "b"\n')
    assert text is not None
    assert text.startswith('# mine\nsandbox = "on"  # why\n')
    assert tomllib.loads(text) == {**codex.content, "sandbox": "on", "mcp_servers": {"a": {"command": "b"}}}  # type: ignore[dict-item]
    llm = FILES["llm"]
    text = changed(llm, "# mine\n- model_id: a\n  model_name: b\n")
    assert text is not None
    assert text.startswith("# mine\n")
    assert yaml.safe_load(text) == [{"model_id": "a", "model_name": "b"}, *llm.content]


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("zed", "// my settings\n{}"),
        ("codex", 'model = "gpt-5"\n'),
        ("codex", "model_providers = 7\n"),
        ("codex", "= broken\n"),
        ("continue", "name: mine\nmodels: []\n"),
        ("llm", "name: [broken\n"),
    ],
)
def test_what_would_be_lost_is_left_to_its_owner(name: str, before: str) -> None:
    """Comments of JSON, a setting that has another value, mappings of YAML, and files that are not valid."""
    assert changed(FILES[name], before) is None


async def test_a_file_that_exists_is_kept_beside(here: Running, tmp_path: Path) -> None:
    """What was there before is in ``.bak``; where it cannot be merged, what to add is shown and nothing is written."""
    file = tmp_path / ".codex" / "config.toml"
    file.parent.mkdir()
    file.write_text('sandbox = "on"\n')
    ask = ["setup", "codex", "--write", "-m", "house/small", "--no-test", "--url", here.url]
    ran = await run(*ask, env={"HOME": str(tmp_path)})
    assert (ran.code, f"{file} is written" in ran.out) == (0, True)
    assert (tomllib.loads(file.read_text())["model"], file.with_name("config.toml.bak").read_text()) == (
        "house/small",
        'sandbox = "on"\n',
    )
    file.write_text('model = "other"\n')
    ran = await run(*ask, env={"HOME": str(tmp_path)})
    assert (ran.code, "[model_providers.polychat]" in ran.err, file.read_text()) == (2, True, 'model = "other"\n')


async def ollama(seen: Seen, say: Say) -> None:
    """A server with two models."""
    await say.whole(write_models("ollama", [ModelInfo("tiny"), ModelInfo("large")]))


async def test_a_first_configuration_is_proposed_and_written(serve: Any, tmp_path: Path) -> None:
    """With the server that answers, and the vendor whose key is set but whose API does not answer; written only on request."""
    server = await serve(ollama)
    environment = {
        **{"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "OLLAMA_HOST": server.url},
        **{"GROQ_API_KEY": "k-secret", "GROQ_BASE_URL": "http://127.0.0.1:1/v1"},
    }
    ran = await run("setup", env=environment)
    assert (ran.code, ran.err) == (0, "")
    assert "groq         key from GROQ_API_KEY: cannot connect" in ran.out
    assert f"ollama       {server.url}: tiny, large" in ran.out
    assert "k-secret" not in ran.out
    file = tmp_path / "polychat" / "polychat.toml"
    assert not file.exists()
    ran = await run("setup", "--write", env=environment)
    assert f"{file} is written" in ran.out
    assert tomllib.loads(file.read_text()) == {"default_model": "ollama/tiny"}
    assert "stays as it is" in (await run("setup", "--write", env=environment)).out


async def vendor_models(seen: Seen, say: Say) -> None:
    """A vendor's list, as long ones are: other kinds of models first."""
    names = ["text-embedding-3-small", "gpt-9-pro", "gpt-9-mini", "gpt-8-mini", "gpt-audio-mini"]
    await say.whole(write_models("openai-chat", [ModelInfo(name, created=9 - place) for place, name in enumerate(names)]))


async def test_a_vendor_whose_key_works_is_proposed(serve: Any, tmp_path: Path) -> None:
    """Before the embedded model, with a chat model that costs little; a server on this machine comes before it."""
    server, local = await serve(vendor_models), await serve(ollama)
    environment = {
        **{"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "OPENAI_API_KEY": "k-secret"},
        **{"OPENAI_BASE_URL": f"{server.url}/v1", "OLLAMA_HOST": "http://127.0.0.1:1"},
    }
    ran = await run("setup", env=environment)
    assert 'default_model = "openai/gpt-9-mini"' in ran.out
    assert '# targets = ["openai/gpt-9-mini"]' in ran.out
    ran = await run("setup", env={**environment, "OLLAMA_HOST": local.url})
    assert 'default_model = "ollama/tiny"' in ran.out


@pytest.mark.parametrize("name", FILES)
async def test_what_setup_wrote_is_replaced_and_what_a_person_changed_is_not(name: str, tmp_path: Path) -> None:
    """Another model the second time; a person's settings stay, and one that was changed is refused."""
    folders = {key: str(tmp_path) for key in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "LLM_USER_PATH")}

    async def written(model: str) -> int | None:
        return (await run("setup", name, "--write", "--no-test", "--url", "http://127.0.0.1:1", "-m", model, env=folders)).code

    assert await written("a/x") == 0
    (file,) = [path for path in tmp_path.rglob("*") if path.name == FILES[name].path.name]
    if file.suffix == ".toml":
        file.write_text(f"# mine\n{file.read_text()}\n[mine]\nkey = 1\n")
    elif file.suffix == ".json":
        file.write_text(json.dumps({"mine": 1, **json.loads(file.read_text())}))
    elif name == "llm":
        file.write_text(f"- model_id: mine\n{file.read_text()}")
    assert await written("b/y") == 0
    text = file.read_text()
    assert ("b/y" in text or name == "gemini-cli", "a/x" in text) == (True, False)
    assert ("mine" in text) == (name != "continue")
    file.write_text(text.replace("b/y", "my/own"))
    assert await written("c/z") == (0 if name in ("gemini-cli", "llm") else 2)
    assert "my/own" in file.read_text() or name == "gemini-cli"


def test_what_was_written_is_known_without_its_last_line_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Editors remove it; and a record that is damaged is as none."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for file in FILES.values():
        read, text = READERS[file.path.suffix], shown(file).rstrip()
        record(file)
        assert not read(before_setup(file, text)), file.path
        for damaged in ("oops", 5, [1], {"a": 1}):
            (folder() / FILE).write_text(json.dumps({str(file.path): damaged}))
            assert read(before_setup(file, text)) == read(text), file.path


async def test_a_gateway_is_not_taken_for_a_server_with_models(here: Running, tmp_path: Path) -> None:
    """Its usual port is that of vLLM."""
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "VLLM_BASE_URL": f"{here.url}/v1"}
    ran = await run("setup", env={**environment, "VLLM_API_KEY": "key-of-the-team"})
    assert (ran.code, "vllm" in ran.out) == (0, False)


def test_keys_are_named_and_never_written() -> None:
    """In no file; a program that requires one where the gateway does not gets a word in its place."""
    access = ACCESS._replace(variable="POLYCHAT_KEY")
    for tool in TOOLS.values():
        file = tool.file(access)
        text = "" if file is None else shown(ToolFile(file.path, file.content))
        named = text + "".join(tool.variables(access).values())
        assert "none" not in named


async def test_a_file_of_the_folder_is_not_trusted_with_a_key(tmp_path: Path) -> None:
    """It may be other people's: it must be named, or the address and the model must be."""
    (tmp_path / "polychat.toml").write_text('default_model = "x; touch pwned #"\n[gateway]\nport = 1\n')
    ran = await run("setup", "claude-code", "--no-test", cwd=tmp_path)
    assert (ran.code, "--config polychat.toml" in ran.err, ran.out) == (2, True, "")
    ran = await run("setup", "claude-code", "--no-test", "--config", "polychat.toml", cwd=tmp_path)
    assert "ANTHROPIC_DEFAULT_OPUS_MODEL='x; touch pwned #'" in ran.out
    assert "claude --model 'x; touch pwned #'" in ran.out
    assert (await run("setup", "aider", "--url", "http://u:hunter2@host", "-m", "a/x", cwd=tmp_path)).code == 2


def test_json_is_changed_only_where_nothing_is_lost() -> None:
    """Another value, a name that is there twice, a number with more digits than Python's, a file that is a list."""
    zed, gemini = FILES["zed"], FILES["gemini-cli"]
    for file, before in (
        (gemini, '{"security": "strict"}'),
        (zed, '{"a": 1, "a": 2}'),
        (zed, '{"a": 12345678901234567890.5}'),
        (zed, "[1, 2]"),
        (zed, '{"language_models": {"openai_compatible": {"polychat": {"api_url": "other"}}}}'),
    ):
        assert changed(file, before) is None, before


async def test_the_earlier_content_is_never_overwritten(tmp_path: Path) -> None:
    """A second writing keeps what the first one made beside what was there before it."""
    file = tmp_path / ".codex" / "config.toml"
    file.parent.mkdir()
    file.write_text("# mine\n")
    ask = ["setup", "codex", "--write", "--no-test", "--url", "http://127.0.0.1:1", "-m"]
    await run(*ask, "a/x", env={"HOME": str(tmp_path)})
    file.write_text("# mine again\n")
    await run(*ask, "a/x", env={"HOME": str(tmp_path)})
    assert sorted(one.read_text() for one in file.parent.glob("*.bak*")) == ["# mine\n", "# mine again\n"]
