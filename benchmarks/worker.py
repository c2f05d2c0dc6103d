"""One client in a process of its own: ``worker.py CLIENT SERVICE [uvloop | asyncio]``, CLIENT a module beside this file.

Each line on standard input is ``ADDRESS CALLS TOGETHER PIECES``; each line back is the CPU seconds of that many calls, that
many at a time. A call that gives other than that many pieces of text ends the process with an error: nobody is measured on
half the work.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing
from importlib import import_module
from typing import Any

from services import alone


async def calls(ask: Any, base: str, count: int, pieces: int) -> None:
    for _ in range(count):
        got = 0
        async with aclosing(ask(base)) as answer:
            async for _piece in answer:
                got += 1
        if got != pieces:
            raise SystemExit(f"{got} pieces came where {pieces} were sent")


async def main(client: str, service: str) -> None:
    ask = getattr(import_module(client), service)
    while line := await asyncio.to_thread(sys.stdin.readline):
        base, *numbers = line.split()
        count, together, pieces = map(int, numbers)
        began = time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(together):
                group.create_task(calls(ask, base, count // together, pieces))
        print(time.process_time() - began, flush=True)


if __name__ == "__main__":
    alone(batch=True)
    if sys.argv[3:] == ["uvloop"]:
        import uvloop

        uvloop.run(main(*sys.argv[1:3]))
    else:
        asyncio.run(main(*sys.argv[1:3]))
