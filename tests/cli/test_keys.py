"""``polychat keys``: a vendor's key is kept, used, listed by its source, and removed; it is never shown."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polychat.backends.registry import Registry
from polychat.config import Config
from polychat.errors import NotReady
from polychat.events import Finish, Text
from polychat.user import vendor_keys

from ..support.command import run
from ..support.scripted_vendors import ScriptedVendor


@pytest.fixture
async def vendor(serve: Any, monkeypatch: pytest.MonkeyPatch, own_config: Callable[[str], Path]) -> ScriptedVendor:
    """OpenAI on loopback, without a key, and a configuration folder of this test."""
    own_config("")
    vendor = ScriptedVendor("openai-chat", [[Text("Hello")], [Finish("complete", "stop")]])
    monkeypatch.setenv("OPENAI_BASE_URL", f"{(await serve(vendor)).url}/v1")
    return vendor


async def test_a_key_is_kept_used_listed_and_removed(vendor: ScriptedVendor, tmp_path: Path) -> None:
    """Piped in, in a file for its owner alone; the environment overrides it; no output has it."""
    ran = [await run("keys", "set", "OpenAI", "--file", piped=b" sk-canary-1\n")]
    file = tmp_path / "own-configuration/polychat/keys.toml"
    assert ran[0].err == f"polychat: note: the key for OpenAI is kept in {file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ran += [await run("-m", "openai/m", "Say hello")]
    assert (ran[1].out, vendor.seen[0].headers["authorization"]) == ("Hello\n", "Bearer sk-canary-1")
    ran += [await run("keys"), await run("keys", "list", "--json"), await run("providers")]
    assert f"set: {file}" in ran[2].out.splitlines()[0]
    rows = {row["name"]: row for row in json.loads(ran[3].out)}
    assert (rows["openai"]["is_set"], rows["openai-responses"]["is_set"], rows["groq"]["is_set"]) == (True, True, False)
    assert "OPENAI_API_KEY, set" in ran[4].out
    environment = {"OPENAI_API_KEY": "sk-canary-2"}
    ran += [await run("-m", "openai/m", "Say hello", env=environment), await run("keys", env=environment)]
    assert vendor.seen[1].headers["authorization"] == "Bearer sk-canary-2"
    assert "set: OPENAI_API_KEY\n" in ran[6].out
    ran += [await run("keys", "rm", "openai"), await run("keys", "rm", "openai"), await run("-m", "openai/m", "Say hello")]
    assert ["removed" in ran[7].err, "not kept here" in ran[8].err, ran[9].code] == [True, True, 1]
    assert not any("canary" in one.out + one.err for one in ran)


async def test_those_that_are_set_are_listed_and_how_to_see_the_others_is_said(vendor: ScriptedVendor) -> None:
    """With ``--all``, each vendor without a key and its variable."""
    short, whole = [await run("keys", *words, env={"OPENAI_API_KEY": "k"}) for words in ((), ("list", "--all"))]
    assert "openai " in short.out
    assert "not set" not in short.out
    assert "polychat keys list --all" in short.err
    assert not whole.err
    assert whole.out.splitlines()[0].startswith("openai ")
    assert "not set (GROQ_API_KEY)" in whole.out


@pytest.mark.parametrize(
    ("arguments", "piped", "says"),
    [
        (["set", "opnai"], b"k", "no vendor 'opnai'; did you mean openai?"),
        (["set", "openai"], b"\n", "no key was given"),
        (["set", "openai"], b"two\nlines", "that is no key"),
        (["set", "openai"], None, "there is no terminal to type the key at"),
    ],
)
async def test_what_is_no_key_is_refused(vendor: ScriptedVendor, arguments: list[str], piped: bytes | None, says: str) -> None:
    """Nothing is kept, and what was given is not shown."""
    ran = await run("keys", *arguments, piped=piped)
    assert (ran.code, says in ran.err) == (2, True), ran.err
    assert not os.path.exists(vendor_keys.key_file())


class Keyring:
    """A system's keyring in memory."""

    priority = 5

    def __init__(self) -> None:
        self.keys: dict[tuple[str, str], str] = {}

    def get_keyring(self) -> Keyring:
        return self

    def set_password(self, service: str, name: str, key: str) -> None:
        self.keys[service, name] = key

    def get_password(self, service: str, name: str) -> str | None:
        return self.keys.get((service, name))

    def delete_password(self, service: str, name: str) -> None:
        del self.keys[service, name]


async def test_a_key_may_be_in_the_systems_keyring(monkeypatch: pytest.MonkeyPatch, own_config: Callable[[str], Path]) -> None:
    """The file then has no key; a change of it reaches a backend that was used before; a damaged file is named."""
    own_config("")
    keyring = Keyring()
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    backend = Registry(Config()).find("openai")
    assert (vendor_keys.has_keyring(), backend.lacks_key) == (True, True)
    assert vendor_keys.keep_key("OPENAI_API_KEY", "sk-1", keyring=True) == "the system's keyring"
    assert "sk-1" not in Path(vendor_keys.key_file()).read_text()
    assert (vendor_keys.kept_key("OPENAI_API_KEY"), backend.lacks_key) == ("sk-1", False)
    vendor_keys.keep_key("OPENAI_API_KEY", "sk-2", keyring=False)
    assert (keyring.keys, vendor_keys.kept_key("OPENAI_API_KEY")) == ({}, "sk-2")
    vendor_keys.keep_key("OPENAI_API_KEY", "sk-3", keyring=True)
    assert vendor_keys.forget_key("OPENAI_API_KEY")
    assert (keyring.keys, backend.lacks_key) == ({}, True)
    Path(vendor_keys.key_file()).write_text("OPENAI_API_KEY = sk-4")
    with pytest.raises(NotReady, match=r"keys\.toml cannot be read: it is not TOML") as raised:
        vendor_keys.kept_keys()
    assert "sk-4" not in str(raised.value)


async def test_a_kept_key_goes_to_no_address_that_a_folder_names(
    vendor: ScriptedVendor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A ``./polychat.toml`` that came with other people's files can send it nowhere, as it can none of the environment."""
    monkeypatch.delenv("OPENAI_BASE_URL")
    vendor_keys.keep_key("OPENAI_API_KEY", "sk-canary", keyring=False)
    (tmp_path / "polychat.toml").write_text('[providers.openai]\nbase_url = "http://127.0.0.1:1/v1"\n')
    request = tmp_path / "request.json"
    request.write_text('{"model": "openai/m", "messages": [{"role": "user", "content": "hi"}]}')
    ran = await run("explain", str(request), cwd=tmp_path)
    assert "is not sent to an address" in ran.out + ran.err
    assert "canary" not in ran.out + ran.err
