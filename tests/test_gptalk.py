"""GPTalk: login, ask, stream; the logins that asks share; and its answering half."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat import errors
from polychat.events import Finish, Text
from polychat.providers import GPTalk
from polychat.providers._gptalk_site import GPTalkSite
from polychat.providers.gptalk import StreamReader, headers_for, question, read_ask, read_login
from polychat.wire.framing import data_line

from .furniture import corpus
from .furniture.answering import answering
from .furniture.reading import hear, merged
from .furniture.server import Handler, Say, Seen, Server

LOGIN, TEXT, STREAM = "/api/chatgpt/user/login", "/api/chatgpt/chatapi/text", "/api/chatgpt/chatapi/stream"
HELLO = [{"role": "user", "content": "Привет, как дела?"}]
FAR = 4_102_444_800
REPLY = b"".join(data_line({"content": whole}) for whole in ("При", "Привет", "Привет \u2028!")) + b"data: [DONE]\n\n"


def paths(server: Server) -> list[str]:
    return [seen.path for seen in server.seen]


def bearers(server: Server) -> list[str]:
    """The login each ask was made under."""
    return [seen.headers["authorization"].removeprefix("Bearer ") for seen in server.seen if seen.path == TEXT]


def scripted(stream: list[bytes] | None = None, **steps: Any) -> Handler:
    """The service: numbered logins and stream tokens. A step of ``steps`` (login, text, stream) is answered by it instead."""
    numbers = Counter[str]()

    async def handler(seen: Seen, say: Say) -> None:
        name = seen.path.rpartition("/")[2]
        numbers[name] += 1
        if name in steps:
            await steps[name](seen, say)
        elif name == "login":
            await say.whole({"data": {"token": f"login{numbers[name]}", "expires_at": FAR}})
        elif name == "text":
            await say.whole({"data": {"token": f"stream{numbers[name]}"}})
        else:
            await say.stream([REPLY] if stream is None else stream)

    return handler


def saying(body: Any, status: int = 200, content_type: str = "application/json") -> Handler:
    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body, status, content_type)

    return handler


async def asked(server: Server, **options: Any) -> str:
    async with asyncio.timeout(30):
        return await GPTalk.create_async("gpt-3.5-turbo", HELLO, base_url=server.url, **options)


# What we say.


async def test_the_three_requests_of_the_seed(serve: Any) -> None:
    """Login, ask, stream: paths, bodies and headers field by field; each piece is only what is new."""
    server: Server = await serve(scripted())
    messages = [{"role": "system", "content": "Be kind."}, *HELLO]
    provider = GPTalk()
    pieces = [piece async for piece in provider.create_async_generator("gpt-4", messages, base_url=server.url)]
    assert "".join(pieces) == "Привет \u2028!"
    login, text, stream = server.seen
    assert [(seen.method, seen.path) for seen in server.seen] == [("POST", LOGIN), ("POST", TEXT), ("GET", STREAM)]
    fingerprint = login.json.pop("fingerprint")
    assert re.fullmatch("[0-9a-f]{32}", fingerprint)
    assert login.json == {"fingerprint": fingerprint, "platform": "fingerprint"}
    now = int(text.headers["x-auth-timestamp"])
    assert text.json == {
        "content": "System: Be kind.\nUser: Привет, как дела?\nAssistant:",
        "accept": "stream",
        "from": 1,
        "model": "gpt-4",
        "is_mobile": 0,
        "user_agent": text.headers["user-agent"],
        "is_open_ctx": 0,
        "prompt": "",
        "roid": 111,
        "temperature": 0,
        "ctx_msg_count": 3,
        "created_at": now,
    }
    assert text.headers["authorization"] == "Bearer login1"
    assert stream.query == {"token": "stream1"}
    assert "authorization" not in login.headers
    assert "authorization" not in stream.headers
    for seen in server.seen:
        sent = {name: seen.headers[name] for name in ("x-auth-appid", "x-auth-openid", "x-auth-platform", "origin", "accept")}
        assert sent == {
            "x-auth-appid": "2229",
            "x-auth-openid": "",
            "x-auth-platform": "",
            "origin": server.url,
            "accept": "*/*",
        }
        assert "Chrome/" in seen.headers["user-agent"]
        assert seen.headers["x-auth-timestamp"].isdigit()
    assert {seen.headers.get("content-type") for seen in (login, text)} == {"application/json"}


def test_timestamps_are_those_given() -> None:
    """The pure parts take the moment and the model; no model is the seed's default."""
    assert headers_for("https://gptalk.net", 1234)["x-auth-timestamp"] == "1234"
    for model in (None, ""):
        said = question(HELLO, model, "agent", 1234)
        assert (said["created_at"], said["user_agent"], said["model"]) == (1234, "agent", "gpt-3.5-turbo")


