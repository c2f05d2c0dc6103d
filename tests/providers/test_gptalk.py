"""GPTalk: login, ask, stream; the logins that asks share; and its answering half."""

from __future__ import annotations

import asyncio
import re
import threading
import traceback
from collections import Counter
from contextlib import aclosing
from typing import Any

import aiohttp
import pytest

from polychat import errors
from polychat.providers import GPTalk
from polychat.providers._gptalk_site import GPTalkSite
from polychat.providers.gptalk import headers_for, question
from polychat.wire.framing import data_line

from ..support.scripted_server import Handler, Say, Seen, Server
from ..support.scripted_sites import answering

LOGIN, TEXT, STREAM = "/api/chatgpt/user/login", "/api/chatgpt/chatapi/text", "/api/chatgpt/chatapi/stream"
HELLO = [{"role": "user", "content": "Привет, как дела?"}]
FAR = 4_102_444_800
REPLY = b"".join(data_line({"content": whole}) for whole in ("При", "Привет", "Привет \u2028!")) + b"data: [DONE]\n\n"


def paths(server: Server) -> list[str]:
    return [seen.path for seen in server.seen]


def bearers(server: Server) -> list[str]:
    """The login each ask was made under."""
    return [seen.headers["authorization"].removeprefix("Bearer ") for seen in server.seen if seen.path == TEXT]


def scripted(**steps: Handler) -> Handler:
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
            await say.stream([REPLY])

    return handler


def saying(body: Any, status: int = 200, content_type: str = "application/json") -> Handler:
    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body, status, content_type)

    return handler


async def answer_of(server: Server, **options: Any) -> str:
    async with asyncio.timeout(60):
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
        body = question(HELLO, model, "agent", 1234)
        assert (body["created_at"], body["user_agent"], body["model"]) == (1234, "agent", "gpt-3.5-turbo")


async def test_the_callers_user_agent_is_named_in_the_ask(serve: Any) -> None:
    """``user_agent`` in the body is the header's, also where the caller has his own."""
    server: Server = await serve(scripted())
    await answer_of(server, headers={"User-Agent": "mine/1"})
    assert server.seen[1].json["user_agent"] == server.seen[1].headers["user-agent"] == "mine/1"


async def test_bad_input_logs_nobody_in(serve: Any) -> None:
    """What cannot be asked is refused before anything is sent, and uses nothing up."""
    server: Server = await serve(scripted())
    for messages in ([], [{"role": "user", "content": "half \ud83d"}]):
        with pytest.raises(errors.BadInput):
            await GPTalk.create_async(None, messages, base_url=server.url)
    assert server.seen == []


# The logins that asks share.


async def test_five_hundred_at_once(serve: Any) -> None:
    """500 concurrent asks over HTTP log in exactly 100 times and never send a sixth ask on a token."""
    server: Server = await serve(answering(GPTalkSite()))
    answers = await asyncio.gather(*(answer_of(server, timeout=60) for _ in range(500)))
    assert set(answers) == {f"echo: {HELLO[0]['content']}"}
    assert paths(server).count(LOGIN) == 100
    assert set(Counter(bearers(server)).values()) == {5}
    assert len(bearers(server)) == 500


async def test_asks_one_after_the_other(serve: Any) -> None:
    """Five asks a login, then another login."""
    server: Server = await serve(scripted())
    for _ in range(11):
        await answer_of(server)
    assert bearers(server) == ["login1"] * 5 + ["login2"] * 5 + ["login3"]


async def test_logins_go_side_by_side(serve: Any) -> None:
    """25 asks wait for five logins at once, not for one after the other."""
    five = asyncio.Barrier(5)

    async def together(seen: Seen, say: Say) -> None:
        number = await five.wait()
        await say.whole({"data": {"token": f"login{number}", "expires_at": FAR}})

    server: Server = await serve(scripted(login=together))
    await asyncio.gather(*(answer_of(server) for _ in range(25)))
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
    outcomes = await asyncio.gather(*(answer_of(server) for _ in range(4)), return_exceptions=True)
    for error in outcomes:
        assert isinstance(error, errors.StatusError)
        assert isinstance(error, aiohttp.ClientResponseError)
        assert (error.status, error.retry_after, error.provider) == (503, 7, "GPTalk")
        assert "no guests" in str(error)
        assert isinstance(error.__cause__, errors.StatusError)
    assert len({id(error) for error in outcomes}) == 4
    assert paths(server) == [LOGIN]
    refusing = False
    assert await answer_of(server) == "Привет \u2028!"
    assert paths(server) == [LOGIN, LOGIN, TEXT, STREAM]


