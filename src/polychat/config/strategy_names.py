"""The names of the routing strategies, by the files of ``routing/strategies/``, none of which is loaded for it."""

from __future__ import annotations

from pathlib import Path
from pkgutil import iter_modules

_FOLDER = Path(__file__).parent.parent / "routing" / "strategies"
STRATEGIES = tuple(sorted(info.name.replace("_", "-") for info in iter_modules([str(_FOLDER)])))
"""In the order of the alphabet: ``round_robin.py`` is ``round-robin``."""
