"""The vendors' wires and the chat sites: an ask of any wire reaches any site as far as it can, and the answer goes back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from polychat.errors import BadInput, LossWarning
from polychat.gateway.sites import Sites, echo
from polychat.providers import CallInfo, find
from polychat.types import ChatMessage, ChatRequest, ImagePart, TextPart, Tool
from polychat.wire.contract import Wire, names, wire_named
from polychat.wire.json_text import encoded

from ..support.random_conversations import read, summary_of
from ..support.sites_application import running

SITES = ["chatgptduo", "aichat", "opchatgpts", "chatgptt", "gptalk"]
OPTIONS: dict[str, dict[str, Any]] = {"aichat": {"cookies": {"session": "abc"}}}


@pytest.fixture
async def sites() -> AsyncGenerator[str, None]:
    """The five services, echoing."""
    async with running(Sites(echo)) as url:
        yield url


def over(wire: Wire, request: ChatRequest) -> ChatRequest:
    """The request as the dialect of that wire reads it."""
    return wire.read_request(encoded(wire.write_request(request)), model=request.model, stream=request.stream)


def request_of(*turns: ChatMessage, **fields: Any) -> ChatRequest:
    return ChatRequest("gpt-3.5-turbo", list(turns), stream=True, stream_usage=True, max_tokens=99, **fields)


HELLO = ChatMessage("user", [TextPart("Why is the sky blue? — небо")])


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", names())
@pytest.mark.filterwarnings("ignore::polychat.errors.LossWarning")
async def test_an_ask_of_any_wire_is_answered_by_any_site(sites: str, name: str, site: str) -> None:
    """The words arrive, and what the site answers is read from that wire again, whole, with its verdict."""
    wire = wire_named(name)
    request = over(wire, request_of(HELLO))
    writer = wire.writer(request, "one", 1_700_000_000)
    written = []
    provider = find(site)
    async for batch in provider.answers(request, CallInfo(), base_url=f"{sites}/{site}", **OPTIONS.get(site, {})):
        written.append(writer.write(batch))
    answer = summary_of(read(wire, [*written, writer.end()]))
    assert answer["text"].startswith("echo: ")
    assert "Why is the sky blue? — небо" in answer["text"]
    assert answer["finish"][0] == "complete"


@pytest.mark.parametrize("site", SITES)
async def test_what_a_site_cannot_take_is_refused_before_it_is_asked(sites: str, site: str) -> None:
    """Tools and images change what an answer is: the field is named, and with ``allow`` it is told as lost."""
    where = {"base_url": f"{sites}/{site}", **OPTIONS.get(site, {})}
    picture = ChatMessage("user", [TextPart("hi"), ImagePart(url="https://example.org/a.png")])
    for request, field in ((request_of(HELLO, tools=[Tool("f")]), "tools"), (request_of(picture), "parts.image.url")):
        with pytest.raises(BadInput) as caught:
            async for _ in find(site).answers(request, CallInfo(), **where):
                pass
        assert caught.value.field == field
        call_info = CallInfo("allow")
        async for _ in find(site).answers(request, call_info, **where):
            pass
        assert field in {loss.field for loss in call_info.losses}


async def test_a_setting_that_a_site_does_not_know_is_warned_of(sites: str) -> None:
    """And one that it does know goes along."""
    with pytest.warns(LossWarning, match="seed is dropped"):
        async for _ in find("opchatgpts").answers(
            request_of(HELLO, seed=1, temperature=0.5), CallInfo(), base_url=f"{sites}/opchatgpts"
        ):
            pass
