"""The answering half of GPTalk: what it takes, what it refuses, what it forgets, and that the provider understands it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat import errors
from polychat.events import Event, Text
from polychat.gateway.sites import Sites, echo
from polychat.providers import GPTalk
from polychat.providers._gptalk_site import GPTalkSite
from polychat.providers._gptalk_stream import Reader, StreamWriter
from polychat.providers.gptalk import question, read_ask, read_login
from polychat.wire.answering import Request, Response, SiteRequest
from polychat.wire.reading import complete, failed, truncated

from ..support.read_replies import read_pieces
from ..support.scripted_sites import written_reply
from ..support.sites_application import running

LOGIN, TEXT, STREAM = "/api/chatgpt/user/login", "/api/chatgpt/chatapi/text", "/api/chatgpt/chatapi/stream"
HELLO = [{"role": "user", "content": "Привет, как дела?"}]


class Now:
    """A site with a clock the test sets, and numbered tokens."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.count = 0
        self.site = GPTalkSite(lambda: self.time, self.token)

    def token(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def read_pieces(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> Response | SiteRequest:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        query = {"token": token} if token else {}
        return self.site.receive(Request(method, path, query, headers, data, "http://127.0.0.1"))

    def login(self) -> str:
        reply = self.read_pieces("POST", LOGIN, {"fingerprint": "0a" * 16, "platform": "fingerprint"})
        assert isinstance(reply, Response)
        data, until = read_login(reply.body)
        assert until == int(self.time) + GPTalkSite.lifetime
        return str(data["token"])

    def ask(self, login: str, prompt: str = "hi") -> Response:
        body = question([{"role": "user", "content": prompt}], "gpt-4", "agent", int(self.time))
        reply = self.read_pieces("POST", TEXT, body, authorization=f"Bearer {login}")
        assert isinstance(reply, Response)
        return reply

    def stream(self, ask: Response) -> Response | SiteRequest:
        return self.read_pieces("GET", STREAM, token=read_ask(ask.body))


def status(reply: Response | SiteRequest) -> int:
    return reply.status if isinstance(reply, Response) else 200


def test_the_site_hears_what_is_asked() -> None:
    """The stream's request leads to the prompt that was posted, once."""
    now = Now()
    ask = now.ask(now.login(), "привет")
    reply = now.stream(ask)
    assert isinstance(reply, SiteRequest)
    assert (reply.text, reply.model, reply.settings) == ("привет", "gpt-4", {"temperature": 0})
    assert reply.messages == [{"role": "user", "content": "привет"}]
    assert status(now.stream(ask)) == 401


def test_a_login_is_good_for_five_asks() -> None:
    """The sixth is 401, and another login is not touched by it."""
    now = Now()
    first, second = now.login(), now.login()
    assert [status(now.ask(first)) for _ in range(6)] == [200] * 5 + [401]
    assert status(now.ask(second)) == 200


def test_a_login_ends() -> None:
    """From ``expires_at`` on it is 401."""
    now = Now()
    login = now.login()
    now.time += GPTalkSite.lifetime - 1
    assert status(now.ask(login)) == 200
    now.time += 1
    assert status(now.ask(login)) == 401


def test_an_ask_ends_too() -> None:
    """A stream that is not fetched in time is gone."""
    now = Now()
    ask = now.ask(now.login())
    now.time += GPTalkSite.patience
    assert status(now.stream(ask)) == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "expected"),
    [
        ("GET", LOGIN, None, {}, 404),
        ("POST", "/", None, {}, 404),
        ("POST", LOGIN, b"", {}, 400),
        ("POST", LOGIN, {"fingerprint": "0a" * 16, "platform": "password"}, {}, 400),
        ("POST", LOGIN, {"fingerprint": "0a" * 15, "platform": "fingerprint"}, {}, 400),
        ("POST", TEXT, {}, {}, 401),
        ("POST", TEXT, {}, {"authorization": "Bearer guess"}, 401),
        ("POST", TEXT, {}, {"authorization": "Basic t1"}, 401),
        ("POST", TEXT, {}, {"authorization": "Bearer t1"}, 400),
        ("POST", TEXT, {"content": " ", "model": "m", "accept": "stream"}, {"authorization": "Bearer t1"}, 400),
        ("GET", STREAM, None, {}, 401),
    ],
)
def test_the_site_refuses(method: str, path: str, body: Any, headers: dict[str, str], expected: int) -> None:
    """What is no step of the protocol has its status and JSON with ``code`` and ``message``; it uses no ask up."""
    now = Now()
    login = now.login()
    reply = now.read_pieces(method, path, body, **headers)
    assert isinstance(reply, Response)
    reply_body = json.loads(reply.body)
    assert (reply.status, reply_body["code"]) == (expected, expected)
    assert reply_body["message"]
    assert [status(now.ask(login)) for _ in range(5)] == [200] * 5


def test_what_it_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks and logins past the bound push the oldest out, and those whose time is up go with the next."""
    monkeypatch.setattr(GPTalkSite, "most_logins", 3)
    monkeypatch.setattr(GPTalkSite, "most_waiting", 3 * 1512)
    now = Now()
    logins = [now.login() for _ in range(4)]
    assert [status(now.ask(login, "x" * 1000)) for login in logins] == [401, 200, 200, 200]
    now.stream(now.ask(logins[1]))  # fetched: it weighs no more
    asks = [now.ask(logins[1], "x" * 1000) for _ in range(3)]
    assert [status(now.stream(ask)) for ask in asks] == [200] * 3
    asks = [now.ask(login, "x" * 1000) for login in logins[2:] for _ in range(2)]
    assert [status(now.stream(ask)) for ask in asks] == [401, 200, 200, 200]
    assert not now.site._asks
    now.ask(logins[2])
    now.time += GPTalkSite.patience
    now.ask(logins[3])
    assert len(now.site._asks) == 1


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), max_size=6), st.integers(0, 3))
def test_what_it_writes_is_read_back(batches: list[list[str]], verdict: int) -> None:
    """Text passes through writer and reader unchanged, and only an answer that was whole reads as whole."""
    ends = [complete(), failed(errors.ReplyFailed("no model")), truncated("it broke"), None]
    events: list[list[Event]] = [[Text(text) for text in batch if text] for batch in batches]
    end = ends[verdict]
    question = SiteRequest("x", [], StreamWriter())
    reply = read_pieces(Reader(), written_reply(question, lambda _: [*events, *([[end]] if end else [])]))
    text = "".join(text for batch in batches for text in batch)
    assert reply.text == text
    expected = {0: None if text.strip() else errors.EmptyReply, 1: errors.ReplyFailed}.get(verdict, errors.Truncated)
    assert (type(reply.finish.error) if reply.finish.error else None) is expected


async def test_the_provider_speaks_with_its_half() -> None:
    """Over HTTP, mounted below a path, on a class and from plain code."""
    async with running(Sites(echo, {"gptalk": GPTalkSite()})) as url:
        text = f"echo: {HELLO[0]['content']}"
        assert await GPTalk.create_async(None, HELLO, base_url=f"{url}/gptalk") == text
        plain = GPTalk.create_completion("gpt-4", HELLO, base_url=f"{url}/gptalk")
        assert "".join(await asyncio.to_thread(list, plain)) == text
