"""polychat's command, which says on SIGUSR2 how many asyncio tasks are alive: ``counted.py serve …``."""

from __future__ import annotations

import asyncio
import signal
import sys

from polychat.cli import main


def tell(*_: object) -> None:
    print(f"tasks {len(asyncio.all_tasks())}", file=sys.stderr, flush=True)


signal.signal(signal.SIGUSR2, tell)
sys.exit(main())
