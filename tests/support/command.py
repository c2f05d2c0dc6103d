"""The command `polychat` as a person and a script meet it: a process, its pipes and its exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any


class Ran:
    """The output of a finished command."""

    def __init__(self, code: int | None, out: bytes, err: bytes) -> None:
        self.code, self.out, self.err = code, out.decode(), err.decode()
        assert "Traceback" not in self.err


@asynccontextmanager
async def started(*arguments: str, **options: Any) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """The command as a process of its own, ended with the test."""
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PYTHONWARNINGS": "", **options.pop("env", {})}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "polychat",
        *arguments,
        stdin=options.pop("stdin", pipe),
        stdout=pipe,
        stderr=pipe,
        env=environment,
        **options,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*arguments: str, piped: bytes | None = None, **options: Any) -> Ran:
    """The command, once it has ended; ``piped`` is its standard input."""
    nothing = {} if piped is not None else {"stdin": asyncio.subprocess.DEVNULL}
    async with asyncio.timeout(60), started(*arguments, **nothing, **options) as process:
        out, err = await process.communicate(piped)
        return Ran(process.returncode, out, err)
