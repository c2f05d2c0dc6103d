"""Measurements as tables, and the circumstances they were made under."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


@dataclass
class Table:
    """``rows`` under ``columns``; ``notes`` are what a reader must know to judge them."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        lines = [_line(self.columns, widths), _line(["-" * width for width in widths], widths)]
        lines += [_line(row, widths) for row in self.rows]
        return "\n".join([f"### {self.title}", "", *lines, *(f"\n{note}" for note in self.notes)])


def _line(cells: list[str], widths: list[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def circumstances() -> str:
    """Date, versions and machine, as a heading; how busy the machine is, as these figures depend on it."""
    python = f"Python {platform.python_version()}{' of the system' if sys.base_prefix == '/usr' else ''}"
    return (
        f"## {date.today().isoformat()}: polychat {version('polychat')}, {python}, aiohttp {version('aiohttp')}\n\n"
        f"{platform.system()} {platform.release()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the start."
    )


def record(heading: str, tables: list[Table]) -> None:
    """Append to RESULTS.md, newest last."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write("\n" + "\n\n".join([heading, *map(str, tables)]) + "\n")


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
