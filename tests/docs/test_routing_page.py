"""The page on routing has what the code has."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from polychat.config.strategy_names import STRATEGIES

PAGE = (Path(__file__).parent.parent.parent / "docs/routing.md").read_text(encoding="utf-8")


def test_every_strategy_is_described() -> None:
    """Its row is the first line of its file's docstring."""
    modules = {name: import_module(f"polychat.routing.strategies.{name.replace('-', '_')}") for name in STRATEGIES}
    rows = [(name, (module.__doc__ or "").partition("\n")[0].replace("``", "`")) for name, module in modules.items()]
    section = PAGE.partition("\n## Strategies\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", section, re.MULTILINE) == rows
