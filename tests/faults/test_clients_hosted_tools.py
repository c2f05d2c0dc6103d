"""Tools that only another vendor's backend runs: agents send them with every request, and go on without them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.calls.info import CallInfo
from polychat.config.settings import Route
from polychat.events import Event, Finish, Text
from polychat.wire.contract import names, wire_named

from ..support.gateway_for_clients import house
from ..support.running_gateway import asking

HELLO: list[list[Event]] = [[Text("Hello")], [Finish("complete", "stop")]]
SCHEMA = {"type": "object", "properties": {}}
FUNCTION: dict[str, Any] = {
    "openai-responses": {"type": "function", "name": "f", "parameters": SCHEMA},
    "openai-chat": {"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
    "anthropic": {"name": "f", "input_schema": SCHEMA},
    "gemini": {"functionDeclarations": [{"name": "f"}]},
}
HOSTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "openai-responses": ({"type": "web_search"}, {"tool_choice": {"type": "web_search"}}),
    "openai-chat": ({"type": "browser_search"}, {"tool_choice": "required"}),
    "anthropic": (
        {"type": "web_search_20250305", "name": "web_search"},
        {"tool_choice": {"type": "tool", "name": "web_search"}},
    ),
    "gemini": ({"googleSearch": {}}, {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
}
"""For each dialect that has such tools: one of them, and what demands it."""
KINDS = {
    "openai-responses": "web_search",
    "openai-chat": "browser_search",
    "anthropic": "web_search_20250305",
    "gemini": "googleSearch",
}
each_cell = pytest.mark.parametrize(
    ("dialect", "name"), [(dialect, name) for dialect in HOSTED for name in names() if name != dialect], ids=lambda one: one
)


def tools(dialect: str, *, function: bool = True) -> dict[str, Any]:
    return {"tools": [*([FUNCTION[dialect]] if function else []), HOSTED[dialect][0]]}


@each_cell
@pytest.mark.parametrize("function", [True, False], ids=["beside", "alone"])
async def test_what_is_optional_is_left_out_and_named(dialect: str, name: str, function: bool) -> None:
    """The answer comes, the functions reach the backend, and the header names the tool."""
    async with house(name, HELLO) as (here, backend):
        path, body = asking(dialect, **tools(dialect, function=function))
        got = await here.ask(path, body)
    assert got.status == 200, got.body
    assert KINDS[dialect] in got.headers["x-polychat-losses"]
    assert [tool.name for tool in backend.asks[0].tools] == (["f"] if function else [])  # type: ignore[union-attr]
    assert backend.asks[0].tool_choice is None


@each_cell
async def test_what_is_demanded_is_refused_by_name(dialect: str, name: str) -> None:
    """A choice of the tool, or of any where it is the only one, cannot be met: 400 names it, and nobody is asked."""
    async with house(name, HELLO) as (here, backend):
        path, body = asking(dialect, **tools(dialect, function=False), **HOSTED[dialect][1])
        got = await here.ask(path, body)
    assert got.status == 400
    assert KINDS[dialect] in got.body.decode()
    assert not backend.asks


@each_cell
async def test_a_client_may_refuse(dialect: str, name: str) -> None:
    """``x-polychat-hosted-tools: refuse`` in place of an answer without the tool; another word is 400 too."""
    async with house(name, HELLO) as (here, backend):
        path, body = asking(dialect, **tools(dialect))
        got = await here.ask(path, body, headers={"x-polychat-hosted-tools": "refuse"})
        other = await here.ask(path, body, headers={"x-polychat-hosted-tools": "maybe"})
    assert (got.status, other.status) == (400, 400)
    assert KINDS[dialect] in got.body.decode()
    assert "drop" in other.body.decode()
    assert not backend.asks


async def test_the_gateway_and_a_route_may_refuse() -> None:
    """``[gateway] hosted_tools`` holds for all, a route's own for what it answers, and a header goes over both."""
    routes = {"lenient": Route(targets=("house/small",), hosted_tools="drop")}
    async with house("anthropic", HELLO, hosted_tools="refuse", routes=routes) as (here, _):
        path, body = asking("openai-responses", **tools("openai-responses"))
        assert (await here.ask(path, body)).status == 400
        assert (await here.ask(path, {**body, "model": "lenient"})).status == 200
        assert (await here.ask(path, body, headers={"x-polychat-hosted-tools": "drop"})).status == 200


@pytest.mark.parametrize(
    ("hosted_tools", "on_loss", "status"),
    [("drop", "allow", 200), ("refuse", "allow", 400), ("drop", "refuse", 400), ("refuse", "refuse", 400)],
)
async def test_either_word_refuses(hosted_tools: str, on_loss: str, status: int) -> None:
    """A client that refuses every loss need not refuse this one besides, nor the other way round."""
    async with house("anthropic", HELLO) as (here, backend):
        path, body = asking("openai-responses", **tools("openai-responses"))
        headers = {"x-polychat-hosted-tools": hosted_tools, "x-polychat-on-loss": on_loss}
        assert (await here.ask(path, body, headers=headers)).status == status
    assert len(backend.asks) == (status == 200)


@pytest.mark.parametrize("dialect", HOSTED)
def test_on_its_own_wire_it_stays(dialect: str) -> None:
    """A request that is written again for a backend of the same wire keeps the tool and the choice of it."""
    _, body = asking(dialect, **tools(dialect), **HOSTED[dialect][1])
    request = wire_named(dialect).read_request(json.dumps(body).encode(), model="m")
    allowed = CallInfo("refuse", hosted_tools="drop").apply_loss_policy(
        request, wire_named(dialect).SUPPORT, dialect, wire_named(dialect).VENDOR
    )
    written = wire_named(dialect).write_request(allowed)
    assert KINDS[dialect] in json.dumps(written["tools"])
    assert allowed.tool_choice == request.tool_choice
