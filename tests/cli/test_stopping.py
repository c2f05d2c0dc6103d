"""Signals that stop a reply: a block takes them for a while, and gives them back."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from polychat.cli.stopping import stopped_by


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="the platform has no such signal")
async def test_a_block_within_a_block_leaves_the_signals_of_the_outer_one() -> None:
    """Between two prompts of a chat, SIGTERM would else end the process at once, and leave its MCP servers running."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    def of_process(number: int, frame: object) -> None:
        raise AssertionError(number)

    def send() -> None:
        assert signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, of_process)
    try:
        async with asyncio.timeout(60):
            with stopped_by(lambda: asked.put_nowait("outer"), "SIGUSR1"):
                with stopped_by(lambda: asked.put_nowait("inner"), "SIGUSR1"):
                    send()
                    assert await asked.get() == "inner"
                send()
                assert await asked.get() == "outer"
        assert signal.getsignal(signal.SIGUSR1) is of_process
    finally:
        signal.signal(signal.SIGUSR1, before)
