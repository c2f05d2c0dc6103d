"""``polychat config`` as a person and a script meet it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from polychat import config
from polychat.config.schema import schema

from ..support.command import run

GOOD = """
[gateway]
keys = { me = "env:MY_KEY" }
[routes.fast]
targets = ["house/small", "openai/gpt-4o"]
[aliases]
quick = "fast"
[providers.house]
wire = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
headers = { x-api-key = "k-secret" }
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", "a-key-of-the-gateway")
    return tmp_path


async def test_a_valid_file_is_0_and_its_contents_are_counted(here: Path, own_config: Any) -> None:
    """By name, or the one that ``serve`` would go by here: the folder's, else the person's own; without any, that is
    printed.
    """
    none = await run("config", "check")
    assert (none.code, none.err) == (0, "")
    assert none.out.startswith("no polychat.toml here, nor in ")
    own = own_config(GOOD)
    assert (await run("config", "check")).out.startswith(str(own))
    (here / "polychat.toml").write_text(GOOD)
    for file in ([], ["polychat.toml"]):
        ran = await run("config", "check", *file)
        assert (ran.code, ran.err) == (0, "")
        assert str(own) not in ran.out
        assert ran.out.endswith("polychat.toml: good: 1 route, 1 alias, 1 provider, 0 local models, 0 MCP servers\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n[gateway]\nport = 'x'", 'bad.toml:3: gateway.port is "x"; it must be a whole number from 0 to 65535'),
        ("[gateway", "bad.toml:1: cannot be read as TOML: "),
        ('[routes.a]\n\ntargets = ["opnai/m"]', "bad.toml:3: routes.a.targets names opnai/m: no model"),
        ('[aliases]\na = "opnai/m"', "bad.toml:2: aliases.a names opnai/m: no model"),
        ('[providers.h]\nbase_url = "http://u"', "bad.toml:1: providers.h has no wire"),
        (
            '[providers.h]\nbase_url = "http://u"\nwire = "openai"',
            'bad.toml:3: providers.h.wire is "openai"; it must be "anthropic", "gemini", "ollama", "openai-chat"',
        ),
        (None, "bad.toml cannot be read: "),
    ],
)
async def test_an_invalid_file_is_2_with_the_place_of_the_error(here: Path, text: str | None, says: str) -> None:
    """One line: the file, the line, the key, and what was expected."""
    if text is not None:
        (here / "bad.toml").write_text(text)
    ran = await run("config", "check", "bad.toml")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"polychat: error: {says}")
    assert ran.err.count("\n") == 1


async def test_a_bare_name_is_good_where_a_list_may_have_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In routes and aliases, once a vendor with a list has a key: the gateway looks there at the first request."""
    (here / "mine.toml").write_text('[routes.a]\ntargets = ["gpt-9"]\n[aliases]\nb = "gpt-9"')
    ran = await run("config", "check", "mine.toml")
    assert (ran.code, ran.err.startswith("polychat: error: mine.toml:2: routes.a.targets names gpt-9: no model")) == (2, True)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert (await run("config", "check", "mine.toml")).code == 0


async def test_show_prints_all_that_is_in_force(here: Path) -> None:
    """Defaults too; as a file that says the same; references are shown, and credentials are not."""
    (here / "mine.toml").write_text(GOOD)
    ran = await run("config", "show", "mine.toml")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("# mine.toml\n")
    assert "env:MY_KEY" in ran.out
    assert "k-secret" not in ran.out
    shown, meant = config.parsed(ran.out, here), config.read(here / "mine.toml")
    assert (shown.gateway, shown.routes, shown.aliases) == (meant.gateway, meant.routes, meant.aliases)
    assert tomllib.loads(ran.out)["gateway"]["limits"]["body"] == meant.gateway.limits.body
    nothing = await run("config", "show")
    assert nothing.out.startswith("# no polychat.toml: the defaults\n")


async def test_schema_is_printed() -> None:
    """As JSON."""
    ran = await run("config", "schema")
    assert (ran.code, ran.err, json.loads(ran.out)) == (0, "", schema())


LITELLM = """
model_list:
  - {model_name: fast, litellm_params: {model: groq/llama-3.1-8b-instant, api_key: sk-secret}}
  - {model_name: fast, litellm_params: {model: hosted_vllm/m, api_base: "http://127.0.0.1:9/v1"}}
  - {model_name: far, litellm_params: {model: bedrock/x}}
general_settings: {master_key: os.environ/MASTER}
"""


async def test_an_imported_file_is_good(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the vendors' real rows. Losses are printed on standard error and in the file; a file that is there is kept."""
    (here / "config.yaml").write_text(LITELLM)
    monkeypatch.setenv("MASTER", "a-key-of-the-gateway")
    ran = await run("config", "import", "config.yaml", "-o", "polychat.toml")
    assert (ran.code, ran.out) == (0, "")
    notes = [line.removeprefix("polychat: note: ") for line in ran.err.splitlines()]
    assert len(notes) == 2
    assert all(f"#   {line}\n" in (here / "polychat.toml").read_text() for line in notes)
    assert "sk-secret" not in ran.err + (here / "polychat.toml").read_text()
    checked = await run("config", "check", "polychat.toml")
    assert (checked.code, checked.err) == (0, "")
    assert config.read(here / "polychat.toml").routes["fast"].targets == ("groq/llama-3.1-8b-instant", "vllm-2/m")
    again = await run("config", "import", "config.yaml", "--output", "polychat.toml")
    assert again.code == 2
    assert "polychat.toml cannot be written: File exists" in again.err
    printed = await run("config", "import", "config.yaml")
    assert printed.out == (here / "polychat.toml").read_text()


@pytest.mark.parametrize("content", [None, b"\xff", b"- 1"])
async def test_what_cannot_be_imported_is_2(here: Path, content: Any) -> None:
    """No such file, no text, no configuration."""
    if content is not None:
        (here / "c.yaml").write_bytes(content)
    ran = await run("config", "import", "c.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert "c.yaml" in ran.err


async def test_a_broken_file_here_does_not_keep_one_from_importing(here: Path) -> None:
    """Nor are the vendors those of a file that is to be replaced."""
    (here / "polychat.toml").write_text("[broken")
    (here / "c.yaml").write_text("model_list: [{model_name: a, litellm_params: {model: gpt-4o}}]")
    assert (await run("config", "import", "c.yaml")).code == 0


async def test_an_action_is_needed() -> None:
    """And the actions are named."""
    ran = await run("config")
    assert ran.code == 2
    assert "ACTION" in ran.err
