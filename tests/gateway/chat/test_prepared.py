"""What is prepared for a head of requests holds no longer than its configuration, and a request has what it began with."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from typing import Any

import pytest

from polychat.gateway.admission.guards import Guards
from polychat.gateway.chat import fast_path
from polychat.gateway.endpoint import answer
from polychat.gateway.runtime import Runtime
from polychat.http.pool.pool import Pool

from ...support.compiled import replaces_compiled
from ...support.running_gateway import asking, configured, gateway, good, row

PATH, HELLO = asking("openai-chat")
WITH_KEY = {"authorization": "Bearer the-clients-key"}


async def test_a_configuration_that_was_replaced_is_released(serve: Any) -> None:
    """With its keys, though nobody sends again the heads that were prepared for it, on connections that stay or were closed."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        caller = await here.caller()
        for number in range(3):
            passing = await here.caller()
            for client in (passing, caller):
                client.ask(PATH, HELLO, headers={"x-own": f"{number}"})
                assert (await client.whole()).status == 200
            passing.leave()
            here.app.reload(here.app.runtime.configured)
        caller.ask(PATH, HELLO)  # the guards of the gateway are those of the latest request's configuration
        assert (await caller.whole()).status == 200
        here.app.records.clear()
        gc.collect()
        kept = [one for one in gc.get_objects() if type(one) is Runtime and one.configured is here.app.runtime.configured]
        assert kept == [here.app.runtime]


@replaces_compiled
async def test_a_request_keeps_the_guards_that_let_it_in(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload between a request's head and its task leaves no request without guards."""
    monkeypatch.setenv("CLIENTS_KEY", "the-clients-key")
    backend = await serve(good)
    seen: list[Guards] = []

    async def answered(endpoint: Any, context: Any, receive: Any, guards: Guards, *more: Any) -> None:
        seen.append(guards)
        await answer(endpoint, context, receive, guards, *more)

    settings = configured({"house": row("openai-chat", backend.url)}, keys={"one": "env:CLIENTS_KEY"})
    async with gateway(settings) as here:
        caller = await here.caller()
        reload = partial(asyncio.get_running_loop().call_soon, here.app.reload, settings)
        monkeypatch.setattr(fast_path, "answer", answered)
        monkeypatch.setattr(Pool, "begin", lambda *_: reload() and None)
        caller.ask(PATH, HELLO, headers=WITH_KEY)
        assert (await caller.whole()).status == 200
    assert [bool(guards.head) for guards in seen] == [True]
