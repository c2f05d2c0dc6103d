"""The pages of the documentation that are tables of the code."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {name: page for file in sorted(DOCS.glob("*.py")) for name, page in runpy.run_path(str(file))["PAGES"].items()}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    """Where it is not, run  make docs  and look at what changed."""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()
