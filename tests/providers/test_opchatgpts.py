"""Opchatgpts against servers that answer with recorded bytes, and against its own answering half."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import aclosing
from html import escape
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from polychat import errors
from polychat.gateway.sites import Sites, echo
from polychat.providers import Opchatgpts
from polychat.wire.sites.ai_engine_site import AIEngineSite

from ..support import corpus
from ..support.scripted_server import Say, Seen, Server
from ..support.sites_application import running

HELLO = [{"role": "user", "content": "hi there"}]
SUCCESS = corpus.body("ai-engine-1.9.99/01-success-stream")
WRONG_NONCE = corpus.body("ai-engine-1.9.99/21-wrong-nonce")
SUBMIT = "/wp-json/mwai-ui/v1/chats/submit"
NO_NONCE = corpus.body("ai-engine-2.0.8/20-missing-nonce")


def replaying(pieces: list[bytes], content_type: str = "text/event-stream;charset=UTF-8") -> Any:
    async def handler(seen: Seen, say: Say) -> None:
        await say.stream(pieces, content_type)

    return handler


def _random_cuts(data: bytes) -> list[bytes]:
    rng = random.Random(3)
    places = sorted(rng.sample(range(1, len(data)), min(len(data) - 1, 200)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize(
    "case", [case for case in corpus.cases("ai-engine") if "success" in case or "unicode" in case or "long" in case]
)
async def test_recorded_answers_over_the_network(serve: Any, case: str) -> None:
    """What real servers sent, whole, byte by byte and cut at random, is the same answer."""
    body = corpus.body(case)
    cuts = [[body], _random_cuts(body)] + ([[body[i : i + 1] for i in range(len(body))]] if len(body) < 5000 else [])
    answers = set()
    for pieces in cuts:
        server: Server = await serve(replaying(pieces, corpus.meta(case)["content_type"]))
        answers.add(await Opchatgpts.create_async("gpt-3.5-turbo", HELLO, base_url=server.url))
    assert len(answers) == 1
    assert answers.pop().strip()


async def test_the_request_of_the_seed(serve: Any) -> None:
    """One POST, with the seed's fields and headers, and no nonce header where there is no nonce."""
    server: Server = await serve(replaying([SUCCESS]))
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert [p async for p in Opchatgpts.create_async_generator("gpt-3.5-turbo", messages, base_url=server.url)] == [
        "ech",
        "o: ",
        "hi ",
        "the",
        "re",
    ]
    (seen,) = server.seen
    assert (seen.method, seen.target) == ("POST", "/wp-json/mwai-ui/v1/chats/submit")
    chat_id = seen.json["chatId"]
    assert seen.json == {
        "botId": "default", "chatId": chat_id, "contextId": 28, "customId": None, "messages": messages, "newMessage": "c",
        "session": "N/A", "stream": True,
    }  # fmt: skip
    host = urlsplit(server.url).netloc
    expected = {
        "accept": "*/*", "origin": server.url, "referer": f"{server.url}/chatgpt-free-use/", "alt-used": host,
        "sec-fetch-dest": "empty", "sec-fetch-mode": "cors", "sec-fetch-site": "same-origin",
        "content-type": "application/json",
    }  # fmt: skip
    assert {name: seen.headers[name] for name in expected} == expected
    assert "Mozilla/5.0" in seen.headers["user-agent"]
    assert "accept-language" in seen.headers
    assert "x-wp-nonce" not in seen.headers
    await Opchatgpts.create_async(None, messages, base_url=server.url)
    assert server.seen[1].json["chatId"] != chat_id


async def test_a_cut_stream_gives_what_came_and_then_raises(serve: Any) -> None:
    """A connection that breaks in the middle, and a body that ends without an end event: ``Truncated`` with the text."""

    async def breaks(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        await say.chunk(SUCCESS[:90])
        await say.cut()

    for handler in (breaks, replaying([SUCCESS[: SUCCESS.index(b'data: {"type":"live","data":"the"}')]])):
        server: Server = await serve(handler)
        got = []
        with pytest.raises(errors.Truncated) as caught:
            async for piece in Opchatgpts.create_async_generator(None, HELLO, base_url=server.url):
                got.append(piece)
        assert got[:2] == ["ech", "o: "]
        assert (caught.value.text, caught.value.provider) == ("".join(got), "Opchatgpts")


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("ai-engine-1.9.99/36-zero-message", errors.Unauthorized),
        ("ai-engine-1.9.99/43-upstream-429-nonstream", errors.StatusError),
        ("ai-engine-1.9.99/66-newmessage-array", errors.StatusError),
    ],
)
async def test_a_status_other_than_2xx_is_the_seeds_error(serve: Any, case: str, kind: type[Exception]) -> None:
    """``aiohttp.ClientResponseError``, with the status and what the plugin says; nothing is asked twice."""
    meta = corpus.meta(case)

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(corpus.body(case), meta["status"], meta["content_type"])

    server: Server = await serve(handler)
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await Opchatgpts.create_async(None, HELLO, base_url=server.url)
    assert isinstance(caught.value, kind)
    assert caught.value.status == meta["status"]
    assert len(server.seen) == 1
    message = json.loads(corpus.body(case))["message"]
    assert message[:30] in str(caught.value)


