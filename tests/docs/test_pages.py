"""The pages of the documentation: what is made from the code is so still, and what they name is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCS, SOURCE = ROOT / "docs", ROOT / "src" / "polychat"
PAGES = {name: page for file in sorted(DOCS.glob("*.py")) for name, page in runpy.run_path(str(file))["PAGES"].items()}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_generates(name: str) -> None:
    """Where it is not, run  make docs  and look at what changed."""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_to_files(page: str) -> None:
    """Of the pages that ``make docs`` does not build: a path in the repository, and a heading that is there."""
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", (ROOT / page).read_text(encoding="utf-8")):
        file = ROOT / path if path else ROOT / page
        assert file.exists(), path
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", file.read_text(encoding="utf-8"))
            assert anchor in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}, anchor


def test_the_architecture_names_files_that_there_are() -> None:
    """Each path of the page is one of the package, below the folder that it names where it names one."""
    paths = {file.relative_to(SOURCE).as_posix() for file in SOURCE.rglob("*.*")}
    text = (DOCS / "architecture.md").read_text(encoding="utf-8").replace("/NAME/", "/anthropic/")
    named = set(re.findall(r"(?<![\w/.])[\w/]+\.(?:py|toml)\b", text)) - {"polychat.toml"}
    assert len(named) > 40
    assert [one for one in sorted(named) if not any(f"/{path}".endswith(f"/{one}") for path in paths)] == []


def test_every_page_is_in_the_index() -> None:
    """A reader finds each page from the first one."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"index.md"}
    assert [page for page in sorted(pages) if f"]({page})" not in text] == []


_ELSEWHERE = ("command not found: polychat", "externally-managed-environment")
"""Messages of the shell and of pip."""


def test_the_messages_that_troubleshooting_quotes_are_given() -> None:
    """A reader who searches the page for a message finds the words of today."""
    source = "".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"|\{[^{}]*\}', " ", source)
    source = re.sub(r"\s+", " ", source)
    rows = re.findall(r"(?m)^\| (.+?) \|", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"))
    quoted = [text for row in rows for text in re.findall(r'`([^`]* [^`]*)`|"([^"]+)"', row)]
    parts = [part.strip() for pair in quoted for text in pair for part in re.split(r"…|'…'", text)]
    words = [part.strip(" ';:[]\"") for part in parts if not part.startswith(("make ", "polychat ")) and part not in _ELSEWHERE]
    assert len([word for word in words if word]) > 5
    assert [word for word in words if word and word not in source] == []
