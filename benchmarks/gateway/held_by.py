"""polychat's command, whose event loop notes how long it was held: ``held_by.py FILE serve …``.

Between one SIGUSR2 and the next the loop turns without a pause, and takes the process's CPU time in each turn. FILE then has
the most that went by between two turns, in seconds: what callbacks of the loop took, and what other threads took that did not
let it turn. CPU time stands still while another process has the core, so that load does not count.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from time import process_time

import uvloop

from polychat.cli import main

out = Path(sys.argv.pop(1))
loops: list[asyncio.AbstractEventLoop] = []
made = uvloop.new_event_loop


class Turns:
    """Watches while ``runs``."""

    def __init__(self) -> None:
        self.runs = False
        self.longest = self.last = 0.0

    def turn(self) -> None:
        now = process_time()
        self.longest = max(self.longest, now - self.last)
        self.last = now
        if self.runs:
            loops[-1].call_soon(self.turn)

    def toggle(self, *_: object) -> None:
        self.runs = not self.runs
        if self.runs:
            self.longest, self.last = 0.0, process_time()
            loops[-1].call_soon_threadsafe(self.turn)
        else:
            half = out.with_suffix(".half")
            half.write_text(str(self.longest))
            half.rename(out)  # whole, for whoever looks for it


def remembered() -> uvloop.Loop:
    loops.append(made())
    return loops[-1]  # type: ignore[return-value]  # it was just put there


uvloop.new_event_loop = remembered
signal.signal(signal.SIGUSR2, Turns().toggle)
sys.exit(main())