class Recorded:
    """A site of one era that answers with recorded bytes, and knows which nonce is good now."""

    def __init__(self, page: str, *, good: str | None, session: bool) -> None:
        self.page, self.good, self.session = page, good, session

    async def __call__(self, seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            page = corpus.body(self.page).replace(b"9339bdf90f", (self.good or "").encode())
            port = urlsplit(f"http://{seen.headers['host']}").port
            for recorded in (b"8090", b"8092", b"8093"):
                page = page.replace(recorded, str(port).encode())
            await say.whole(page, content_type="text/html; charset=UTF-8")
        elif seen.path == "/wp-json/mwai/v1/start_session":
            if self.session:
                await say.whole({"success": True, "sessionId": "N/A", "restNonce": self.good})
            else:
                await say.whole({"code": "rest_no_route", "message": "No route", "data": {"status": 404}}, 404)
        elif "x-wp-nonce" in seen.headers and seen.headers["x-wp-nonce"] != self.good:
            await say.whole(WRONG_NONCE, 403)
        elif self.good and "x-wp-nonce" not in seen.headers:
            await say.whole(NO_NONCE, 401)
        else:
            await say.stream([SUCCESS])


ERAS = {
    "1.9.99": ("ai-engine-1.9.99/00-page", None, False),
    "2.0.8": ("ai-engine-2.0.8/00-page", "9339bdf90f", False),
    "2.5.2": ("ai-engine-2.5.2/00-page", "d329f178a8", True),
}


@pytest.mark.parametrize("page", [None, "/chat/", "url"])
@pytest.mark.parametrize("era", ERAS)
async def test_every_era_of_the_nonce(serve: Any, era: str, page: str | None) -> None:
    """With and without a page named, each version of the plugin gets the nonce it wants, from where it gives it."""
    recorded, good, session = ERAS[era]
    server: Server = await serve(Recorded(recorded, good=good, session=session))
    options = {} if page is None else {"page": f"{server.url}/chat/" if page == "url" else page}
    assert await Opchatgpts.create_async(None, HELLO, base_url=server.url, **options) == "echo: hi there"
    submits = [seen for seen in server.seen if seen.path.endswith("/submit")]
    assert submits[-1].headers.get("x-wp-nonce") == good
    assert len(submits) == (1 if page or not good else 2)
    if page:
        assert (submits[0].json["contextId"], submits[0].json["botId"]) == (4, "default")
    assert all(seen.headers.get("x-wp-nonce") != "" for seen in server.seen)


async def test_a_stale_nonce_is_renewed_once(serve: Any) -> None:
    """A cached page's nonce is refused, the page is fetched again past the cache, and the ask goes through."""
    site = Recorded("ai-engine-2.0.8/00-page", good="aaaaaaaaaa", session=False)
    handed = iter(["0000000000"])

    async def cached(seen: Seen, say: Say) -> None:
        if seen.method == "GET" and (stale := next(handed, None)):
            good, site.good = site.good, stale
            await site(seen, say)
            site.good = good
        else:
            await site(seen, say)

    server: Server = await serve(cached)
    assert await Opchatgpts.create_async(None, HELLO, base_url=server.url, page="/chat/") == "echo: hi there"
    assert [seen.headers.get("x-wp-nonce") for seen in server.seen] == [None, "0000000000", None, "aaaaaaaaaa"]


async def test_a_nonce_that_is_never_taken_is_asked_twice_and_no_more(serve: Any) -> None:
    """Two submits at most; then ``Unauthorized``, without the nonce in its words."""
    counter = iter(range(1000))

    async def never(seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            await Recorded("ai-engine-2.0.8/00-page", good=f"nonce{next(counter)}", session=False)(seen, say)
        else:
            await say.whole(WRONG_NONCE, 403)

    server: Server = await serve(never)
    for options in ({}, {"page": "/chat/"}):
        server.seen.clear()
        with pytest.raises(errors.Unauthorized) as caught:
            await Opchatgpts.create_async(None, HELLO, base_url=server.url, **options)
        assert sum(seen.path.endswith("/submit") for seen in server.seen) == 2
        assert "nonce0" not in str(caught.value)
        assert caught.value.status == 403


async def test_without_a_page_only_the_nonce_is_taken_from_one(serve: Any) -> None:
    """The second ask is the first one, to the letter, with a nonce."""
    server: Server = await serve(Recorded("ai-engine-2.0.8/00-page", good="9339bdf90f", session=False))
    await Opchatgpts.create_async(None, HELLO, base_url=server.url)
    assert [seen.target for seen in server.seen] == [SUBMIT, "/chatgpt-free-use/", SUBMIT]
    assert server.seen[0].body == server.seen[2].body
    assert server.seen[2].headers["x-wp-nonce"] == "9339bdf90f"


async def test_a_cache_that_never_forgets_is_got_round_by_start_session(serve: Any) -> None:
    """The page has the same stale nonce twice; the plugin, newer than the page, gives another."""
    site = Recorded("ai-engine-2.0.8/00-page", good="aaaaaaaaaa", session=True)

    async def cached(seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            page = corpus.body("ai-engine-2.0.8/00-page").replace(b"8092", str(server.port).encode())
            await say.whole(page, content_type="text/html")
        else:
            await site(seen, say)

    server: Server = await serve(cached)
    assert await Opchatgpts.create_async(None, HELLO, base_url=server.url, page="/chat/") == "echo: hi there"
    submits = [seen.headers.get("x-wp-nonce") for seen in server.seen if seen.target == SUBMIT]
    assert submits == ["9339bdf90f", "aaaaaaaaaa"]


async def test_a_wall_before_the_page_is_reported(serve: Any) -> None:
    """The ask wants a nonce, and the page that would give one requires a human check: that is the error."""

    async def walled(seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            await say.whole(b"<title>Just a moment...</title>", 403, "text/html", [("cf-mitigated", "challenge")])
        elif seen.target == SUBMIT:
            await say.whole(NO_NONCE, 401)
        else:
            await say.whole(b"{}", 404)

    server: Server = await serve(walled)
    with pytest.raises(errors.ChallengeRequired):
        await Opchatgpts.create_async(None, HELLO, base_url=server.url)


async def test_a_site_without_the_plugin_names_the_next_step(serve: Any) -> None:
    """404 names the options that may be wrong, for the API and for the page."""

    async def nothing(seen: Seen, say: Say) -> None:
        await say.whole(b"<h1>Not Found</h1>", 404, "text/html")

    server: Server = await serve(nothing)
    for options, says in (({}, "option page"), ({"page": "/elsewhere"}, "/elsewhere")):
        with pytest.raises(aiohttp.ClientResponseError, match=says) as caught:
            await Opchatgpts.create_async(None, HELLO, base_url=server.url, **options)
        assert caught.value.status == 404


def site_with(**system: Any) -> Any:
    """A site whose page holds a chat with these data."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            data = escape(json.dumps(system))
            page = f"<div class='mwai-chatbot-container' data-system='{data}'></div>"
            await say.whole(page.encode(), content_type="text/html")
        elif "start_session" in seen.target:
            await say.whole(b"{}", 404)
        else:
            await say.stream([SUCCESS])

    return handler


async def test_a_site_without_pretty_permalinks(serve: Any) -> None:
    """What the page names is asked: its route in the query, its bot, its session, its way of answering; as from that page."""
    system = {
        "restUrl": "/?rest_route=/",
        "botId": None,
        "customId": "c-1",
        "contextId": 7,
        "sessionId": "s-1",
        "stream": False,
    }
    server: Server = await serve(site_with(**system))
    # the page alone tells where to go: the seed's own site is not asked
    assert await Opchatgpts.create_async(None, HELLO, page=f"{server.url}/a/chat?x=1#top") == "echo: hi there"
    request = server.seen[-1]
    assert request.target == "/?rest_route=/mwai-ui/v1/chats/submit"
    named = ("botId", "customId", "contextId", "session", "stream")
    assert [request.json[name] for name in named] == [None, "c-1", 7, "s-1", False]
    expected = {
        "origin": server.url,
        "alt-used": urlsplit(server.url).netloc,
        "referer": f"{server.url}/a/chat?x=1",
    }
    for seen in server.seen:
        assert {name: seen.headers[name] for name in expected} == expected


async def test_a_page_that_has_moved(serve: Any) -> None:
    """Within its host it is followed, and asked where it is now; to another host it is not, and nothing is asked there."""
    there: Server = await serve(site_with(restUrl="/blog/wp-json", botId="default"))
    places = {"/old": f"{there.url}/blog/chat/", "/away": f"http://localhost:{there.port}/blog/chat/"}

    async def moved(seen: Seen, say: Say) -> None:
        await say.whole(b"", 301, headers=[("Location", places[seen.path])])

    here: Server = await serve(moved)
    assert await Opchatgpts.create_async(None, HELLO, base_url=here.url, page="/old") == "echo: hi there"
    assert there.seen[-1].target == "/blog/wp-json/mwai-ui/v1/chats/submit"
    there.seen.clear()
    with pytest.raises(errors.BadReply, match="localhost"):
        await Opchatgpts.create_async(None, HELLO, base_url=here.url, page="/away")
    assert all(seen.method == "GET" for seen in [*here.seen, *there.seen])


@pytest.mark.parametrize("line", [b"data: nonsense\n\n", b'data: {"data": "x"}\n\n'])
async def test_a_broken_line_is_the_seeds_runtime_error(serve: Any, line: bytes) -> None:
    """After the text that came before it, a ``RuntimeError`` that names the line."""
    server: Server = await serve(replaying([SUCCESS[:36], line]))
    got = []
    with pytest.raises(RuntimeError) as caught:
        async for piece in Opchatgpts.create_async_generator(None, HELLO, base_url=server.url):
            got.append(piece)
    assert got == ["ech"]
    assert line.decode().strip() in str(caught.value)


async def test_what_the_caller_sets_goes_along(serve: Any) -> None:
    """Sampling options by the plugin's names, and nothing of them where none is set."""
    server: Server = await serve(replaying([SUCCESS]))
    await Opchatgpts.create_async(None, HELLO, base_url=server.url, temperature=0.2, max_tokens=50)
    assert (server.seen[0].json["temperature"], server.seen[0].json["maxTokens"]) == (0.2, 50)


async def test_a_page_without_a_chat_reports_that(serve: Any) -> None:
    """The error names the page and the option."""

    async def empty(seen: Seen, say: Say) -> None:
        await say.whole(b"<p>no chat</p>", content_type="text/html")

    server: Server = await serve(empty)
    with pytest.raises(errors.ChatNotFound, match="/elsewhere"):
        await Opchatgpts.create_async(None, HELLO, base_url=server.url, page="/elsewhere")
    for page in ("", "http://[", 7):
        with pytest.raises(errors.BadInput) as caught:
            await Opchatgpts.create_async(None, HELLO, base_url=server.url, page=page)
        assert caught.value.field == "page"


async def test_what_the_service_refuses_never_leaves(serve: Any) -> None:
    """A blank, «0» or overlong message is refused before a connection is opened, page or no page."""
    server: Server = await serve(replaying([SUCCESS]))
    for text in ("", "0", "я" * 32_769):
        for options in ({}, {"page": "/"}):
            with pytest.raises(errors.BadInput):
                await Opchatgpts.create_async(None, [{"role": "user", "content": text}], base_url=server.url, **options)
    assert server.connections == 0


@pytest.mark.parametrize("leave", ["cancel", "close"])
async def test_leaving_closes_the_connection_at_the_server(serve: Any, leave: str) -> None:
    """A cancelled caller, and one that stops reading, are gone at the server's side too."""
    gone = asyncio.Event()

    async def endless(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        await say.chunk(SUCCESS[:36])
        await say.gone()
        gone.set()

    server: Server = await serve(endless)
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(Opchatgpts.create_async_generator(None, HELLO, base_url=server.url)) as pieces:
            async for _ in pieces:
                begun.set()
                if leave == "close":
                    return

    async with asyncio.timeout(60):
        task = asyncio.create_task(read())
        await begun.wait()
        if leave == "cancel":
            task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() is (leave == "cancel")
        await gone.wait()


@pytest.mark.parametrize("era", ["1.9", "2.0", "2.4"])
async def test_end_to_end_with_our_own_server(era: Any) -> None:
    """Both halves of every era; a nonce that goes stale between two asks of a page is renewed."""
    site = AIEngineSite(era=era)
    async with running(Sites(echo, {"opchatgpts": site})) as url:
        for options in ({}, {"page": "/chat/"}):
            assert await Opchatgpts.create_async(None, HELLO, base_url=f"{url}/opchatgpts", **options) == "echo: hi there"
            site.nonces.expire()
