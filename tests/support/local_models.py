"""The embedded model on its real weights, watched while it answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from polychat.providers import _llama, local
from polychat.user import weights


@pytest.fixture
def smollm2() -> Path:
    """The real weights, from this user's own cache."""
    file = weights.path("smollm2")
    if find_spec("xllamacpp") is None:  # not importorskip: the import is the runtime's, which prepares it
        pytest.skip("xllamacpp is not installed; it comes with the extra [local]")
    if file is None:
        pytest.skip("no weights of smollm2 here; run: polychat models pull")
    return file


async def all_quiet() -> None:
    """Wait until no model is decoding; which a test that leaves an answer must bring about."""
    async with asyncio.timeout(60):
        for thread in threading.enumerate():
            if thread.name == "polychat-llama":
                await asyncio.to_thread(thread.join)


class Watched:
    """llama.cpp's server with an eye on its callback: how often it was called, and how many asks it was given."""

    def __init__(self, server: Any, seen: Callable[[], None] = lambda: None) -> None:
        self._server, self._seen = server, seen
        self.asks = self.chunks = 0
        self.last: dict[str, Any] = {}

    def handle_chat_completions(self, question: dict[str, Any], hear: Callable[[dict[str, Any]], bool]) -> None:
        def counted(chunk: dict[str, Any]) -> bool:
            self.chunks += 1
            self.last = chunk
            self._seen()
            return hear(chunk)

        self.asks += 1
        self._server.handle_chat_completions(question, counted)


async def model_of(name: str = "smollm2") -> _llama.Model:
    """The loaded model itself."""
    return await _llama.loaded(await local._setting(name, None))
