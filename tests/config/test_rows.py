"""Vendors as rows in polychat.toml, and secrets by reference."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from polychat import config
from polychat.config.rows import Row, row_of
from polychat.config.secrets import secret
from polychat.config.strict import Strict
from polychat.errors import BadInput, MissingPackage, NotReady

STRICT = Strict(Path("polychat.toml"))
HOUSE = {"wire": "openai-chat", "base_url": "http://127.0.0.1:9101/v1"}


def row(table: dict[str, Any], base: Row | None = None) -> Row:
    return row_of("house", table, STRICT, "providers.house", base)


def test_a_vendor_of_ones_own_needs_a_wire_and_an_address() -> None:
    """The rest has defaults."""
    found = row({**HOUSE, "key": "HOUSE_KEY", "can": ["tools"], "drop": {"seed": "it is refused"}})
    assert (found.name, found.key, found.can, found.drop) == ("house", ("HOUSE_KEY",), ("tools",), {"seed": "it is refused"})
    with pytest.raises(BadInput, match=r"providers\.house has no base_url"):
        row({"wire": "ollama"})


def test_a_known_vendors_row_is_changed_where_the_file_says_so() -> None:
    """What the file does not name stays."""
    known = row({**HOUSE, "title": "House"})
    assert row({"base_url": "http://elsewhere/v1"}, known).title == "House"
    assert row({"base_url": "http://elsewhere/v1"}, known).base_url == "http://elsewhere/v1"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({**HOUSE, "base_ulr": "x"}, r"providers\.house\.base_ulr is not a known key; did you mean base_url"),
        ({**HOUSE, "embeddings": "yes"}, r'providers\.house\.embeddings is "yes"; it must be true or false'),
        ({**HOUSE, "wire": 5}, r"providers\.house\.wire is 5; it must be text"),
        ({**HOUSE, "key": [1]}, r"providers\.house\.key is \[1\]; it must be a list of text"),
        ({**HOUSE, "headers": {"a": 1}}, r"providers\.house\.headers\.a is 1; it must be text"),
        ({**HOUSE, "header": "cookie"}, r'providers\.house\.header is "cookie"; it must be "authorization", "x-api-key"'),
        ({**HOUSE, "can": ["tool"]}, "did you mean tools"),
        ({**HOUSE, "name": "x"}, r"providers\.house\.name is not a known key"),
        ("text", r'providers\.house is "text"; it must be a table'),
    ],
)
def test_what_a_row_cannot_say_is_named(table: Any, said: str) -> None:
    """File, key, what was expected, and the nearest."""
    with pytest.raises(BadInput, match=said):
        row(table)


def test_a_key_itself_is_not_taken_and_not_shown() -> None:
    """Secrets stand elsewhere; the error does not repeat what may be one."""
    with pytest.raises(BadInput, match="must be a reference") as caught:
        row({**HOUSE, "api_key": "sk-verysecret"})
    assert "verysecret" not in str(caught.value)


def test_the_file_may_hold_vendors(tmp_path: Path) -> None:
    """``[providers.NAME]`` is a table each; anything else under ``providers`` is refused."""
    file = tmp_path / "polychat.toml"
    file.write_text('[providers.house]\nwire = "ollama"\nbase_url = "http://127.0.0.1:1"\n')
    assert config.read(file).providers["house"]["wire"] == "ollama"
    file.write_text("[providers]\nhouse = 5\n")
    with pytest.raises(BadInput, match=r"providers\.house is 5"):
        config.read(file)


def test_a_file_is_read_again_when_it_changed(own_config: Any) -> None:
    """The same value while it stays as it is; the new one after."""
    file = own_config('[local.models]\na = "a.gguf"\n')
    first = config.load()
    assert config.load() is first
    file.write_text('[local.models]\nlonger = "a.gguf"\n')
    assert list(config.load().local_models) == ["longer"]


def test_secrets_are_where_the_reference_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment, in a file, in the system's keyring; white space round them is no part of them."""
    monkeypatch.setenv("HOUSE_KEY", "one")
    (tmp_path / "key").write_text("two\n")
    passwords = {("polychat", "house"): "three"}
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=lambda *asked: passwords.get(asked)))
    found = [secret(reference, "api_key") for reference in ("env:HOUSE_KEY", f"file:{tmp_path / 'key'}", "keyring:house")]
    assert found == ["one", "two", "three"]


@pytest.mark.parametrize("reference", ["env:POLYCHAT_NO_SUCH", "file:/no/such/file", "keyring:nobody"])
def test_an_empty_place_is_named(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is shown: it is no secret."""
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=lambda *_: None))
    with pytest.raises(NotReady, match=reference):
        secret(reference, "providers.house.api_key")


def test_a_keyring_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to have it."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(MissingPackage, match=r"polychat\[keyring\]"):
        secret("keyring:house", "api_key")
