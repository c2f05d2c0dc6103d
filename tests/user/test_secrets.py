"""Secrets by reference: in the environment, a file, the system's keyring."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from polychat.errors import MissingPackage, NotReady
from polychat.user.secrets import secret


def test_secrets_are_read_from_their_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment, in a file, in the system's keyring; white space round them is no part of them."""
    monkeypatch.setenv("HOUSE_KEY", "one")
    (tmp_path / "key").write_text("two\n")
    passwords = {("polychat", "house"): "three"}
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=lambda *entry: passwords.get(entry)))
    secrets = [secret(reference, "api_key") for reference in ("env:HOUSE_KEY", f"file:{tmp_path / 'key'}", "keyring:house")]
    assert secrets == ["one", "two", "three"]


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