async def test_the_callers_user_agent_is_named_in_the_ask(serve: Any) -> None:
    """``user_agent`` in the body is the header's, also where the caller has his own."""
    server: Server = await serve(scripted())
    await asked(server, headers={"User-Agent": "mine/1"})
    assert server.seen[1].json["user_agent"] == server.seen[1].headers["user-agent"] == "mine/1"


async def test_bad_input_logs_nobody_in(serve: Any) -> None:
    """What cannot be asked is refused before anything is sent, and uses nothing up."""
    server: Server = await serve(scripted())
    for messages in ([], [{"role": "user", "content": "half \ud83d"}]):
        with pytest.raises(errors.BadInput):
            await GPTalk.create_async(None, messages, base_url=server.url)
    assert server.seen == []


# What we hear.


@pytest.mark.parametrize("pieces", corpus.splits(REPLY), ids=str)
def test_the_stream_at_every_split(pieces: list[bytes]) -> None:
    """However the network cuts it, the reply is the same text and one verdict."""
    heard = hear(StreamReader(), pieces)
    assert merged(heard) == ("Привет \u2028!", [], "complete", "None")


def test_each_piece_is_what_is_new() -> None:
    """A step gives the difference to the one before; one that adds nothing gives nothing."""
    lines = b"".join(data_line({"content": whole, "more": 1}) for whole in ("", "a", "a", "a b")) + b"data: [DONE]"
    assert hear(StreamReader(), [lines]).events == [Text("a"), Text(" b"), Finish("complete")]


