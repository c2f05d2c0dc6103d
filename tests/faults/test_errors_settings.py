"""Kinds of fault: a setting that can only be made for everybody, and rules of a direct target that nobody can change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polychat import config
from polychat.config.settings import Direct, KeySettings, Route
from polychat.config.writing import config_text
from polychat.errors import BadInput

from ..support.running_gateway import asking, configured, gateway, row
from ..support.scripted_server import Say, Seen

HEADER = "x-polychat-on-loss"


async def anthropic(seen: Seen, say: Say) -> None:
    await say.whole(
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "small",
            "content": [{"type": "text", "text": "Hello"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    )


@pytest.mark.parametrize(
    ("general", "direct", "key", "header", "status"),
    [
        ("allow", None, None, None, 200),
        ("refuse", None, None, None, 400),
        ("allow", "refuse", None, None, 400),
        ("refuse", "allow", None, None, 200),
        ("allow", "allow", "refuse", None, 400),
        ("refuse", "refuse", "allow", None, 200),
        ("allow", "allow", "allow", "refuse", 400),
        ("refuse", "refuse", "refuse", "allow", 200),
    ],
)
@pytest.mark.parametrize("named", ["house/small", "fast"])
async def test_on_loss_for_some(
    serve: Any, monkeypatch: pytest.MonkeyPatch, named: str, general: str, direct: Any, key: Any, header: Any, status: int
) -> None:
    """``on_loss`` holds for the most particular that decides it: the request, its key, the route or direct targets, all."""
    backend = await serve(anthropic)
    monkeypatch.setenv("ALICE", "alice-has-a-key")
    config = configured(
        {"house": row("anthropic", backend.url)},
        routes={"fast": Route(("house/small",), on_loss=direct)},
        keys={"alice": "env:ALICE"},
        on_loss=general,
        direct=Direct(on_loss=direct),
        key_settings={"alice": KeySettings(on_loss=key)},
    )
    async with gateway(config) as here:
        path, body = asking("openai-chat", named, seed=7)
        headers = {"authorization": "Bearer alice-has-a-key", **({} if header is None else {HEADER: header})}
        answer = await here.ask(path, body, headers=headers)
    assert answer.status == status
    assert len(backend.seen) == (1 if status == 200 else 0)


async def test_a_header_with_another_word(serve: Any) -> None:
    """Is refused, naming the header and the words that it may be."""
    backend = await serve(anthropic)
    async with gateway(configured({"house": row("anthropic", backend.url)})) as here:
        path, body = asking("openai-chat")
        answer = await here.ask(path, body, headers={HEADER: "ignore"})
    assert answer.status == 400
    assert 'x-polychat-on-loss is "ignore"; it must be "allow", "refuse" or "report"' in answer.json["error"]["message"]


FILE = """
[gateway]
keys = { alice = "env:ALICE" }

[gateway.direct]
timeout = 5
on_loss = "refuse"

[gateway.key_settings.alice]
on_loss = "allow"

[routes.fast]
targets = ["openai/a"]
on_loss = "report"
"""


def test_the_file_sets_it() -> None:
    """``[gateway.direct]`` takes the settings of a route but its targets, and what is written back reads the same."""
    read = config.parsed(FILE, Path("polychat.toml"))
    assert read.gateway.direct == Direct(timeout=5.0, on_loss="refuse")
    assert read.gateway.direct.attempts == 2
    assert read.gateway.key_settings == {"alice": KeySettings(on_loss="allow")}
    assert read.routes["fast"].on_loss == "report"
    again = config.parsed(config_text(read), Path("polychat.toml"))
    assert (again.gateway, again.routes) == (read.gateway, read.routes)
    with pytest.raises(BadInput, match=r"gateway\.direct\.targets is not a known key"):
        config.parsed('[gateway.direct]\ntargets = ["x/y"]', Path("polychat.toml"))
    with pytest.raises(BadInput, match=r"key_settings\.bob names no key"):
        config.parsed('[gateway.key_settings.bob]\non_loss = "allow"', Path("polychat.toml"))