@pytest.mark.parametrize("body", [b"<html>", {"data": {"token": "x"}}, {"code": 1, "msg": "closed"}], ids=str)
async def test_a_login_that_is_none(body: Any, serve: Any) -> None:
    """A 200 without token and expiry fails the ask, and the next one tries again."""
    server: Server = await serve(scripted(login=saying(body)))
    for _ in range(2):
        with pytest.raises((errors.BadReply, errors.ReplyFailed)):
            await answer_of(server)
    assert paths(server) == [LOGIN, LOGIN]


async def test_a_login_that_expires(serve: Any) -> None:
    """A token whose moment has passed is not used again, whatever was left of it."""
    server: Server = await serve(scripted(login=saying({"data": {"token": "old", "expires_at": 1}})))
    for _ in range(3):
        await answer_of(server)
    assert paths(server).count(LOGIN) == 3


async def test_401_on_an_ask(serve: Any) -> None:
    """The token is dropped for everybody, and the ask made once more under a new login."""

    async def text(seen: Seen, say: Say) -> None:
        if seen.headers["authorization"] == "Bearer login1":
            await say.whole({"code": 401, "message": "who?"}, 401)
        else:
            await say.whole({"data": {"token": "s"}})

    server: Server = await serve(scripted(text=text))
    assert await answer_of(server) == "Привет \u2028!"
    assert paths(server) == [LOGIN, TEXT, LOGIN, TEXT, STREAM]
    await answer_of(server)
    assert bearers(server) == ["login1", "login2", "login2"]


async def test_401_again(serve: Any) -> None:
    """A second 401 is the caller's: ``Unauthorized``, and no third attempt."""
    server: Server = await serve(scripted(text=saying({"message": "who?"}, 401)))
    with pytest.raises(errors.Unauthorized, match="who") as caught:
        await answer_of(server)
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
    await asyncio.gather(*(answer_of(server) for _ in range(10)))
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
        await answer_of(server)
    assert caught.value.status == status
    failing = False
    await answer_of(server)
    assert bearers(server) == ["login1", "login1"]


class SlowLogin:
    """A login that is answered when it may."""

    def __init__(self) -> None:
        self.has_begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, seen: Seen, say: Say) -> None:
        self.has_begun.set()
        await self.may_end.wait()
        await say.whole({"data": {"token": "one", "expires_at": FAR}})


async def test_cancelled_while_waiting_for_a_login(serve: Any) -> None:
    """The ask that began the login leaves: the others get it, and its place is the next one's."""
    login = SlowLogin()
    server: Server = await serve(scripted(login=login))
    async with asyncio.timeout(60):
        first, *others = [asyncio.create_task(answer_of(server)) for _ in range(5)]
        await login.has_begun.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        others.append(asyncio.create_task(answer_of(server)))
        login.may_end.set()
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
    async with asyncio.timeout(60):
        tasks = [asyncio.create_task(answer_of(server)) for _ in range(3)]
        await come.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await left.wait()
        await answer_of(server)
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
    task = asyncio.create_task(answer_of(server))
    async with asyncio.timeout(60):
        await come.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.wait()
    for _ in range(5):
        await answer_of(server)
    assert bearers(server) == ["login1"] * 5 + ["login2"]


