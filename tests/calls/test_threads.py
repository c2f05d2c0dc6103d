"""A stream for synchronous code, which runs in a thread of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from typing import Any

import pytest

import polychat

from ..support.patience import PATIENCE
from ..support.running_gateway import FIRST, Stage, text


async def test_a_synchronous_stream_that_is_closed_leaves_its_backend(serve: Any) -> None:
    """Whoever stops reading waits for no word more: the request is over, and its thread."""
    server = await serve(stage := Stage(FIRST, text("Hel")))

    def first() -> str:
        pieces = polychat.stream_sync("hi", model="openai/m", base_url=f"{server.url}/v1", api_key="a-long-key")
        piece = next(pieces)
        pieces.close()
        return piece

    async with asyncio.timeout(PATIENCE):
        assert await asyncio.to_thread(first) == "Hel"
        await stage.left.wait()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows interrupts the main thread in another way")
@pytest.mark.parametrize("call", [polychat.ask_sync, lambda *a, **k: list(polychat.stream_sync(*a, **k))])
def test_ctrl_c_ends_a_synchronous_call(call: Any) -> None:
    """At once, though the backend has not answered, and its connection is closed; no thread goes on."""
    listener, left = socket.create_server(("127.0.0.1", 0)), threading.Event()
    listener.settimeout(PATIENCE)

    def backend() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(PATIENCE)
            connection.recv(65536)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            while connection.recv(65536):
                pass
        left.set()

    before = threading.active_count()
    thread = threading.Thread(target=backend)
    thread.start()
    with listener, pytest.raises(KeyboardInterrupt):
        call("hi", model="openai/m", base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", api_key="a-long-key")
    thread.join(PATIENCE)
    assert left.is_set()
    assert threading.active_count() == before
