"""ChatgptDuo: the form, the reply, whose sources are whose, and its answering half."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from contextlib import aclosing
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from polychat import errors
from polychat.events import Citation, Event, Finish, Text
from polychat.gateway.sites import Sites
from polychat.providers import ChatgptDuo
from polychat.providers.chatgptduo import ChatgptDuoSite, read
from polychat.wire.answering import Request, Response, SiteRequest
from polychat.wire.reading import complete, failed, truncated

from ..support.scripted_server import Say, Seen, Server
from ..support.scripted_sites import answering, written_reply
from ..support.sites_application import running

HELLO = [{"role": "user", "content": "Привет & how = are you?"}]
RESULT = {"title": "Wiki", "link": "https://wiki.example/a?b=c&d", "snippet": "what it says"}
SOURCE = {"title": "Wiki", "url": "https://wiki.example/a?b=c&d", "snippet": "what it says"}


def replying(body: Any, status: int = 200) -> Any:
    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body, status)

    return handler


async def named_after_the_prompt(seen: Seen, say: Say) -> None:
    """Answers with one source whose title is the prompt."""
    prompt = seen.form["prompt"]
    await say.whole({"answer": f"about {prompt}", "results": [{"title": prompt, "link": f"https://x/{prompt}", "snippet": ""}]})


def titles() -> list[str]:
    return [source["title"] for source in ChatgptDuo.get_sources()]


def about(name: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": name}]


async def test_the_request_of_the_seed(serve: Any) -> None:
    """A urlencoded form with the prompt twice and purpose=ask is posted to the root, and nothing else is."""
    server: Server = await serve(replying({"answer": "hi", "results": [RESULT]}))
    messages = [{"role": "system", "content": "Be kind."}, *HELLO]
    assert await ChatgptDuo.create_async("gpt-3.5-turbo", messages, base_url=server.url) == "hi"
    [seen] = server.seen
    prompt = "System: Be kind.\nUser: Привет & how = are you?\nAssistant:"
    assert (seen.method, seen.target) == ("POST", "/")
    assert seen.form == {"prompt": prompt, "search": prompt, "purpose": "ask"}
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (seen.headers["origin"], seen.headers["accept"]) == (server.url, "*/*")
    assert "Chrome/" in seen.headers["user-agent"]


async def test_sources_of_the_answer(serve: Any) -> None:
    """``get_sources`` gives title, url and snippet of each result; a list of one's own, not ours to keep."""
    server: Server = await serve(replying({"answer": "hi", "results": [RESULT, {**RESULT, "title": "Two"}]}))
    await ChatgptDuo().create_async("gpt-3.5-turbo", HELLO, base_url=server.url)
    assert ChatgptDuo.get_sources() == ChatgptDuo().get_sources() == [SOURCE, {**SOURCE, "title": "Two"}]
    ChatgptDuo.get_sources().clear()
    assert len(ChatgptDuo.get_sources()) == 2


async def test_sources_come_as_events_too(serve: Any) -> None:
    """The events of a reply have its sources before the finish."""
    server: Server = await serve(replying({"answer": "hi", "results": [RESULT]}))
    events = [event async for batch in ChatgptDuo.events(None, HELLO, base_url=server.url) for event in batch]
    assert events == [Citation("Wiki", SOURCE["url"], "what it says"), Text("hi"), Finish("complete")]


@pytest.mark.parametrize(
    ("reply", "sources"),
    [
        ({"answer": "hi"}, []),
        ({"answer": "hi", "results": None}, []),
        ({"answer": "hi", "results": [], "more": 1}, []),
        ({"answer": "hi", "results": [{"link": "u"}]}, [Citation("", "u", "")]),
        ({"answer": "hi", "results": [{"link": "u", "title": None, "snippet": None}]}, [Citation("", "u", "")]),
    ],
)
def test_an_answer_with_poor_results_is_an_answer(reply: Any, sources: list[Event]) -> None:
    """No results, or results without title or snippet, do not cost the caller the answer."""
    assert read(json.dumps(reply).encode()) == [*sources, Text("hi"), Finish("complete")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b'{"answer": "cut',
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"answer": "\xff"}',
        b'{"results": []}',
        b'{"answer": 5, "results": []}',
        b'{"answer": "hi", "results": "many"}',
        b'{"answer": "hi", "results": ["one"]}',
        b'{"answer": "hi", "results": [{"title": "no link"}]}',
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
async def test_a_body_that_is_not_that_json(body: bytes, serve: Any) -> None:
    """Anything else is ``BadReply`` with the provider's name, whose message is short and shows the beginning."""
    server: Server = await serve(replying(body))
    with pytest.raises(errors.BadReply) as caught:
        await ChatgptDuo.create_async(None, HELLO, base_url=server.url)
    assert caught.value.provider == "ChatgptDuo"
    assert len(str(caught.value)) < 300


