"""The page of the Python API has every public name."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

import polychat
from polychat import errors, events, providers, transport, types
from polychat.providers import catalogue

from ..support.public_names import offered

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("module", [polychat, types, events, errors, providers, transport], ids=lambda module: module.__name__)
def test_every_public_name_has_an_entry(module: ModuleType) -> None:
    """On the page of the API, an error class on that of errors; a service is listed by the command."""
    entries = set(re.findall(r"^### (polychat\.\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE))
    entries |= {
        f"polychat.errors.{name}" for name in re.findall(r"^## (\w+)$", (DOCS / "errors.md").read_text(encoding="utf-8"), re.M)
    }
    entries |= {"polychat.PolychatError"} & {name.replace(".errors.", ".") for name in entries}
    names = {name for name in offered(module) if name != "__version__" and name.lower() not in catalogue.files()}
    assert {f"{module.__name__}.{name}" for name in names} - entries == set()
