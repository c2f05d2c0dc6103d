"""Which requests are mirrored."""

from __future__ import annotations

import pytest

from polychat.backends.registry import Registry
from polychat.config import Config
from polychat.config.settings import Route
from polychat.errors import BadInput
from polychat.routing import ModelResolver
from polychat.routing.shadow import LARGEST, MOST, is_mirrored, may_be_mirrored
from polychat.types import ChatMessage, ChatRequest, HostedTool, TextPart, Tool


def test_so_many_percent() -> None:
    """And never more at the same time, and none that is too large to keep."""
    assert [is_mirrored(5.0, draw / 100, 0, 100) for draw in range(10)] == [True] * 5 + [False] * 5
    assert not is_mirrored(0.0, 0.0, 0, 100)
    assert is_mirrored(100.0, 0.999, MOST - 1, LARGEST)
    assert not is_mirrored(100.0, 0.0, MOST, 100)
    assert not is_mirrored(100.0, 0.0, 0, LARGEST + 1)


def test_what_a_vendor_would_run_twice() -> None:
    """Is not mirrored; functions that the client runs are: nobody runs what a shadow calls."""
    turns = [ChatMessage("user", [TextPart("hi")])]
    assert may_be_mirrored(ChatRequest("m", turns, tools=[Tool("f")]))
    assert not may_be_mirrored(ChatRequest("m", turns, tools=[HostedTool("anthropic", {"type": "web_search"})]))


def test_what_it_may_be() -> None:
    """A target or a route; what means nothing is an error of the file that names the setting."""
    targets = ("openai/gpt-4.1",)
    routes = {"house": Route(targets), "chat": Route(targets, shadow="house"), "other": Route(targets, shadow="groq/llama")}
    resolver = ModelResolver(Registry(Config(routes=routes)))
    shadow = resolver.plan("chat").shadow
    assert shadow is not None
    assert (shadow.route, shadow.rules.attempts) == ("house", 1)
    assert resolver.plan("other").shadow is not None
    assert resolver.plan("house").shadow is None
    with pytest.raises(
        BadInput, match=r"routes\.chat\.shadow must be provider/model or the name of a route: no model 'nobody/x'"
    ):
        ModelResolver(Registry(Config(routes={"chat": Route(targets, shadow="nobody/x")})))