def test_an_error_shows_no_credential() -> None:
    """A reply with a token in it is shown without the token."""
    [finish] = read(b'{"error": "stale", "access_token": "s3cr3t-value"}')
    assert isinstance(finish, Finish)
    assert "stale" in str(finish.error)
    assert "s3cr3t" not in str(finish.error)


async def test_an_empty_answer_is_a_failure(serve: Any) -> None:
    """Success without a word is ``EmptyReply``, and leaves no sources."""
    server: Server = await serve(replying({"answer": " \n", "results": [RESULT]}))
    with pytest.raises(errors.EmptyReply):
        await ChatgptDuo.create_async(None, HELLO, base_url=server.url)
    assert ChatgptDuo.get_sources() == []


@pytest.mark.parametrize("status", [301, 400, 403, 429, 500])
async def test_another_status_is_aiohttps_error_too(status: int, serve: Any) -> None:
    """Non-2xx raises an error of our tree that code written for aiohttp catches, with what the body says."""
    server: Server = await serve(replying({"error": "not today, token=abc123"}, status))
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await ChatgptDuo.create_async(None, HELLO, base_url=server.url)
    assert isinstance(caught.value, errors.StatusError)
    assert caught.value.status == status
    assert "abc123" not in str(caught.value)
    if status != 301:
        assert "not today" in str(caught.value)


async def test_the_seeds_own_signature(serve: Any) -> None:
    """``timeout`` is the fourth parameter; a service that is silent longer raises ``TimedOut``."""

    async def silent(seen: Seen, say: Say) -> None:
        await say.gone()

    server: Server = await serve(silent)
    async with asyncio.timeout(60):
        with pytest.raises(errors.TimedOut) as caught:
            await ChatgptDuo.create_async("gpt-3.5-turbo", HELLO, None, 0.05, base_url=server.url)
    assert (caught.value.clock, caught.value.seconds) == ("total", 0.05)


async def test_a_lone_surrogate_is_refused_before_sending(serve: Any) -> None:
    """What no wire can carry is ``BadInput``; nothing is sent."""
    server: Server = await serve(replying({}))
    with pytest.raises(errors.BadInput):
        await ChatgptDuo.create_async(None, about("half \ud83d"), base_url=server.url)
    assert server.seen == []


# Whose sources are whose.


@pytest.mark.parametrize("provider", [ChatgptDuo, ChatgptDuo()], ids=["class", "instance"])
async def test_concurrent_tasks_read_their_own(provider: Any, serve: Any) -> None:
    """Tasks that ask at the same time, answered in the opposite order, each read the sources of their own answer."""
    held: dict[str, asyncio.Event] = {name: asyncio.Event() for name in "abc"}
    came: list[str] = []

    async def backwards(seen: Seen, say: Say) -> None:
        came.append(seen.form["prompt"])
        if len(came) == 3:
            held["c"].set()
        await held[seen.form["prompt"]].wait()
        await named_after_the_prompt(seen, say)

    server: Server = await serve(backwards)
    done: list[str] = []

    async def one(name: str) -> list[str]:
        await provider.create_async(None, about(name), base_url=server.url)
        done.append(name)
        if name != "a":
            held[chr(ord(name) - 1)].set()
        everyone.set() if len(done) == 3 else None
        await everyone.wait()
        return [source["title"] for source in provider.get_sources()]

    everyone = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(one(name)) for name in "abc"}
    assert done == ["c", "b", "a"]
    assert {name: task.result() for name, task in tasks.items()} == {"a": ["a"], "b": ["b"], "c": ["c"]}
    assert titles() == []  # this task has not asked