@pytest.mark.parametrize(
    ("body", "text", "error", "says"),
    [
        (REPLY.removesuffix(b"data: [DONE]\n\n"), "Привет \u2028!", errors.Truncated, "DONE"),
        (REPLY[:-40], "Привет", errors.BadReply, "content"),
        (b"", "", errors.Truncated, "DONE"),
        (b"data: [DONE]\n\n", "", errors.EmptyReply, "without a word"),
        (data_line({"content": " \n"}) + b"data: [DONE]\n\n", " \n", errors.EmptyReply, "without a word"),
        (data_line({"content": "ab"}) + data_line({"content": "ax"}), "ab", errors.BadReply, "changed"),
        (data_line({"content": "ab"}) + data_line({"content": "a"}), "ab", errors.BadReply, "changed"),
        (data_line({"content": 5}), "", errors.BadReply, "content"),
        (b"data: not json\n\n", "", errors.BadReply, "not json"),
        (b"data: []\n\n", "", errors.BadReply, "content"),
        (data_line({"content": "ab"}) + data_line({"code": 500, "message": "too busy"}), "ab", errors.ReplyFailed, "too busy"),
        (data_line({"code": 429}), "", errors.ReplyFailed, "429"),
        (b'{"code": 401, "msg": "token is stale"}', "", errors.ReplyFailed, "token is stale"),
        (b'{"code": 500}\n', "", errors.ReplyFailed, "500"),
        (b"<html>502</html>", "", errors.Truncated, "DONE"),
        (b"data: " + b"x" * 9_000_000, "", errors.BadReply, "8,388,608"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_no_failure_passes_for_an_answer(body: bytes, text: str, error: type[Exception], says: str) -> None:
    """What is not a stream to its [DONE] ends in its error, after what came before it."""
    heard = hear(StreamReader(), [body])
    assert heard.text == text
    assert type(heard.error) is error
    assert says in str(heard.error)
    assert heard.finish.verdict == ("truncated" if error is errors.Truncated else "failed")


@given(st.lists(st.binary(max_size=60) | st.sampled_from([REPLY, b"data: ", b"\n", b'{"content": "a"}', b"[DONE]", b"{"]), max_size=12))
def test_the_reader_never_raises(pieces: list[bytes]) -> None:
    """Any bytes come to one ``Finish``."""
    assert hear(StreamReader(), pieces).finish


def test_what_a_login_says() -> None:
    """``data`` as it is, and when it ends."""
    data = {"token": "t", "expires_at": 12, "user": 7}
    assert read_login(json.dumps({"code": 0, "data": data}).encode()) == (data, 12)


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (b"", errors.BadReply, "empty|JSON"),
        (b"<html>", errors.BadReply, "html"),
        (b"[" * 100_000, errors.BadReply, "JSON"),
        (b'{"data": {}}', errors.BadReply, "data.token"),
        (b'{"data": {"token": ""}}', errors.BadReply, "header"),
        (b'{"data": {"token": 5}}', errors.BadReply, "header"),
        (b'{"data": {"token": "a\\r\\nX: y"}}', errors.BadReply, "header"),
        (b'{"code": 7, "message": "no guests"}', errors.ReplyFailed, "no guests"),
        (b'{"code": 7, "msg": "no guests", "data": null}', errors.ReplyFailed, "no guests"),
        (b'{"code": 7, "data": []}', errors.ReplyFailed, "7"),
        (b'{"code": 7, "msg": "bad token=s3cr3t"}', errors.ReplyFailed, "bad token"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_token(body: bytes, error: type[errors.PolychatError], says: str) -> None:
    """A login or ask without its token says what came instead, without credentials."""
    for read in (read_login, read_ask):
        with pytest.raises(error, match=says) as caught:
            read(body)
        assert type(caught.value) is error
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("until", [None, "tomorrow", True])
def test_a_login_must_say_when_it_ends(until: object) -> None:
    """Without ``expires_at`` as a number there is no knowing when to log in again; the token is not shown."""
    with pytest.raises(errors.BadReply, match="expires_at") as caught:
        read_login(json.dumps({"data": {"token": "s3cr3t", "expires_at": until}}).encode())
    assert "s3cr3t" not in str(caught.value)


# The logins that asks share.


async def test_five_hundred_at_once(serve: Any) -> None:
    """500 concurrent asks over HTTP log in exactly 100 times and never send a sixth ask on a token."""
    server: Server = await serve(answering(GPTalkSite()))
    answers = await asyncio.gather(*(asked(server, timeout=60) for _ in range(500)))
    assert set(answers) == {f"echo: {HELLO[0]['content']}"}
    assert paths(server).count(LOGIN) == 100
    assert set(Counter(bearers(server)).values()) == {5}
    assert len(bearers(server)) == 500


async def test_asks_one_after_the_other(serve: Any) -> None:
    """Five asks a login, then another login."""
    server: Server = await serve(scripted())
    for _ in range(11):
        await asked(server)
    assert bearers(server) == ["login1"] * 5 + ["login2"] * 5 + ["login3"]


async def test_logins_go_side_by_side(serve: Any) -> None:
    """25 asks wait for five logins at once, not for one after the other."""
    five = asyncio.Barrier(5)

    async def together(seen: Seen, say: Say) -> None:
        number = await five.wait()
        await say.whole({"data": {"token": f"login{number}", "expires_at": FAR}})

    server: Server = await serve(scripted(login=together))
    await asyncio.gather(*(asked(server) for _ in range(25)))
    assert Counter(bearers(server)) == {f"login{number}": 5 for number in range(5)}


async def test_a_failing_login(serve: Any) -> None:
    """It fails the asks that wait for it, each with aiohttp's error of its own; the next ask logs in anew."""
    refusing = True

    async def login(seen: Seen, say: Say) -> None:
        if refusing:
            await say.whole({"code": 503, "message": "no guests"}, 503, headers=[("Retry-After", "7")])
        else:
            await say.whole({"data": {"token": "good", "expires_at": FAR}})

    server: Server = await serve(scripted(login=login))
    outcomes = await asyncio.gather(*(asked(server) for _ in range(4)), return_exceptions=True)
    for error in outcomes:
        assert isinstance(error, errors.StatusError)
        assert isinstance(error, aiohttp.ClientResponseError)
        assert (error.status, error.retry_after, error.provider) == (503, 7, "GPTalk")
        assert "no guests" in str(error)
        assert isinstance(error.__cause__, errors.StatusError)
    assert len({id(error) for error in outcomes}) == 4
    assert paths(server) == [LOGIN]
    refusing = False
    assert await asked(server) == "Привет \u2028!"
    assert paths(server) == [LOGIN, LOGIN, TEXT, STREAM]


@pytest.mark.parametrize("body", [b"<html>", {"data": {"token": "x"}}, {"code": 1, "msg": "closed"}], ids=str)
async def test_a_login_that_is_none(body: Any, serve: Any) -> None:
    """A 200 without token and expiry fails the ask, and the next one tries again."""
    server: Server = await serve(scripted(login=saying(body)))
    for _ in range(2):
        with pytest.raises((errors.BadReply, errors.ReplyFailed)):
            await asked(server)
    assert paths(server) == [LOGIN, LOGIN]


async def test_a_login_that_expires(serve: Any) -> None:
    """A token whose moment has passed is not used again, whatever was left of it."""
    server: Server = await serve(scripted(login=saying({"data": {"token": "old", "expires_at": 1}})))
    for _ in range(3):
        await asked(server)
    assert paths(server).count(LOGIN) == 3


async def test_401_on_an_ask(serve: Any) -> None:
    """The token is dropped for everybody, and the ask made once more under a new login."""

    async def text(seen: Seen, say: Say) -> None:
        if seen.headers["authorization"] == "Bearer login1":
            await say.whole({"code": 401, "message": "who?"}, 401)
        else:
            await say.whole({"data": {"token": "s"}})

    server: Server = await serve(scripted(text=text))
    assert await asked(server) == "Привет \u2028!"
    assert paths(server) == [LOGIN, TEXT, LOGIN, TEXT, STREAM]
    await asked(server)
    assert bearers(server) == ["login1", "login2", "login2"]


async def test_401_again(serve: Any) -> None:
    """A second 401 is the caller's: ``Unauthorized``, and no third attempt."""
    server: Server = await serve(scripted(text=saying({"message": "who?"}, 401)))
    with pytest.raises(errors.Unauthorized, match="who") as caught:
        await asked(server)
    assert caught.value.status == 401
    assert isinstance(caught.value, aiohttp.ClientResponseError)
    assert paths(server) == [LOGIN, TEXT, LOGIN, TEXT]


async def test_401_for_many(serve: Any) -> None:
    """Ten asks under two dead tokens log in twice more, not ten times, and each is tried at most twice."""
    site = GPTalkSite()
    dead: set[str] = set()

    async def handler(seen: Seen, say: Say) -> None:
        bearer = seen.headers.get("authorization", "")
        if seen.path == TEXT and (bearer in dead or len(dead) < 2):
            dead.add(bearer)
            await say.whole({"message": "who?"}, 401)
        else:
            await answering(site)(seen, say)

    server: Server = await serve(handler)
    await asyncio.gather(*(asked(server) for _ in range(10)))
    assert paths(server).count(LOGIN) <= 4
    assert paths(server).count(TEXT) <= 20
    assert max(Counter(bearers(server)).values()) <= 5


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_another_status_on_an_ask(status: int, serve: Any) -> None:
    """It is raised and nothing is tried again; the token stays good."""
    failing = True

    async def text(seen: Seen, say: Say) -> None:
        await say.whole({"message": "no"} if failing else {"data": {"token": "s"}}, status if failing else 200)

    server: Server = await serve(scripted(text=text))
    with pytest.raises(errors.StatusError) as caught:
        await asked(server)
    assert caught.value.status == status
    failing = False
    await asked(server)
    assert bearers(server) == ["login1", "login1"]


async def test_cancelled_while_waiting_for_a_login(serve: Any) -> None:
    """The ask that began the login leaves: the others get it, and its place is the next one's."""
    come, go = asyncio.Event(), asyncio.Event()

    async def slow(seen: Seen, say: Say) -> None:
        come.set()
        await go.wait()
        await say.whole({"data": {"token": "one", "expires_at": FAR}})

    server: Server = await serve(scripted(login=slow))
    async with asyncio.timeout(20):
        first, *others = [asyncio.create_task(asked(server)) for _ in range(5)]
        await come.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        others.append(asyncio.create_task(asked(server)))
        go.set()
        await asyncio.gather(*others)
    assert bearers(server) == ["one"] * 5
    assert paths(server).count(LOGIN) == 1


async def test_all_cancelled_while_waiting(serve: Any) -> None:
    """A login nobody waits for is ended on the server's side too, and a later ask logs in anew."""
    come, left = asyncio.Event(), asyncio.Event()

    async def never(seen: Seen, say: Say) -> None:
        if left.is_set():
            await say.whole({"data": {"token": "two", "expires_at": FAR}})
            return
        come.set()
        await say.gone()
        left.set()

    server: Server = await serve(scripted(login=never))
    async with asyncio.timeout(20):
        tasks = [asyncio.create_task(asked(server)) for _ in range(3)]
        await come.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await left.wait()
        await asked(server)
    assert bearers(server) == ["two"]


async def test_cancelled_during_the_ask(serve: Any) -> None:
    """An ask that was on its way has used its place, though its caller left; its connection is closed."""
    come, left = asyncio.Event(), asyncio.Event()

    async def first_hangs(seen: Seen, say: Say) -> None:
        if come.is_set():
            await say.whole({"data": {"token": "s"}})
            return
        come.set()
        await say.gone()
        left.set()

    server: Server = await serve(scripted(text=first_hangs))
    task = asyncio.create_task(asked(server))
    async with asyncio.timeout(20):
        await come.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.wait()
    for _ in range(5):
        await asked(server)
    assert bearers(server) == ["login1"] * 5 + ["login2"]


async def test_leaving_a_stream(serve: Any) -> None:
    """A caller who stops reading closes the connection, and has used one ask."""
    left = asyncio.Event()

    async def endless(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        await say.chunk(data_line({"content": "first"}))
        await say.gone()
        left.set()

    server: Server = await serve(scripted(stream=None, **{"stream_": None}) if False else _with_stream(endless))
    async with asyncio.timeout(20):
        async with aclosing(GPTalk.create_async_generator(None, HELLO, base_url=server.url)) as pieces:
            async for piece in pieces:
                assert piece == "first"
                break
        await left.wait()
