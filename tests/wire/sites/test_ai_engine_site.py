"""AI Engine's answering half: beside the recorded servers, and read by the asking half."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat import errors
from polychat.events import Event, Finish, Text, Usage
from polychat.wire.answering import Request, Response, SiteRequest
from polychat.wire.reading import complete, failed, truncated
from polychat.wire.sites import ai_engine
from polychat.wire.sites.ai_engine import Reader, bot_of, question
from polychat.wire.sites.ai_engine_site import AIEngineSite, Writer

from ...support import corpus
from ...support.read_replies import read_pieces


def submit(site: AIEngineSite, fields: Any, nonce: str | None = None, **changes: Any) -> Response | SiteRequest:
    headers = {"content-type": "application/json", **({"x-wp-nonce": nonce} if nonce is not None else {})}
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    request = Request("POST", "/wp-json/mwai-ui/v1/chats/submit", {}, headers, body, "http://h/x")
    for name, value in changes.items():
        setattr(request, name, value)
    return site.receive(request)


def recorded_request(case: str, site: AIEngineSite, base: str = "http://127.0.0.1:8090") -> Response | SiteRequest:
    head, _, body = corpus.request(case).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    method, path, _ = first.split(" ")
    return site.receive(Request(method, path, {}, headers, body, base))


def old() -> AIEngineSite:
    return AIEngineSite(era="1.9")


def text_events(*texts: str) -> list[Event]:
    return [Text(text) for text in texts]


ECHO = text_events("ech", "o: ", "hi ", "the", "re")


@pytest.mark.parametrize(
    ("case", "events"),
    [
        ("ai-engine-1.9.99/01-success-stream", [*ECHO, Usage(31, 7, 38), complete()]),
        ("ai-engine-1.9.99/02-success-nonstream", [*ECHO, Usage(10, 3, 13), complete()]),
        ("ai-engine-1.9.99/11-empty-reply-stream", [Usage(32, 0, 32), complete()]),
        (
            "ai-engine-1.9.99/40-upstream-401-stream",
            [failed(errors.ReplyFailed("From OpenAI: Error invalid_api_key: Incorrect API key provided: dummy."))],
        ),
        (
            "ai-engine-1.9.99/43-upstream-429-nonstream",
            [failed(errors.ReplyFailed("From OpenAI: Rate limit reached for default-gpt-3.5-turbo. Please try again in 20s."))],
        ),
        (
            "ai-engine-1.9.99/49-upstream-cut-stream",
            [
                *text_events("c0 ", "c1 ", "c2 "),
                failed(errors.ReplyFailed("From OpenAI: cURL error 18: transfer closed with outstanding read data remaining")),
            ],
        ),
    ],
)
def test_our_server_answers_byte_for_byte_as_the_recorded_one(case: str, events: list[Event]) -> None:
    """The recorded request, the model's same pieces: the same status, content type and bytes."""
    request = recorded_request(case, old())
    assert isinstance(request, SiteRequest)
    body = request.writer.write(events) + request.writer.end()
    assert body == corpus.body(case)
    meta = corpus.meta(case)
    assert (request.writer.status, request.writer.content_type) == (meta["status"], meta["content_type"])


@pytest.mark.parametrize(
    "case",
    [
        "ai-engine-1.9.99/21-wrong-nonce",
        "ai-engine-1.9.99/30-unknown-bot-stream",
        "ai-engine-1.9.99/36-zero-message",
        "ai-engine-1.9.99/66-newmessage-array",
        "ai-engine-2.0.8/20-missing-nonce",
    ],
)
def test_our_server_refuses_byte_for_byte_as_the_recorded_one(case: str) -> None:
    """Status, content type and body of each recorded refusal."""
    reply = recorded_request(case, AIEngineSite(era="2.0" if "2.0.8" in case else "1.9"))
    assert isinstance(reply, Response)
    meta = corpus.meta(case)
    assert (reply.status, reply.content_type, reply.body) == (meta["status"], meta["content_type"], corpus.body(case))


class Always(random.Random):
    """Makes the recorded site's nonce."""

    def __init__(self, nonce: str) -> None:
        self.nonce = nonce

    def getrandbits(self, k: int) -> int:
        return int(self.nonce, 16)


@pytest.mark.parametrize(
    ("version", "era", "nonce", "port"),
    [("1.9.99", "1.9", "0", 8090), ("2.0.8", "2.0", "9339bdf90f", 8092), ("2.5.2", "2.4", "d329f178a8", 8093)],
)
def test_our_pages_are_the_recorded_ones(version: str, era: Any, nonce: str, port: int) -> None:
    """Byte for byte, for a guest, in every era."""
    site = AIEngineSite(era=era, rng=Always(nonce), context_id=4, streams=era != "2.4")
    case = f"ai-engine-{version}/00-page"
    reply = recorded_request(case, site, f"http://127.0.0.1:{port}")
    assert isinstance(reply, Response)
    meta = corpus.meta(case)
    assert (reply.status, reply.content_type, reply.body) == (meta["status"], meta["content_type"], corpus.body(case))


