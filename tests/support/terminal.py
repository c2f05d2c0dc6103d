"""A program in a terminal of its own, whose keys a test presses and whose output it reads."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from .patience import PATIENCE


class Terminal:
    """The terminal's own end."""

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self._number, self.process = number, process
        self._unread = b""

    def press(self, keys: bytes) -> None:
        os.write(self._number, keys)

    def resize(self, columns: int, rows: int) -> None:
        """The program is told of it by a signal."""
        fcntl.ioctl(self._number, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def shows(self, text: bytes) -> None:
        """Returns when the program has written ``text``, after what was waited for before."""
        async with asyncio.timeout(PATIENCE):
            while text not in self._unread:
                self._unread += await asyncio.to_thread(os.read, self._number, 4096)
        self._unread = self._unread.partition(text)[2]

    async def ended(self) -> int:
        """The program's exit code, when it has ended."""
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


def _take_terminal() -> None:
    """In the program: Ctrl-C comes as a signal only from the terminal that controls it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@asynccontextmanager
async def in_terminal(*words: str, env: Mapping[str, str]) -> AsyncGenerator[Terminal]:
    """The program runs until the end of the block at most."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *words, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True, preexec_fn=_take_terminal
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
