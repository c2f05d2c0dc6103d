"""A backend's key that a command prints: as a gateway uses it on every path, and the library too."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from time import time
from typing import Any

import pytest

from polychat import Client
from polychat.config.settings import Direct
from polychat.gateway.paths import DIALECTS
from polychat.user.command_secret import command_secret

from ..support.gateway_for_clients import HELLO
from ..support.running_gateway import asking, configured, gateway, row
from ..support.running_gateway import good as says_hello
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor


class Strict(ScriptedVendor):
    """Accepts one token, ``good``, and answers 401 to others. ``tokens``: those it was sent."""

    good = "token-number-1"

    async def __call__(self, seen: Seen, say: Say) -> None:
        token = next((seen.headers[name] for name in ("authorization", "x-api-key") if name in seen.headers), "")
        self.tokens = [*getattr(self, "tokens", []), token.removeprefix("Bearer ")]
        if self.tokens[-1] != self.good:
            await say.whole({"error": {"message": f"invalid token {token}", "type": "authentication_error"}}, 401)
        elif seen.path.endswith("/embeddings"):
            vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
            await say.whole(
                {"object": "list", "data": [vector], "model": "small", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
            )
        elif seen.path.endswith("/count_tokens"):
            await say.whole({"input_tokens": 7})
        elif seen.path.endswith("/models"):
            await say.whole({"object": "list", "data": [{"id": "small", "object": "model"}]})
        else:
            await super().__call__(seen, say)


@pytest.fixture
def command(tmp_path: Path) -> str:
    """Prints another token in each run, which lasts for an hour."""
    file, runs = tmp_path / "token.py", tmp_path / "runs"
    runs.write_text("")
    file.write_text(
        f"import json\nwith open({str(runs)!r}, 'a') as f: f.write('x')\n"
        f"print(json.dumps({{'token': 'token-number-%d' % len(open({str(runs)!r}).read()), 'expires_in': 3600}}))"
    )
    return f"exec:{sys.executable} -S -E '{file}'"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("door", DIALECTS)
async def test_a_token_is_fetched_once_and_renewed_when_it_is_rejected(
    serve: Any, command: str, door: str, stream: bool
) -> None:
    """Passed and translated, without a task and with one: the client never sees a 401, nor the command's token."""
    backend = Strict("openai-chat", HELLO)
    server = await serve(backend)
    direct = Direct(attempts=1)
    async with gateway(configured({"house": row("openai-chat", server.url, api_key=command)}, direct=direct)) as here:
        for good, tokens in ((1, [1]), (1, [1, 1]), (2, [1, 1, 1, 2]), (2, [1, 1, 1, 2, 2])):
            backend.good = f"token-number-{good}"
            answer = await here.ask(*asking(door, stream=stream))
            assert answer.status == 200, answer.body
            assert b"lo" in answer.body
            assert [int(token.removeprefix("token-number-")) for token in backend.tokens] == tokens
        backend.good = "nothing that the command prints"
        refused = await here.ask(*asking(door, stream=stream))
        assert refused.status >= 400
        assert b"token-number" not in refused.body
        assert backend.tokens[5:] == ["token-number-2", "token-number-3"], "it is asked twice, and not more"
        records = await here.app.recorded(5)
    assert {record.attempts for record in records} == {1}


async def test_a_command_that_fails_is_told_as_an_operators_mistake(serve: Any) -> None:
    """The client's status is no 4xx for it, and the vendor is not asked without a key."""
    backend = Strict("openai-chat", HELLO)
    server = await serve(backend)
    providers = {"house": row("openai-chat", server.url, api_key="exec:/no/such/program --secret abc")}
    async with gateway(configured(providers, direct=Direct(attempts=1))) as here:
        answer = await here.ask(*asking("openai-chat"))
        (record,) = await here.app.recorded()
    assert answer.status >= 500
    assert server.seen == []
    assert record.error is not None
    assert "/no/such/program" in record.error
    assert "abc" not in json.dumps([record.error, answer.body.decode()])


async def test_the_librarys_calls_have_it_too(serve: Any, command: str) -> None:
    """Of a client with such a key: chats again and again, and the list of models; a key of the caller's own goes instead."""
    backend = Strict("openai-chat", HELLO)
    server = await serve(backend)
    client = Client(config=configured({"house": row("openai-chat", server.url, api_key=command)}))
    for good in (1, 1, 2):
        backend.good = f"token-number-{good}"
        assert (await client.ask("hi", model="house/small")).text == "Hello"
    backend.good = "mine-0123456789"
    assert (await client.ask("hi", model="house/small", api_key=backend.good)).text == "Hello"
    assert backend.tokens == [*["token-number-1"] * 3, "token-number-2", "mine-0123456789"]


async def test_what_is_no_chat_has_it_too(serve: Any, command: str) -> None:
    """Embeddings, counts of tokens and lists of models: a token that is rejected is fetched anew, once."""
    backend = Strict("openai-chat", HELLO)
    server = await serve(backend)
    rows = {
        "house": row("openai-chat", server.url, api_key=command),
        "count": row("anthropic", server.url, api_key=command),
        "list": row("openai-chat", server.url, api_key=command, serves=[]),
    }
    requests = [
        ("/v1/embeddings", {"model": "house/small", "input": "hi"}),
        ("/v1/messages/count_tokens", {"model": "count/small", "messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/chat/completions", {"model": "small", "messages": [{"role": "user", "content": "hi"}]}),  # which only a list has
    ]
    for number, (path, body) in enumerate(requests, 1):
        backend.good = f"token-number-{number}"
        providers = rows if number < 3 else {"list": rows["list"]}
        async with gateway(configured(providers, direct=Direct(attempts=1))) as here:
            answer = await here.ask(path, body)
        assert answer.status == 200, answer.body
    assert [int(token.removeprefix("token-number-")) for token in backend.tokens] == [1, 1, 2, 2, 3, 3]


async def test_a_clients_key_that_a_command_prints_is_renewed(serve: Any, command: str) -> None:
    """The next one is accepted when it has been printed, and the one before until it expires; with a task and without one."""
    server = await serve(says_hello)
    now = time()
    secret = command_secret(command.removeprefix("exec:"))
    secret._clock = lambda: now
    async with gateway(configured({"house": row("openai-chat", server.url)}, keys={"ada": command})) as here:
        here.app.runtime.keys._clock = lambda: now

        async def statuses() -> list[int]:
            caller = await here.caller()  # one connection: the fast path knows its head
            codes = []
            for number in (1, 2, 2):
                caller.ask(*asking("openai-chat"), headers={"authorization": f"Bearer token-number-{number}"})
                codes.append((await caller.whole()).status)
            return codes

        assert await statuses() == [200, 401, 401]
        now += 3500  # the next one is due; the old one lasts for another 100 seconds
        await statuses()
        while secret._run is not None:
            await asyncio.sleep(0)
        assert await statuses() == [200, 200, 200]
        now += 95
        assert await statuses() == [401, 200, 200]
        assert {record.key for record in here.records if record.status == 200} == {"ada"}