@pytest.mark.parametrize(
    ("case", "era", "nonce", "usage"),
    [
        ("ai-engine-2.0.8/01-success-stream", "2.0", "9339bdf90f", Usage(0, 7, 7)),
        ("ai-engine-2.5.2/01-success-stream", "2.4", "d329f178a8", Usage(3, 5, 8)),
    ],
)
def test_our_server_answers_a_nonce_as_the_recorded_one(case: str, era: Any, nonce: str, usage: Usage) -> None:
    """The recorded request with its nonce is let in, and answered with the same bytes and the nonce of today."""
    site = AIEngineSite(era=era, rng=Always(nonce))
    site.nonces.current()
    request = recorded_request(case, site)
    assert isinstance(request, SiteRequest)
    body = request.writer.write([*ECHO, usage, complete()]) + request.writer.end()
    assert (body, dict(request.writer.headers)) == (corpus.body(case), {"X-WP-Nonce": nonce})


def test_our_session_starts_as_the_recorded_one() -> None:
    """``start_session`` without a body, byte for byte."""
    reply = recorded_request("ai-engine-2.5.2/26-start-session", AIEngineSite(rng=Always("d329f178a8")))
    assert isinstance(reply, Response)
    assert reply.body == corpus.body("ai-engine-2.5.2/26-start-session")


def test_a_bot_with_overrides_is_known_by_its_custom_id() -> None:
    """The page names ``customId`` and no ``botId``; the site takes that one and no other."""
    site = AIEngineSite(era="1.9", custom_id="c-1")
    page = site.receive(Request("GET", "/", {}, {}, b"", "http://h/x"))
    assert isinstance(page, Response)
    bot = bot_of(page.body.decode(), "http://h/x/")
    assert (bot.bot_id, bot.custom_id) == (None, "c-1")
    body = question([{"role": "user", "content": "hi"}], bot, "x")
    assert isinstance(submit(site, body), SiteRequest)
    unknown = submit(site, {**body, "customId": "c-2", "stream": False})
    assert isinstance(unknown, Response)
    assert unknown.status == 403


def test_what_a_request_overrides_reaches_the_model() -> None:
    """``context`` as the system's text, ``model``, ``temperature`` and ``maxTokens`` by the names we use."""
    fields = {"botId": "default", "newMessage": "hi", "context": "Be kind.", "model": "m", "temperature": 0.5, "maxTokens": 9}
    request = submit(old(), fields)
    assert isinstance(request, SiteRequest)
    assert request.messages == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    assert (request.model, request.settings) == ("m", {"temperature": 0.5, "max_tokens": 9})


@pytest.mark.parametrize(
    ("stream", "streams"), [(True, True), ("false", True), (1, True), (False, False), ("0", False), (None, False)]
)
def test_what_php_takes_for_true_streams(stream: Any, streams: bool) -> None:
    """The text "false" streams; "0" does not."""
    request = submit(old(), {"botId": "default", "newMessage": "hi", "stream": stream})
    assert isinstance(request, SiteRequest)
    assert request.writer.streams is streams


def test_the_page_holds_any_address() -> None:
    """Quotes and signs in the site's address do not end the attribute; they are escaped as WordPress does."""
    base = "http://h/o'neill&sons"
    page = AIEngineSite().page(base)
    assert "o&#039;neill&amp;sons" in page
    assert bot_of(page, f"{base}/chat/").rest_url == f"{base}/wp-json"


def test_our_server_keeps_history_as_the_recorded_one() -> None:
    """The system message is dropped, the last user message replaced by ``newMessage``."""
    request = recorded_request("ai-engine-1.9.99/60-history", old())
    assert isinstance(request, SiteRequest)
    recorded = json.loads(json.loads(corpus.body("ai-engine-1.9.99/60-history"))["reply"])
    assert request.messages == recorded[1:]  # the first is the bot's own context


def test_history_is_the_last_fifteen() -> None:
    """Of a long conversation the server remembers 15 messages, the new one among them."""
    messages = [{"role": "user" if n % 2 == 0 else "assistant", "content": str(n)} for n in range(31)]
    request = submit(old(), {"botId": "default", "newMessage": "new", "messages": messages})
    assert isinstance(request, SiteRequest)
    assert [m["content"] for m in request.messages] == [*map(str, range(16, 30)), "new"]


