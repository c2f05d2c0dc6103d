"""ChatGptt against servers that answer with recorded bytes, and against its own answering half."""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from polychat import errors
from polychat.gateway.sites import Sites, echo
from polychat.providers import ChatGptt
from polychat.wire.sites.ai_power_site import AIPowerSite

from ..support import corpus
from ..support.scripted_server import Say, Seen, Server
from ..support.sites_application import running

HELLO = [{"role": "user", "content": "hi there"}]
PAGE = corpus.body("ai-power-1.8.99/00-page")
SUCCESS = corpus.body("ai-power-1.8.99/01-success-default-stream")


def replaying(pieces: list[bytes], content_type: str = "text/event-stream;charset=UTF-8", page: bytes = PAGE) -> Any:
    async def handler(seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            await say.whole(page, content_type="text/html; charset=UTF-8")
        else:
            await say.stream(pieces, content_type)

    return handler


def _cuts(data: bytes) -> list[list[bytes]]:
    rng = random.Random(3)
    places = sorted(rng.sample(range(1, len(data)), min(len(data) - 1, 200)))
    return [
        [data],
        [data[i : i + 1] for i in range(len(data))],
        [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)],
    ]


@pytest.mark.parametrize("case", ["01-success-default-stream", "02-success-json", "13-unicode-stream-fixed"])
async def test_recorded_answers_over_the_network(serve: Any, case: str) -> None:
    """What real servers sent, whole, byte by byte and cut at random, is the same answer."""
    name = f"ai-power-1.8.99/{case}"
    answers = set()
    for pieces in _cuts(corpus.body(name)):
        server: Server = await serve(replaying(pieces, corpus.meta(name)["content_type"]))
        answers.add(await ChatGptt.create_async("gpt-4o", HELLO, base_url=server.url))
    assert len(answers) == 1
    assert answers.pop().strip()


async def test_the_two_requests_of_the_seed(serve: Any) -> None:
    """A GET of the page, then the form, field by field; the conversation is in the message."""
    server: Server = await serve(replaying([SUCCESS]))
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": 'say "x"\n\\'}]
    pieces = [piece async for piece in ChatGptt().create_async_generator(model="gpt-4", messages=messages, base_url=server.url)]
    assert pieces == ["ech", "o: ", "hi ", "the", "re"]
    page, request = server.seen
    assert (page.method, page.target, request.method, request.target) == ("GET", "/", "POST", "/wp-admin/admin-ajax.php")
    form = request.form
    assert re.fullmatch("[0-9a-f]{10}", form.pop("wpaicg_chat_client_id"))
    assert form == {
        "_wpnonce": "94d05cd44b", "post_id": "5", "url": server.url, "action": "wpaicg_chat_shortcode_message",
        "message": 'System: Be kind.\nUser: say "x"\n\\\nAssistant:', "bot_id": "0", "chatbot_identity": "shortcode",
        "wpaicg_chat_history": "",
    }  # fmt: skip
    expected = {
        "authority": server.url.removeprefix("http://"),
        "accept": "application/json",
        "origin": server.url,
        "referer": f"{server.url}/chat",
    }
    assert {name: request.headers[name] for name in expected} == expected
    assert "Mozilla/5.0" in request.headers["user-agent"]


async def test_the_seeds_own_site_is_asked_at_its_endpoint(serve: Any) -> None:
    """Without ``base_url`` the attributes hold, a subclass's too."""
    server: Server = await serve(replaying([SUCCESS]))

    class Elsewhere(ChatGptt):
        url = server.url
        api_endpoint = f"{server.url}/ajax"

    assert await Elsewhere.create_async(None, HELLO) == "echo: hi there"
    assert [seen.target for seen in server.seen] == ["/", "/ajax"]


async def test_a_page_of_ones_own(serve: Any) -> None:
    """With ``page`` the chat of that page is asked, by the address the page has for itself."""
    server: Server = await serve(replaying([SUCCESS]))
    for page in ("/chat-power", f"{server.url}/chat-power", "chat-power"):
        server.seen.clear()
        await ChatGptt.create_async(None, HELLO, base_url=server.url, page=page)
        assert server.seen[0].path == "/chat-power"
        assert server.seen[1].form["url"] == "http://127.0.0.1:8090/chat-power"