async def test_leaving_a_stream(serve: Any) -> None:
    """A caller who stops reading closes the connection, and has used one ask."""
    left = asyncio.Event()

    async def endless(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        await say.chunk(data_line({"content": "first"}))
        await say.gone()
        left.set()

    server: Server = await serve(scripted(stream=endless))
    async with asyncio.timeout(60):
        async with aclosing(GPTalk.create_async_generator(None, HELLO, base_url=server.url)) as pieces:
            async for piece in pieces:
                assert piece == "first"
                break
        await left.wait()


async def test_each_waits_by_its_own_clock(serve: Any) -> None:
    """An ask whose time is up while it waits for a login ends by itself; the login goes on for the others."""
    login = SlowLogin()
    server: Server = await serve(scripted(login=login))
    async with asyncio.timeout(60):
        hasty = asyncio.create_task(answer_of(server, timeout=0.05))
        patient = asyncio.create_task(answer_of(server))
        with pytest.raises(errors.TimedOut) as caught:
            await hasty
        login.may_end.set()
        assert await patient == "Привет \u2028!"
    assert (caught.value.clock, caught.value.seconds, caught.value.provider) == ("total", 0.05, "GPTalk")
    assert paths(server).count(LOGIN) == 1


async def test_a_stream_that_breaks(serve: Any) -> None:
    """What came is given, then ``Truncated`` with its text."""

    async def cutting(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        await say.chunk(data_line({"content": "half"}))
        await say.cut()

    server: Server = await serve(scripted(stream=cutting))
    got = []
    with pytest.raises(errors.Truncated) as caught:
        async for piece in GPTalk.create_async_generator(None, HELLO, base_url=server.url):
            got.append(piece)
    assert (got, caught.value.text, caught.value.provider) == (["half"], "half", "GPTalk")


@pytest.mark.parametrize("status", [401, 404, 429])
async def test_another_status_on_the_stream(status: int, serve: Any) -> None:
    """It is raised with what the service says, and not tried again."""
    server: Server = await serve(scripted(stream=saying({"code": status, "msg": "gone"}, status)))
    with pytest.raises(errors.StatusError, match="gone") as caught:
        await answer_of(server)
    assert (caught.value.status, caught.value.provider) == (status, "GPTalk")
    assert isinstance(caught.value, aiohttp.ClientResponseError)
    assert paths(server) == [LOGIN, TEXT, STREAM]


async def _cut(seen: Seen, say: Say) -> None:
    await say.cut()


async def _astray(seen: Seen, say: Say) -> None:
    await say.whole(b"", 302, headers=[("Location", f"http://127.0.0.1:1/?{seen.target.partition('?')[2]}")])


@pytest.mark.parametrize("step", ["text", "stream"])
@pytest.mark.parametrize(
    "failure",
    [
        saying({"message": "no, token=s3cr3t1 and Bearer s3cr3t2"}, 500),
        saying(b"s3cr3t1", 404),
        _cut,
        _astray,
        saying(b"<s3cr3t?>"),
    ],
    ids=["status", "page", "cut", "redirect", "body"],
)
async def test_no_message_holds_a_token(step: str, failure: Handler, serve: Any) -> None:
    """Whatever fails under a token, nothing that is printed of the error shows it: message, attributes, traceback."""
    steps: dict[str, Handler] = {
        "login": saying({"data": {"token": "s3cr3t-login", "expires_at": FAR}}),
        "text": saying({"data": {"token": "s3cr3t-stream"}}),
    }
    server: Server = await serve(scripted(**{**steps, step: failure}))
    with pytest.raises(errors.PolychatError) as caught:
        await answer_of(server)
    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    for secret in ("s3cr3t-login", "s3cr3t-stream", "s3cr3t1", "s3cr3t2"):
        assert secret not in shown


def sources_of(server: Server) -> dict[str, set[str]]:
    """Which tokens each account, known by a header of its own, asked under."""
    seen = [seen for seen in server.seen if seen.path == TEXT]
    return {name: {each.headers["authorization"] for each in seen if each.headers["x-who"] == name} for name in ("me", "you")}


async def test_accounts_do_not_meet(serve: Any) -> None:
    """Callers with other headers, cookies, proxy or address have logins of their own."""
    server: Server = await serve(scripted())
    await asyncio.gather(*(answer_of(server, headers={"X-Who": name}) for name in ("me", "you") for _ in range(5)))
    used = sources_of(server)
    assert (len(used["me"]), len(used["you"]), used["me"] & used["you"]) == (1, 1, set())
    logins = paths(server).count(LOGIN)
    await answer_of(server, cookies={"a": "b"})
    await answer_of(server, cookies={"a": "c"})
    assert paths(server).count(LOGIN) == logins + 2
    other: Server = await serve(scripted())
    await answer_of(other)
    assert paths(other).count(LOGIN) == 1


async def test_every_request_goes_through_the_proxy(serve: Any) -> None:
    """Login, ask and stream: the service's host is not even looked up here."""
    proxy: Server = await serve(scripted())
    text = await GPTalk.create_async(None, HELLO, proxy.url.replace("://", "://me:pass@"), base_url="http://gptalk.invalid/x")
    assert text == "Привет \u2028!"
    assert [seen.target.partition("?")[0] for seen in proxy.seen] == [
        f"http://gptalk.invalid/x{path}" for path in (LOGIN, TEXT, STREAM)
    ]
    assert {seen.headers["proxy-authorization"] for seen in proxy.seen} == {"Basic bWU6cGFzcw=="}


async def test_loops_and_threads_do_not_meet(serve: Any) -> None:
    """Two threads, each with two loops one after the other, asking at once: each loop logs in for itself."""
    server: Server = await serve(scripted())
    together = threading.Barrier(2)

    async def three() -> None:
        await asyncio.gather(*(answer_of(server) for _ in range(3)))

    def twice() -> None:
        together.wait(20)
        asyncio.run(three())
        asyncio.run(three())

    threads = [threading.Thread(target=twice) for _ in range(2)]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(60):
        for thread in threads:
            await asyncio.to_thread(thread.join)
    assert sorted(Counter(bearers(server)).values()) == [3, 3, 3, 3]


async def test_the_views_of_the_seed(serve: Any) -> None:
    """``_auth`` and ``used_times`` follow the login in use: none, then its data and 1 to 5, then the next one's."""
    server: Server = await serve(scripted())

    class Here(GPTalk):
        url = server.url

    seen = [(Here._auth, Here.used_times)]
    for _ in range(6):
        await Here.create_async(None, HELLO)
        seen.append(((Here._auth or {}).get("token"), Here.used_times))  # type: ignore[arg-type]
    assert seen == [(None, 0), *(("login1", count) for count in range(1, 6)), ("login2", 1)]
    assert Here()._auth == {"token": "login2", "expires_at": FAR}
    assert (GPTalk._auth, GPTalk.used_times) == (None, 0)  # its own address was not asked
    (Here._auth or {}).clear()
    assert Here._auth  # a view, not the thing


async def test_the_views_after_a_refusal(serve: Any) -> None:
    """A login the service did not take is none."""
    server: Server = await serve(scripted(text=saying({}, 401)))

    class Here(GPTalk):
        url = server.url

    with pytest.raises(errors.Unauthorized):
        await Here.create_async(None, HELLO)
    assert (Here._auth, Here.used_times) == (None, 0)


async def test_the_views_outside_a_loop(serve: Any) -> None:
    """Where no loop runs they tell of the login last used in this thread; of none in a thread that used none."""
    server: Server = await serve(scripted())

    class Here(GPTalk):
        url = server.url

    def thread() -> list[Any]:
        before = (Here._auth, Here.used_times)
        asyncio.run(Here.create_async(None, HELLO))
        after = (Here._auth, Here.used_times)
        asyncio.run(Here.create_async(None, HELLO, headers={"X-Who": "you"}))
        return [before, after, (Here._auth, Here.used_times), (GPTalk._auth, GPTalk.used_times)]

    auth = {"token": "login1", "expires_at": FAR}
    assert await asyncio.to_thread(lambda: _in_a_new_thread(thread)) == [(None, 0), (auth, 1), (None, 0), (None, 0)]


def _in_a_new_thread(work: Any) -> Any:
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    thread.join(20)
    return result[0]