def test_the_eras_of_the_nonce() -> None:
    """1.9 wants none, 2.0 has it in the page, 2.4 gives it by ``start_session``; an empty one is wrong everywhere."""
    fields = {"botId": "default", "newMessage": "hi"}
    for era in ("1.9", "2.0", "2.4"):
        site = AIEngineSite(era=era)  # type: ignore[arg-type]
        page = site.receive(Request("GET", "/chat/", {}, {}, b"", "http://h/x"))
        session = site.receive(Request("POST", "/wp-json/mwai/v1/start_session", {}, {}, b"", "http://h/x"))
        assert isinstance(page, Response)
        assert isinstance(session, Response)
        in_page = bot_of(page.body.decode(), "http://h/x/chat/").nonce
        by_session = ai_engine.nonce_of(session.body)
        assert (in_page is None, by_session is None) == (era != "2.0", era != "2.4")
        assert isinstance(submit(site, fields), SiteRequest) is (era == "1.9")
        for wrong in ("", "0123456789"):
            reply = submit(site, fields, wrong)
            assert isinstance(reply, Response)
            assert (reply.status, ai_engine.is_nonce_failure(403, reply.body)) == (403, True)
        good = submit(site, fields, site.nonces.current())
        assert isinstance(good, SiteRequest)
        assert dict(good.writer.headers) == {"X-WP-Nonce": site.nonces.current()}


def test_a_nonce_lives_twelve_to_twenty_four_hours() -> None:
    """It holds through the tick it was made in and the next one, and not in the one after."""
    now = [0.0]
    site = AIEngineSite(clock=lambda: now[0], rng=random.Random(1))
    nonce = site.nonces.current()
    for hours, holds in ((11.9, True), (12.1, True), (23.9, True), (24.1, False)):
        now[0] = hours * 3600
        assert site.nonces.holds(nonce) is holds
    assert len({site.nonces.current() for now[0] in range(0, 10 * 43200, 43200)}) == 10
    fresh = site.nonces.current()
    site.nonces.expire()
    assert not site.nonces.holds(fresh)


def test_the_route_may_come_as_a_query() -> None:
    """Sites without pretty permalinks take ``?rest_route=``."""
    route = "/mwai-ui/v1/chats/submit"
    fields = {"botId": "default", "newMessage": "hi"}
    assert isinstance(submit(old(), fields, path="/", query={"rest_route": route}), SiteRequest)
    for changes in ({"path": "/wp-json/mwai-ui/v2/x"}, {"method": "GET"}, {"path": "/", "query": {"rest_route": "/x"}}):
        unknown = submit(old(), fields, **changes)
        assert isinstance(unknown, Response)
        assert (unknown.status, json.loads(unknown.body)["code"]) == (404, "rest_no_route")


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"nonsense",
        b"[]",
        b"7",
        b"[" * 5000,
        {"botId": "default"},
        {"newMessage": "hi"},
        {"botId": "default", "newMessage": 7},
        {"botId": ["default"], "newMessage": "hi"},
        {"botId": "default", "newMessage": " \n"},
        {"botId": "default", "newMessage": "я" * 32_769},
    ],
)
def test_nonsense_is_refused_and_not_a_crash(fields: Any) -> None:
    """Whatever comes in, the server answers with a refusal."""
    reply = submit(old(), fields)
    assert isinstance(reply, Response)
    assert reply.status in (400, 403)


@pytest.mark.parametrize("history", [7, "text", {"a": 1}, [7, None, {"role": "user"}, {"role": 1, "content": "a"}]])
def test_a_history_that_is_none_is_passed_over(history: Any) -> None:
    """The message is asked all the same."""
    request = submit(old(), {"botId": "default", "newMessage": "hi", "messages": history})
    assert isinstance(request, SiteRequest)
    assert request.messages == [{"role": "user", "content": "hi"}]


def test_only_json_is_read() -> None:
    """The same bytes under another content type are no fields: refused as an ask without a bot."""
    reply = submit(old(), {"botId": "default", "newMessage": "hi"}, headers={"content-type": "text/plain"})
    assert isinstance(reply, Response)
    assert (reply.status, json.loads(reply.body)["success"]) == (403, False)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)), st.booleans(), st.integers(1, 60))
def test_what_the_server_writes_the_client_reads(texts: list[str], streams: bool, step: int) -> None:
    """Any text, streamed or whole, at any cut, arrives as it was, with its usage."""
    writer = Writer(streams)
    body = writer.write([*text_events(*texts), Usage(1, 2, 3), complete()]) + writer.end()
    reply = read_pieces(Reader(), [body[i : i + step] for i in range(0, len(body), step)])
    whole = "".join(texts)
    if not whole.strip():
        assert type(reply.error) is errors.EmptyReply
    else:
        assert (reply.text, reply.finish) == (whole if streams else whole.strip(ai_engine.TRIMMED), complete())


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("end", [failed(errors.ReplyFailed("no")), truncated("cut")])
def test_a_backends_failure_never_reads_as_an_answer(streams: bool, end: Finish) -> None:
    """What our server writes of a failed or cut answer, our client takes for a failure."""
    writer = Writer(streams)
    body = writer.write([Text("so far"), end]) + writer.end()
    assert read_pieces(Reader(), [body]).finish.verdict != "complete"
    assert writer.status == (200 if streams else 500)