async def test_a_custom_bot_and_a_widget_are_asked_as_their_pages_do(serve: Any) -> None:
    """The bot's number makes its identity; the site-wide widget has an action of its own."""
    custom = PAGE.replace(b'data-bot-id="0"', b'data-bot-id="7"')
    server: Server = await serve(replaying([SUCCESS], page=custom))
    await ChatGptt.create_async(None, HELLO, base_url=server.url)
    assert (server.seen[1].form["bot_id"], server.seen[1].form["chatbot_identity"]) == ("7", "custom_bot_7")
    server = await serve(replaying([SUCCESS], page=corpus.body("ai-power-1.8.99/91-page-widget-only")))
    await ChatGptt.create_async(None, HELLO, base_url=server.url)
    assert server.seen[1].form["action"] == "wpaicg_chatbox_message"


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("18-empty-reply-json", errors.EmptyReply),
        ("50-upstream-401-json", errors.ReplyFailed),
        ("57-upstream-quote-error-stream", errors.ReplyFailed),
        ("59-upstream-html-502-stream", errors.BadReply),
        ("64-limit-reached-stream", errors.LimitReached),
        ("66-upstream-unreachable-json", errors.ReplyFailed),
    ],
)
async def test_failures_under_200_are_raised(serve: Any, case: str, kind: type[Exception]) -> None:
    """No piece of text is given, wherever the network cuts, and the error names the provider."""
    name = f"ai-power-1.8.99/{case}"
    for cut in _cuts(corpus.body(name)):
        server: Server = await serve(replaying(cut, corpus.meta(name)["content_type"]))
        pieces = []
        with pytest.raises(kind) as caught:
            async for piece in ChatGptt.create_async_generator(None, HELLO, base_url=server.url):
                pieces.append(piece)
        assert (pieces, caught.value.provider) == ([], "ChatGptt")  # type: ignore[attr-defined]


@pytest.mark.parametrize("content_type", ["application/json", "text/html", ""])
@pytest.mark.parametrize("case", ["01-success-default-stream", "02-success-json"])
async def test_a_content_type_that_lies_is_not_believed(serve: Any, case: str, content_type: str) -> None:
    """A stream under JSON's type, an object under HTML's: the bytes decide."""
    server: Server = await serve(replaying([corpus.body(f"ai-power-1.8.99/{case}")], content_type))
    assert await ChatGptt.create_async(None, HELLO, base_url=server.url) == "echo: hi there"


async def test_an_empty_body_is_an_error(serve: Any) -> None:
    """200 and not a byte is what a site says whose model is not there."""
    server: Server = await serve(replaying([]))
    with pytest.raises(errors.EmptyReply):
        await ChatGptt.create_async(None, HELLO, base_url=server.url)


async def test_a_cut_stream_gives_what_came_and_then_raises(serve: Any) -> None:
    """The recorded cut: three pieces, then ``Truncated`` with their text."""
    server: Server = await serve(replaying([corpus.body("ai-power-1.8.99/61-upstream-cut-stream")]))
    got = []
    with pytest.raises(errors.Truncated) as caught:
        async for piece in ChatGptt.create_async_generator(None, HELLO, base_url=server.url):
            got.append(piece)
    assert (got, caught.value.text) == (["c0 ", "c1 ", "c2 "], "c0 c1 c2 ")


def refusing(
    good: str, nonces: list[str], refusal: bytes = corpus.body("ai-power-1.8.99/21-wrong-nonce"), status: int = 403
) -> Any:
    """A site whose pages hold one nonce after the other, and which takes only ``good``."""
    handed = iter(nonces)

    async def handler(seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            await say.whole(PAGE.replace(b"94d05cd44b", next(handed).encode()), content_type="text/html; charset=UTF-8")
        elif seen.form["_wpnonce"] == good:
            await say.stream([SUCCESS])
        else:
            await say.whole(refusal, status, "text/html; charset=UTF-8")

    return handler


@pytest.mark.parametrize("page", [None, "/chat?lang=en"])
@pytest.mark.parametrize("status", [401, 403])
async def test_a_stale_nonce_is_renewed_once(serve: Any, page: str | None, status: int) -> None:
    """Refused, fetched again past caches that heed headers and past those that do not, asked again as the same guest."""
    server: Server = await serve(refusing("good", ["stale", "good"], status=status))
    options = {} if page is None else {"page": page}
    assert await ChatGptt.create_async(None, HELLO, base_url=server.url, **options) == "echo: hi there"
    first, refused, again, taken = server.seen
    assert [seen.method for seen in server.seen] == ["GET", "POST", "GET", "POST"]
    assert (again.path, again.headers["cache-control"]) == (first.path, "no-cache")
    assert again.target != first.target
    assert first.query.items() <= again.query.items()
    assert {**refused.form, "_wpnonce": "good"} == taken.form


async def test_a_nonce_that_is_never_taken_is_asked_twice_and_no_more(serve: Any) -> None:
    """Two asks at most; one where the page has no other nonce. Then ``Unauthorized``, which is the seed's error too."""
    for nonces, asks in (([f"nonce{n}" for n in range(9)], 2), (["nonce"] * 9, 1)):
        server: Server = await serve(refusing("good", nonces))
        with pytest.raises(errors.Unauthorized) as caught:
            await ChatGptt.create_async(None, HELLO, base_url=server.url)
        assert sum(seen.method == "POST" for seen in server.seen) == asks
        assert isinstance(caught.value, aiohttp.ClientResponseError)
        assert (caught.value.status, caught.value.provider) == (403, "ChatGptt")
        assert "The link you followed has expired. Please try again." in str(caught.value)
        assert not [nonce for nonce in nonces if nonce in str(caught.value)]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b"<title>Just a moment...</title>", errors.ChallengeRequired),
        (429, b"later", errors.RateLimited),
        (502, b"<h1>Bad Gateway</h1>", errors.StatusError),
    ],
)
async def test_what_is_not_about_the_nonce_is_not_asked_again(
    serve: Any, status: int, body: bytes, kind: type[errors.StatusError]
) -> None:
    """A bot wall, a limit, a server that is down: one ask, and the page is left alone."""
    server: Server = await serve(refusing("good", ["stale", "good"], body, status))
    with pytest.raises(kind) as caught:
        await ChatGptt.create_async(None, HELLO, base_url=server.url)
    assert ([seen.method for seen in server.seen], caught.value.status) == (["GET", "POST"], status)


