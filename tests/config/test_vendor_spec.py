"""Vendors as rows in polychat.toml, and secrets by reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polychat import config
from polychat.config.file_errors import FileErrors
from polychat.config.vendor_spec import VendorSpec, spec_of
from polychat.errors import BadInput

STRICT = FileErrors(Path("polychat.toml"))
HOUSE = {"wire": "openai-chat", "base_url": "http://127.0.0.1:9101/v1"}


def row(table: dict[str, Any], base: VendorSpec | None = None) -> VendorSpec:
    return spec_of("house", table, STRICT, "providers.house", base)


def test_a_vendor_of_ones_own_needs_a_wire_and_an_address() -> None:
    """The rest has defaults."""
    spec = row({**HOUSE, "key": "HOUSE_KEY", "can": ["tools"], "drop": {"seed": "it is refused"}})
    assert (spec.name, spec.key, spec.can, spec.drop) == ("house", ("HOUSE_KEY",), ("tools",), {"seed": "it is refused"})
    with pytest.raises(BadInput, match=r"providers\.house has no base_url"):
        row({"wire": "ollama"})


def test_a_known_vendors_row_is_changed_by_the_file() -> None:
    """What the file does not name stays."""
    known = row({**HOUSE, "title": "House"})
    assert row({"base_url": "http://elsewhere/v1"}, known).title == "House"
    assert row({"base_url": "http://elsewhere/v1"}, known).base_url == "http://elsewhere/v1"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({**HOUSE, "base_ulr": "x"}, r"providers\.house\.base_ulr is not a known key; did you mean base_url"),
        ({**HOUSE, "embeddings": "yes"}, r'providers\.house\.embeddings is "yes"; it must be true or false'),
        ({**HOUSE, "wire": 5}, r"providers\.house\.wire is 5; it must be text"),
        ({**HOUSE, "key": [1]}, r"providers\.house\.key must be names of environment variables"),
        ({**HOUSE, "headers": {"a": 1}}, r"providers\.house\.headers\.a must be text"),
        ({**HOUSE, "header": "cookie"}, r'\.header is "cookie"; it must be "api-key", "authorization", "x-api-key"'),
        ({**HOUSE, "can": ["tool"]}, "did you mean tools"),
        ({**HOUSE, "name": "x"}, r"providers\.house\.name is not a known key"),
        ("text", r'providers\.house is "text"; it must be a table'),
    ],
)
def test_what_a_row_cannot_say_is_named(table: Any, message: str) -> None:
    """File, key, what was expected, and the nearest."""
    with pytest.raises(BadInput, match=message):
        row(table)


def test_a_key_itself_is_not_taken_and_not_shown() -> None:
    """Secrets are kept elsewhere; the error does not repeat what may be one."""
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
