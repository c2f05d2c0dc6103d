"""The chat sites' application, served as ``polychat sites`` serves it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from polychat.config.settings import GatewaySettings as Settings
from polychat.config.settings import Limits
from polychat.gateway.admission.origins import OriginPolicy
from polychat.gateway.admission.sites import FixedRules, Standalone
from polychat.gateway.process.serving import Server
from polychat.gateway.sites import Sites
from polychat.providers import Aichat, ChatgptDuo, ChatGptt, GPTalk, Opchatgpts

FIVE = [ChatgptDuo, Aichat, Opchatgpts, ChatGptt, GPTalk]
"""The providers of the five chat sites."""
COOKIES = {"session": "s3cr3t"}
"""What each of them accepts."""


@asynccontextmanager
async def running(app: Sites, limits: Limits | None = None, hosts: tuple[str, ...] = ()) -> AsyncGenerator[str, None]:
    """The application on a free port of loopback; gives its URL. ``hosts``: names that it answers to beside loopback's."""
    limits = limits or Limits()
    listener = socket.create_server(("127.0.0.1", 0))
    served = Standalone(app, limits)
    served.runtime = FixedRules(served.runtime.keys, OriginPolicy((), hosts, guarded=False), limits)
    server = Server(served, Settings(grace=1.0, limits=limits))
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.stop()
        await task
        listener.close()
