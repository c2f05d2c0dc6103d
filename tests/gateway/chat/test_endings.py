"""However a request's reply, its client, the clocks and the gateway's end fall together, it is over once."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.gateway.observe.metrics import total

from ...support.patience import PATIENCE
from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    USAGE,
    Caller,
    Running,
    asking,
    completion,
    configured,
    gateway,
    row,
    text,
)
from ...support.scripted_server import Say, Seen, serving

CLIENTS = 3
ACTIONS = ("ask",) * 4 + ("piece",) * 10 + ("cut", "leave", "end", "ring", "late", "shut down")
"""What may happen next: to a client, its backend, a clock or the gateway."""
KINDS = [
    asking(dialect, model, stream=stream)
    for dialect in ("openai-chat", "anthropic")
    for model in ("house/small", "both")
    for stream in (False, True)
]


def reply_to(body: Any) -> bytes:
    """All bytes of a backend's reply."""
    if not body.get("stream"):
        data = json.dumps(completion("Hello")).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = (FIRST + text("Hel"), text("lo"), END + USAGE + DONE)
    return head + b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in chunks) + b"0\r\n\r\n"


class Scene:
    """Some clients of a gateway, and what its backend sends next for each, in so many ``pieces`` a reply."""

    def __init__(self, pieces: int) -> None:
        self.steps = [asyncio.Queue[str]() for _ in range(CLIENTS)]
        self.is_over = False
        self._pieces = pieces
        self._ended: set[int] = set()
        """Clients that send nothing more."""

    async def backend(self, seen: Seen, say: Say) -> None:
        """Answer a request as far as its client's steps say so."""
        named = re.search(rb"client (\d)", seen.body)
        assert named is not None
        steps, reply = self.steps[int(named[1])], reply_to(seen.json)
        size = -(-len(reply) // self._pieces)
        for start in range(0, len(reply), size):
            if not self.is_over and await steps.get() == "cut":
                await say.cut()
                return
            await say.raw(reply[start : start + size])

    def act(self, action: str, client: int, kind: int, callers: list[Caller], here: Running) -> None:
        """Let it happen, before anybody notices what happened before."""
        caller = callers[client]
        match action:
            case "ask" if client not in self._ended:
                path, body = KINDS[kind]
                caller.ask(path, {**body, "messages": [{"role": "user", "content": f"client {client}"}]})
            case "leave":
                self._ended.add(client)
                caller.leave()
            case "end" if client not in self._ended:
                self._ended.add(client)
                with suppress(OSError):  # the gateway has ended it
                    caller.end()
            case "ring":
                late(here.app.runtime.heartbeats)
            case "late":
                for head in list(here.app._prepared_heads):
                    late(head._slow)
            case "shut down":
                for connection in list(here.state.connections):
                    connection.shutdown()
            case "piece" | "cut":
                self.steps[client].put_nowait(action)


def late(queue: Any) -> None:
    """All that wait in a queue have waited too long."""
    for waiting in list(() if queue is None else queue._since):
        queue.stop(waiting)
        queue._late(waiting)


async def idle(here: Running, scene: Scene) -> None:
    """When no request is in progress, as the rest of each reply comes now."""
    scene.is_over = True
    async with asyncio.timeout(PATIENCE):
        while here.app.running or here.state.tasks:
            for steps in scene.steps:
                steps.put_nowait("piece")
            await asyncio.sleep(0)


async def played(script: list[tuple[str, int, int, int]], pieces: int) -> None:
    scene = Scene(pieces)
    async with serving(scene.backend) as server:
        routes: Any = {"both": ("house/small", "house/large")}
        providers = {"house": row("openai-chat", server.url, serves=["small", "large"])}
        async with gateway(configured(providers, routes=routes, heartbeat=60.0)) as here:
            app, callers = here.app, [await here.caller() for _ in range(CLIENTS)]
            for action, client, kind, passes in script:
                scene.act(action, client, kind, callers, here)
                for _ in range(passes):
                    await asyncio.sleep(0)
            for _ in range(20):  # what was sent last arrives
                await asyncio.sleep(0)
            await idle(here, scene)
            counts = Counter(record.request_id for record in app.records)
            assert [request_id for request_id, count in counts.items() if count > 1] == []
            assert (app.running, app.bodies.held) == (0, 0)
            assert [state.name for state in app.health.every() if state.in_flight] == []
            numbers = total(app.metrics.snapshots()[0]).values()
            assert sum(each.requests for each in numbers) == len(app.records)
    for _ in range(4):  # what is closed is gone
        await asyncio.sleep(0)


steps = st.tuples(
    st.sampled_from(ACTIONS), st.integers(0, CLIENTS - 1), st.integers(0, len(KINDS) - 1), st.sampled_from([0, 0, 1, 4])
)


@given(st.lists(steps, min_size=10, max_size=60), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_every_request_is_over_once(script: list[tuple[str, int, int, int]], pieces: int) -> None:
    """It has one record, is counted once, and holds nothing any more: whatever comes in the same moment."""
    run: Callable[..., Any] = asyncio.run
    run(played(script, pieces))
