"""What probes found of targets, and how many were paid for today: kept from one run of the command to the next."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from ..config import home_folder
from ..user.whole_files import write_whole

_MOST = 2000
"""Targets that are kept; the oldest go first."""
_LARGEST = 4 * 1024 * 1024


def folder() -> Path:
    """``$XDG_STATE_HOME/polychat``, or below ``~/.local/state``."""
    home = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path there is to be ignored.
    return (Path(home) if os.path.isabs(home) else home_folder() / ".local" / "state") / "polychat"


class Probes:
    """In a folder, which is made when there is something to keep. What cannot be written is not kept."""

    def __init__(self, where: Path | None = None) -> None:
        self._folder = folder() if where is None else where
        self._file = self._folder / "probes.json"

    def kept(self) -> dict[str, dict[str, Any]]:
        """The latest of each target, by its name in lower case: ``state``, ``step``, ``evidence``, ``date``."""
        try:
            if self._file.stat().st_size > _LARGEST:
                return {}
            results = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(results, dict):
            return {}
        return {name: entry for name, entry in results.items() if isinstance(entry, dict) and {"state", "date"} <= entry.keys()}

    def keep(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Add these to what is kept."""
        kept = self.kept()
        for name, entry in results.items():
            kept.pop(name.lower(), None)
            kept[name.lower()] = dict(entry)
        latest = dict(list(kept.items())[-_MOST:])
        with suppress(OSError):
            write_whole(self._file, json.dumps(latest, indent=1).encode())

    def reserve(self, day: date, budget: int) -> bool:
        """Whether one more paid probe may be made on ``day``; it counts from here on, for all processes.

        Raises ``OSError`` where that cannot be kept: no probe is paid for that would not be counted.
        """
        counted = self._folder / "paid"
        counted.mkdir(parents=True, exist_ok=True)
        for file in counted.iterdir():
            if not file.name.startswith(f"{day}."):
                file.unlink(missing_ok=True)
        for number in range(budget):
            with suppress(FileExistsError):  # another has it
                os.close(os.open(counted / f"{day}.{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                return True
        return False
