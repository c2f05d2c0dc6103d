"""Requests that are made ready once are made anew where anything that they depend on is another."""

from __future__ import annotations

from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.events import Finish, Start, Text

from ..support.scripted_vendors import ScriptedVendor

HELLO = [[Start("one", "m")], [Text("Hello")], [Finish("complete", "stop")]]


async def test_each_call_has_its_own_options(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, variable, path, headers and address, whatever the calls before it had."""
    server, other = await serve(ScriptedVendor("openai-chat", HELLO)), await serve(ScriptedVendor("openai-chat", HELLO))

    async def sent(url: str = server.url, **options: Any) -> dict[str, str]:
        await polychat.ask("hi", model="openai/m", base_url=f"{url}/v1", **options)
        at = server if url == server.url else other
        headers: dict[str, str] = at.seen[-1].headers
        return headers

    for key in ("one-long-key", "another-long-key", "one-long-key"):
        assert (await sent(api_key=key))["authorization"] == f"Bearer {key}"
        monkeypatch.setenv("OPENAI_API_KEY", f"variable-{key}")
        assert (await sent())["authorization"] == f"Bearer variable-{key}"
    assert (await sent(headers={"X-Team": "blue"}))["x-team"] == "blue"
    assert "x-team" not in await sent()
    assert (await sent(other.url))["host"] == other.url.removeprefix("http://")


async def test_an_invalid_option_is_refused_though_an_equal_one_was_not(serve: Any) -> None:
    """``True`` is equal to 1, and no number of seconds."""
    server = await serve(ScriptedVendor("openai-chat", HELLO))
    options: dict[str, Any] = {"model": "openai/m", "base_url": f"{server.url}/v1", "api_key": "long-enough-a-key"}
    assert (await polychat.ask("hi", timeout=1, **options)).text == "Hello"
    with pytest.raises(errors.BadInput, match="timeout is True"):
        await polychat.ask("hi", timeout=True, **options)
