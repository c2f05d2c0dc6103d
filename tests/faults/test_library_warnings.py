"""Warnings point to the line that called polychat: there they can be found, and filtered by module."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import polychat
from polychat.events import Finish, Start, Text

from ..support.scripted_vendors import ScriptedVendor

GIVEN: dict[str, Any] = {"model": "anthropic/m", "api_key": "k", "seed": 1, "no_such_option": 1}


async def whole(options: dict[str, Any]) -> None:
    await polychat.ask("hi", **options)


async def of_a_client(options: dict[str, Any]) -> None:
    await polychat.Client().ask("hi", **options)


async def pieces(options: dict[str, Any]) -> None:
    async with polychat.stream("hi", **options) as reply:
        assert [piece async for piece in reply]


async def events(options: dict[str, Any]) -> None:
    async with polychat.stream("hi", **options) as reply:
        assert [batch async for batch in reply.events()]


async def completion(options: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "hi"}]
    await polychat.Client(options["model"]).chat.completions.create(messages=messages, **{**options, "model": None})


@pytest.mark.parametrize("way", [whole, of_a_client, pieces, events, completion])
async def test_a_warning_is_at_the_callers_line(
    serve: Any, monkeypatch: pytest.MonkeyPatch, way: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """A loss and an unknown option, by every way to ask."""
    monkeypatch.setattr("polychat.calls.call._warned", set())  # an unknown option is told once a process
    served = await serve(ScriptedVendor("anthropic", [[Start("x", "m")], [Text("hi")], [Finish("complete", "stop")]]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await way({**GIVEN, "base_url": served.url})
    assert caught
    assert any("seed" in str(one.message) for one in caught)
    assert {one.filename for one in caught} == {__file__}
