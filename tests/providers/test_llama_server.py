"""A real server that speaks three of our wires: llama.cpp's own, on real weights, where they are here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.user import weights

SERVER = """
import sys, threading
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.verbosity = 2048, 2, -1
params.offline, params.warmup, params.fit_params, params.ui = True, False, False, False
params.hostnames, params.port = ["127.0.0.1"], 0
for threads in (params.cpuparams, params.cpuparams_batch):
    threads.n_threads, threads.poll = 1, 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""
"""Serves until its standard input ends, on one thread: several wait for each other where other tests run beside it."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its URL; all tests ask the same one, which keeps nothing of a request."""
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed; it comes with the extra [local]")
    file = weights.path("smollm2")
    if file is None:
        pytest.skip("no weights of smollm2 here; run: polychat models pull")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SERVER, str(file)], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


WIRES = [("llama-cpp", "/v1"), ("vllm-responses", "/v1"), ("vllm-anthropic", "")]
"""A vendor of each wire that it speaks, and what stands before the wire's paths."""
SHORT: dict[str, Any] = {"max_tokens": 4, "temperature": 0.0, "timeout": 50}


async def test_it_answers_on_each_wire(server: str) -> None:
    """Whole and streamed: words, a reason, its own count of tokens, a verdict; and the same words on every wire."""
    texts = set()
    for vendor, path in WIRES:
        options = {"model": f"{vendor}/any", "base_url": server + path, "api_key": "none", **SHORT}
        whole = await polychat.ask("Say hello to Bob.", **options)
        async with polychat.stream("Say hello to Bob.", **options) as streamed:
            pieces = [piece async for piece in streamed]
        assert len(pieces) > 1
        for reply in (whole, streamed.reply()):
            assert (reply.verdict, reply.reason) in {("complete", "length"), ("complete", "stop")}
            assert reply.usage is not None
            assert not reply.usage.estimated
            assert reply.usage.prompt_tokens
            assert reply.usage.completion_tokens
            texts.add(reply.text)
        assert whole.raw is not None
        assert json.loads(whole.raw)
    assert len(texts) == 1


async def test_it_follows_a_schema(server: str) -> None:
    """llama.cpp binds the answer to the schema as it is written; the value is of that form."""
    schema = {
        "title": "colour",
        "type": "object",
        "properties": {"name": {"enum": ["red", "green", "blue"]}},
        "required": ["name"],
        "additionalProperties": False,
    }
    reply = await polychat.ask(
        "Name a colour.", model="llama-cpp/any", base_url=f"{server}/v1", schema=schema, temperature=0.0, timeout=50
    )
    assert reply.parsed["name"] in ("red", "green", "blue")


async def test_it_lists_its_model(server: str) -> None:
    """The list has the one that it serves."""
    from polychat.providers import find

    (model,) = await find("llama-cpp").list_models(base_url=f"{server}/v1", api_key="none")
    assert "SmolLM2" in model.id


async def test_what_it_refuses_is_reported(server: str) -> None:
    """A prompt longer than its context, by its own words; a wire that it does not speak, by its status."""
    options: dict[str, Any] = {"api_key": "none", "timeout": 50}
    with pytest.raises(errors.StatusError, match="context") as caught:
        await polychat.ask("word " * 3000, model="llama-cpp/any", base_url=f"{server}/v1", **options)
    assert caught.value.status == 400
    with pytest.raises(errors.StatusError) as other:
        await polychat.ask("hi", model="ollama/any", base_url=server, **options)
    assert other.value.status == 404