async def test_a_task_does_not_inherit(serve: Any) -> None:
    """A task that has not asked has no sources, though the one that started it has."""
    server: Server = await serve(named_after_the_prompt)
    await ChatgptDuo.create_async(None, about("mine"), base_url=server.url)

    async def other() -> list[str]:
        return titles()

    assert await asyncio.create_task(other()) == []
    assert await asyncio.to_thread(titles) == []
    assert titles() == ["mine"]


async def test_an_ask_that_another_task_runs(serve: Any) -> None:
    """Who calls ``create_async`` has its sources afterwards, whichever task the coroutine ran in."""
    server: Server = await serve(named_after_the_prompt)
    await ChatgptDuo.create_async(None, about("first"), base_url=server.url)
    await asyncio.wait_for(ChatgptDuo.create_async(None, about("waited"), base_url=server.url), 20)
    assert titles() == ["waited"]
    task = asyncio.create_task(ChatgptDuo.create_async(None, about("tasked"), base_url=server.url))
    assert titles() == []  # asked, and not answered yet: not those of the ask before
    await task
    assert titles() == ["tasked"]
    await asyncio.shield(ChatgptDuo.create_async(None, about("shielded"), base_url=server.url))
    assert titles() == ["shielded"]


async def test_asks_gathered_by_one_caller(serve: Any) -> None:
    """One caller that gathers several asks has the sources of the last one it made."""
    server: Server = await serve(named_after_the_prompt)
    asks = [ChatgptDuo.create_async(None, about(name), base_url=server.url) for name in "abc"]
    await asyncio.gather(*asks)
    assert titles() == ["c"]


async def test_after_a_failure_there_are_none(serve: Any) -> None:
    """A failed ask does not leave the sources of the answer before it."""
    server: Server = await serve(named_after_the_prompt)
    broken: Server = await serve(replying({}, 500))
    await ChatgptDuo.create_async(None, about("old"), base_url=server.url)
    with pytest.raises(errors.StatusError):
        await ChatgptDuo.create_async(None, about("new"), base_url=broken.url)
    assert titles() == []


async def test_by_pieces_and_by_events(serve: Any) -> None:
    """Whoever iterates ``create_async_generator`` or ``events`` has the sources."""
    server: Server = await serve(named_after_the_prompt)
    pieces = [piece async for piece in ChatgptDuo.create_async_generator(None, about("pieces"), base_url=server.url)]
    assert (pieces, titles()) == (["about pieces"], ["pieces"])
    async with aclosing(ChatgptDuo.events(None, about("events"), base_url=server.url)) as batches:
        async for _ in batches:
            pass
    assert titles() == ["events"]


async def test_code_without_a_loop(serve: Any) -> None:
    """Threads that use ``create_completion`` or ``asyncio.run`` each have the sources of their own latest ask."""
    server: Server = await serve(named_after_the_prompt)
    together = threading.Barrier(4)
    seen: dict[str, Any] = {}

    async def unasked() -> list[str]:
        return titles()

    def plain(name: str) -> None:
        together.wait(20)
        pieces = list(ChatgptDuo.create_completion(None, about(name), base_url=server.url))
        seen[name] = (pieces, titles() + asyncio.run(unasked()))  # a task has not asked because its thread has

    def run(name: str) -> None:
        together.wait(20)
        answer = asyncio.run(ChatgptDuo.create_async(None, about(name), base_url=server.url))
        seen[name] = ([answer], titles())

    threads = [
        threading.Thread(target=work, args=(name,)) for work, name in ((plain, "p"), (plain, "q"), (run, "r"), (run, "s"))
    ]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(60):
        for thread in threads:
            await asyncio.to_thread(thread.join)
    assert seen == {name: ([f"about {name}"], [name]) for name in "pqrs"}
    assert titles() == []