async def test_the_error_of_a_missing_page_names_it(serve: Any) -> None:
    """The status of the page is the error, and its address is in it; nothing is asked."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(b"no", 404, "text/html")

    server: Server = await serve(handler)
    with pytest.raises(errors.StatusError, match="cannot load the page http.*/nowhere/") as caught:
        await ChatGptt.create_async(None, HELLO, base_url=server.url, page="/nowhere/")
    assert (caught.value.status, len(server.seen)) == (404, 1)


@pytest.mark.parametrize("page", ["", " ", 7, "http://"])
async def test_what_is_no_page_never_leaves(serve: Any, page: Any) -> None:
    """It is the field ``page`` that is at fault."""
    server: Server = await serve(replaying([SUCCESS]))
    with pytest.raises(errors.BadInput) as caught:
        await ChatGptt.create_async(None, HELLO, base_url=server.url, page=page)
    assert (caught.value.field, server.connections) == ("page", 0)


async def test_no_page_gets_a_password_in_the_address(serve: Any) -> None:
    """It is for the server's own login: not in the referer, the origin, or the form."""
    server: Server = await serve(replaying([SUCCESS], page=PAGE.replace(b"data-url", b"data-nothing")))
    for options in ({}, {"page": "/chat"}):
        await ChatGptt.create_async(None, HELLO, base_url=server.url.replace("://", "://me:s3cr3t@"), **options)
    for seen in server.seen:
        assert "s3cr3t" not in f"{seen.headers['referer']}{seen.headers['origin']}{seen.body.decode()}"


async def test_a_site_without_the_plugin_reports_that(serve: Any) -> None:
    """400 with «0» is WordPress's word for an unknown action."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            await say.whole(PAGE, content_type="text/html")
        else:
            await say.whole(b"0", 400, "text/html")

    server: Server = await serve(handler)
    with pytest.raises(errors.StatusError, match="not active"):
        await ChatGptt.create_async(None, HELLO, base_url=server.url)


async def test_a_page_without_tokens_is_the_seeds_error(serve: Any) -> None:
    """``RuntimeError``: authentication tokens not found; nothing is asked."""
    server: Server = await serve(replaying([SUCCESS], page=b"<p>hello</p>"))
    with pytest.raises(RuntimeError, match="authentication tokens not found"):
        await ChatGptt.create_async(None, HELLO, base_url=server.url)
    assert len(server.seen) == 1


async def test_an_empty_message_never_leaves(serve: Any) -> None:
    """Refused before the page is fetched."""
    server: Server = await serve(replaying([SUCCESS]))
    with pytest.raises(errors.BadInput):
        await ChatGptt.create_async(None, [{"role": "user", "content": " "}], base_url=server.url)
    assert server.connections == 0


async def test_leaving_closes_the_connection_at_the_server(serve: Any) -> None:
    """A cancelled caller is gone at the server's side too."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def endless(seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            await say.whole(PAGE, content_type="text/html")
            return
        await say.head(content_type="text/event-stream")
        await say.chunk(SUCCESS[:600])
        begun.set()
        await say.gone()
        gone.set()

    server: Server = await serve(endless)

    async def read() -> None:
        async with aclosing(ChatGptt.create_async_generator(None, HELLO, base_url=server.url)) as pieces:
            async for _ in pieces:
                pass

    async with asyncio.timeout(60):
        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()


@pytest.mark.parametrize("streams", [True, False])
async def test_end_to_end_with_our_own_server(streams: bool) -> None:
    """Both halves, streamed and whole, from either page; a nonce gone stale is no obstacle."""
    site = AIPowerSite(streams=streams)
    async with running(Sites(echo, {"chatgptt": site})) as url:
        for options in ({}, {"page": "/chat"}):
            assert await ChatGptt.create_async("gpt-4o", HELLO, base_url=f"{url}/chatgptt", **options) == "echo: hi there"
            site.nonces.expire()