async def test_create_completion_beside_a_loop(serve: Any) -> None:
    """Called in a task, its sources are that task's."""
    server: Server = await serve(named_after_the_prompt)
    pieces = ChatgptDuo.create_completion(None, about("beside"), base_url=server.url)
    assert await asyncio.to_thread(list, pieces) == ["about beside"]
    assert titles() == ["beside"]


async def test_a_coroutine_never_awaited_asks_nothing(serve: Any) -> None:
    """A coroutine that is closed, or cancelled before it ran, leaves nothing behind."""
    server: Server = await serve(named_after_the_prompt)
    ChatgptDuo.create_async(None, HELLO, base_url=server.url).close()
    task = asyncio.create_task(ChatgptDuo.create_async(None, HELLO, base_url=server.url))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gc.collect()
    assert server.seen == []


# The answering half.


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


def post(body: bytes, method: str = "POST", path: str = "/") -> Response | SiteRequest:
    return ChatgptDuoSite().receive(Request(method, path, {}, {}, body, "http://127.0.0.1"))


def test_the_site_hears_what_is_asked() -> None:
    """The form's prompt becomes the question."""
    request = post(form(prompt="a & б\n", search="a & б\n", purpose="ask"))
    assert isinstance(request, SiteRequest)
    assert request.text == "a & б\n"
    assert request.messages == [{"role": "user", "content": "a & б\n"}]


@pytest.mark.parametrize(
    ("body", "method", "path", "status"),
    [
        (b"", "GET", "/", 405),
        (b"", "POST", "/api", 404),
        (b"", "POST", "/", 400),
        (form(prompt=" ", purpose="ask"), "POST", "/", 400),
        (form(prompt="x"), "POST", "/", 400),
        (form(prompt="x", purpose="search"), "POST", "/", 400),
        (b"prompt=%ff&purpose=ask", "POST", "/", 400),
        (b"\xff", "POST", "/", 400),
        (b"a=b&" * 101 + b"prompt=x&purpose=ask", "POST", "/", 400),
    ],
)
def test_the_site_refuses(body: bytes, method: str, path: str, status: int) -> None:
    """What is no ask has a status and JSON that says why."""
    request = post(body, method, path)
    assert isinstance(request, Response)
    assert request.status == status
    assert json.loads(request.body)["error"]


EVENTS: list[Event] = [Citation("T", "https://u/", "s"), Text("one "), Text("two \u2028 три"), complete()]


def test_what_it_writes_is_read_back() -> None:
    """Text and sources pass through writer and reader unchanged."""
    request = post(form(prompt="x", purpose="ask"))
    assert isinstance(request, SiteRequest)
    body = b"".join(written_reply(request, lambda _: [[event] for event in EVENTS]))
    assert request.writer.status == 200
    assert read(body) == [EVENTS[0], Text("one two \u2028 три"), Finish("complete")]


@pytest.mark.parametrize(
    "end", [[failed(errors.ReplyFailed("no model"))], [truncated("it broke")], []], ids=["failed", "cut", "left off"]
)
async def test_no_half_answer_passes_for_a_whole(end: list[Event], serve: Any) -> None:
    """An answer that failed or was cut is status 500 with the reason, whatever came before."""
    server: Server = await serve(answering(ChatgptDuoSite(), lambda _: [[Text("half")], end]))
    with pytest.raises(errors.StatusError, match="no model|it broke|was cut") as caught:
        await ChatgptDuo.create_async(None, HELLO, base_url=server.url)
    assert caught.value.status == 500


async def test_the_provider_speaks_with_its_half() -> None:
    """Over HTTP, mounted below a path: the answer and its sources arrive."""

    async def answer(question: SiteRequest) -> Any:
        yield [Citation("T", "https://u/", question.text)]
        yield [Text("answer")]
        yield [complete()]

    async with running(Sites(answer, {"chatgptduo": ChatgptDuoSite()})) as url:
        assert await ChatgptDuo.create_async(None, HELLO, base_url=f"{url}/chatgptduo") == "answer"
    assert ChatgptDuo.get_sources() == [{"title": "T", "url": "https://u/", "snippet": HELLO[0]["content"]}]
