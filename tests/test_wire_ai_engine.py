"""AI Engine's wire against the bytes of real servers, and its two halves against each other."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat import errors
from polychat.events import Event, Finish, Text, Usage
from polychat.wire import ai_engine
from polychat.wire.ai_engine import Bot, Overrides, Reader, bot_of, question
from polychat.wire.ai_engine_site import AIEngineSite, Writer
from polychat.wire.answering import Question, Request, Response
from polychat.wire.framing import data_line
from polychat.wire.reading import complete, failed, truncated

from .furniture import corpus
from .furniture.reading import Heard, hear, merged

REPLIES = [
    case
    for case in corpus.cases("ai-engine")
    if "page" not in case and corpus.meta(case)["status"] == 200 and "session" not in case
]


def heard(case: str) -> Heard:
    return hear(Reader(), [corpus.body(case)])


@pytest.mark.parametrize("case", REPLIES)
def test_a_recorded_reply_reads_the_same_at_every_cut(case: str) -> None:
    """Whole, byte by byte, in two at every boundary, at random: the same text, usage and verdict."""
    whole = merged(heard(case))
    for pieces in corpus.splits(corpus.body(case)):
        assert merged(hear(Reader(), pieces)) == whole


@pytest.mark.parametrize(
    ("case", "text", "usage"),
    [
        ("ai-engine-1.9.99/01-success-stream", "echo: hi there", Usage(31, 7, 38)),
        ("ai-engine-1.9.99/02-success-nonstream", "echo: hi there", Usage(10, 3, 13)),
        ("ai-engine-2.0.8/01-success-stream", "echo: hi there", None),
        ("ai-engine-2.5.2/01-success-stream", "echo: hi there", Usage(3, 5, 8)),
        ("ai-engine-1.9.99/08b-long-russian-5000", " ".join(f"слово{n}" for n in range(5000)) + " ", None),
    ],
)
def test_recorded_answers(case: str, text: str, usage: Usage | None) -> None:
    """The text and the usage of what real servers answered."""
    reply = heard(case)
    assert (reply.text, reply.finish) == (text, complete())
    if usage is not None:
        assert usage in reply.events


def test_a_recorded_answer_with_every_kind_of_letter() -> None:
    """Emoji families, flags, CJK, Arabic, combining marks, U+2028 and a literal end mark arrive as they were."""
    text = heard("ai-engine-1.9.99/05-unicode-stream-fixed").text
    for part in (
        "Привет, мир!",
        "👩\u200d👩\u200d👧\u200d👦",
        "🇷🇺",
        "漢字かな",
        "العربية",
        "e\u0301",
        "\u2028",
        "data: [DONE]",
        "back\\slash",
        "\uffff",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("case", "error", "text", "says"),
    [
        ("ai-engine-1.9.99/11-empty-reply-stream", errors.EmptyReply, "", "empty"),
        ("ai-engine-1.9.99/30-unknown-bot-stream", errors.ReplyFailed, "", "rejected"),
        ("ai-engine-1.9.99/40-upstream-401-stream", errors.ReplyFailed, "", "Incorrect API key"),
        ("ai-engine-1.9.99/49-upstream-cut-stream", errors.ReplyFailed, "c0 c1 c2 ", "transfer closed"),
    ],
)
def test_recorded_failures_under_200(case: str, error: type[Exception], text: str, says: str) -> None:
    """Each 200 that is a failure is one here, after the text that came."""
    reply = heard(case)
    assert corpus.meta(case)["status"] == 200
    assert (type(reply.error), reply.text, reply.finish.verdict) == (error, text, "failed")
    assert says in str(reply.error)


def test_every_cut_of_an_answer_is_truncated() -> None:
    """A stream that stops anywhere before its end event is ``truncated``, with the text of its whole lines."""
    body = corpus.body("ai-engine-1.9.99/01-success-stream")
    end = body.index(b'data: {"type":"end"')
    for stop in range(end):
        reply = hear(Reader(), [body[:stop]])
        if reply.finish.verdict != "truncated":
            # half a line, ended by the cut, is no event either
            assert isinstance(reply.error, errors.BadReply)
        assert "echo: hi there".startswith(reply.text)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"data: nonsense\n\n", errors.BadReply),
        (b'data: {"no": "type"}\n\n', errors.BadReply),
        (b'data: ["live"]\n\n', errors.BadReply),
        (b'data: {"type": "live", "data": 7}\n\n', errors.BadReply),
        (b'data: {"type": "end", "data": "not json"}\n\n', errors.BadReply),
        (b'data: {"type": "end", "data": "{\\"success\\":false,\\"message\\":\\"no\\"}"}\n\n', errors.ReplyFailed),
        (b'data: {"type": "error", "data": {"code": 7}}\n\n', errors.ReplyFailed),
        (b"data: \xff\xfe\n\n", errors.BadReply),
        (b'{"success": true}', errors.BadReply),
        (b'{"success": false, "message": "no"}', errors.ReplyFailed),
        (b'{"code": "rest_no_route", "message": "No route"}', errors.ReplyFailed),
        (b"<html><body>502</body></html>", errors.BadReply),
        (b"[" * 5000, errors.BadReply),
        (b"", errors.Truncated),
        (b": comment\n\n", errors.Truncated),
    ],
)
def test_what_is_no_reply_is_an_error(body: bytes, error: type[Exception]) -> None:
    """Broken lines, foreign JSON, HTML and silence: each is an error of ours that is a RuntimeError too, at every cut."""
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))]):
        reply = hear(Reader(), pieces)
        assert type(reply.error) is error
        assert isinstance(reply.error, RuntimeError)


def test_a_broken_line_is_named_without_its_secrets() -> None:
    """The message shows the line, shortened, and no token in it."""
    said = str(hear(Reader(), [b'data: {"restNonce": "abcdef0123", "x": "' + b"y" * 900 + b'"}\n\n']).error)
    assert "restNonce" in said
    assert "abcdef0123" not in said
    assert len(said) < 300


def test_kinds_of_events_that_later_versions_add_are_passed_over() -> None:
    """An event of another type is no text and no error."""
    body = data_line({"type": "status", "data": "thinking"}) + data_line({"type": "live", "data": "a"})
    assert hear(Reader(), [body, corpus.body("ai-engine-2.5.2/01-success-stream")]).text == "aecho: hi there"


@pytest.mark.parametrize("body", [b"data: " + b"x" * 200, b'{"a": "' + b"x" * 200, b"x" * 200])
def test_lines_and_objects_have_a_limit(body: bytes) -> None:
    """A stream without line ends, or an object without end, is an error at the limit and not a full memory."""
    reader = Reader(limit=100)
    events = [event for i in range(0, 200, 10) for event in reader.feed(body[i : i + 10])]
    assert reader.done
    assert "100 bytes" in str(Heard(events).error)


def test_an_end_with_text_that_was_not_streamed_is_an_answer() -> None:
    """A site that gives its whole reply in the end event only is understood."""
    end = json.dumps({"success": True, "reply": "all of it", "usage": None})
    reply = hear(Reader(), [data_line({"type": "end", "data": end})])
    assert (reply.text, reply.finish) == ("all of it", complete())


# The question


def test_the_question_of_the_seed() -> None:
    """Field by field what the seed's client sent."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert question(messages, Bot("http://h/wp-json"), "xyz") == {
        "botId": "default",
        "chatId": "xyz",
        "contextId": 28,
        "customId": None,
        "messages": messages,
        "newMessage": "c",
        "session": "N/A",
        "stream": True,
    }


def test_overrides_and_the_systems_text_go_where_old_servers_take_them() -> None:
    """A system message is dropped from the list by the server, so its text goes as ``context`` too."""
    said = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "c"}]
    asked = question(said, Bot("http://h/wp-json"), "x", Overrides(temperature=0, max_tokens=5))
    assert (asked["context"], asked["temperature"], asked["maxTokens"], asked["messages"]) == ("Be kind.", 0, 5, said)


@pytest.mark.parametrize("text", ["", " \n\t", "0", " 0 ", "\x00"])
def test_what_the_server_would_refuse_is_refused_here(text: str) -> None:
    """Empty, blank and «0» never leave the process."""
    with pytest.raises(errors.BadInput) as caught:
        question([{"role": "user", "content": text}], Bot("http://h"), "x")
    assert caught.value.field == "messages[0].content"


def test_the_limit_is_in_bytes() -> None:
    """65,536 bytes pass and one more does not, whatever the letters; blanks round it do not count."""
    for text in ("a" * 65_536, "я" * 32_768, " " + "a" * 65_536 + "\n"):
        question([{"role": "user", "content": text}], Bot("http://h"), "x")
    with pytest.raises(errors.MessageTooLong) as caught:
        question([{"role": "user", "content": "я" * 32_769}], Bot("http://h"), "x")
    assert (caught.value.size, caught.value.limit) == (65_538, 65_536)


# The page


@pytest.mark.parametrize(
    ("case", "nonce", "base"),
    [
        ("ai-engine-1.9.99/00-page", None, "http://127.0.0.1:8090"),
        ("ai-engine-2.0.8/00-page", "9339bdf90f", "http://127.0.0.1:8092"),
        ("ai-engine-2.5.2/00-page", None, "http://127.0.0.1:8093"),
    ],
)
def test_recorded_pages(case: str, nonce: str | None, base: str) -> None:
    """The bot, its address and its nonce as the real page has them."""
    bot = bot_of(corpus.body(case).decode(), f"{base}/chat/")
    assert bot == Bot(f"{base}/wp-json", "default", None, 4, "N/A", nonce)
    assert bot.submit_url == f"{base}/wp-json/mwai-ui/v1/chats/submit"


def _page(**system: Any) -> str:
    from html import escape

    return f"<p><div class='a mwai-chatbot-container b' data-system='{escape(json.dumps(system))}'></div>"


def test_a_site_without_pretty_permalinks() -> None:
    """The REST root may be a query; the route is put behind it."""
    bot = bot_of(_page(restUrl="https://h/?rest_route=/", customId="c-1", botId=None), "https://h/chat")
    assert bot.submit_url == "https://h/?rest_route=/mwai-ui/v1/chats/submit"
    assert (bot.bot_id, bot.custom_id) == (None, "c-1")


def test_the_pages_own_address_goes_before_what_it_says_of_itself() -> None:
    """Behind a proxy a site often calls itself http or by an inner port; another host is not followed."""
    assert bot_of(_page(restUrl="http://h:8080/wp-json"), "https://h/chat").rest_url == "https://h/wp-json"
    with pytest.raises(errors.BadReply, match="another host"):
        bot_of(_page(restUrl="https://evil.example/wp-json"), "https://h/chat")


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<html>",
        "<div class='mwai-chatbot-container'>",
        "<div class='mwai-chatbot-container' data-system='{'>",
        _page(botId="x"),
    ],
)
def test_a_page_without_a_chat_says_what_to_do(html: str) -> None:
    """No element, or one without what is needed: the error names the option ``page``."""
    with pytest.raises(errors.ChatNotFound, match="option page"):
        bot_of(html, "https://h/")


def test_the_recorded_session_gives_a_nonce() -> None:
    """``start_session`` of 2.5.2; anything else gives none."""
    assert ai_engine.nonce_of(corpus.body("ai-engine-2.5.2/26-start-session")) == "d329f178a8"
    for body in (b"", b"{}", b'{"success": true, "restNonce": null}', b'{"success": true, "restNonce": ""}', b"[" * 9999):
        assert ai_engine.nonce_of(body) is None


def test_a_refused_nonce_is_told_from_a_refused_message() -> None:
    """By WordPress's codes; the status alone does not tell."""
    for case, nonce in (("1.9.99/21-wrong-nonce", True), ("2.0.8/20-missing-nonce", True), ("1.9.99/36-zero-message", False)):
        recorded = corpus.meta(f"ai-engine-{case}")["status"], corpus.body(f"ai-engine-{case}")
        assert ai_engine.is_nonce_failure(*recorded) is nonce


# The answering half


def submit(site: AIEngineSite, fields: Any, nonce: str | None = None, **changes: Any) -> Response | Question:
    headers = {"content-type": "application/json", **({"x-wp-nonce": nonce} if nonce is not None else {})}
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    request = Request("POST", "/wp-json/mwai-ui/v1/chats/submit", {}, headers, body, "http://h/x")
    for name, value in changes.items():
        setattr(request, name, value)
    return site.hear(request)


def recorded_request(case: str, site: AIEngineSite) -> Response | Question:
    head, _, body = corpus.request(case).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    method, path, _ = first.split(" ")
    return site.hear(Request(method, path, {}, headers, body, "http://127.0.0.1:8090"))


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
    asked = recorded_request(case, old())
    assert isinstance(asked, Question)
    body = asked.writer.write(events) + asked.writer.end()
    assert body == corpus.body(case)
    meta = corpus.meta(case)
    assert (asked.writer.status, asked.writer.content_type) == (meta["status"], meta["content_type"])


@pytest.mark.parametrize(
    "case",
    [
        "ai-engine-1.9.99/21-wrong-nonce",
        "ai-engine-1.9.99/30-unknown-bot-stream",
        "ai-engine-1.9.99/36-zero-message",
        "ai-engine-2.0.8/20-missing-nonce",
    ],
)
def test_our_server_refuses_byte_for_byte_as_the_recorded_one(case: str) -> None:
    """Status, content type and body of each recorded refusal."""
    said = recorded_request(case, AIEngineSite(era="2.0" if "2.0.8" in case else "1.9"))
    assert isinstance(said, Response)
    meta = corpus.meta(case)
    assert (said.status, said.content_type, said.body) == (meta["status"], meta["content_type"], corpus.body(case))


def test_our_server_breaks_as_the_recorded_one() -> None:
    """An array for a message is PHP's type error: status 500 and WordPress's code."""
    said = recorded_request("ai-engine-1.9.99/66-newmessage-array", old())
    assert isinstance(said, Response)
    recorded = json.loads(corpus.body("ai-engine-1.9.99/66-newmessage-array"))
    assert (said.status, json.loads(said.body)["code"], set(json.loads(said.body))) == (500, recorded["code"], set(recorded))


def test_our_server_keeps_history_as_the_recorded_one() -> None:
    """The system message is dropped, the last user message replaced by ``newMessage``."""
    asked = recorded_request("ai-engine-1.9.99/60-history", old())
    assert isinstance(asked, Question)
    recorded = json.loads(json.loads(corpus.body("ai-engine-1.9.99/60-history"))["reply"])
    assert asked.messages == recorded[1:]  # the first is the bot's own context


def test_history_is_the_last_fifteen() -> None:
    """Of a long conversation the server remembers 15 messages, the new one among them."""
    said = [{"role": "user" if n % 2 == 0 else "assistant", "content": str(n)} for n in range(31)]
    asked = submit(old(), {"botId": "default", "newMessage": "new", "messages": said})
    assert isinstance(asked, Question)
    assert [m["content"] for m in asked.messages] == [*map(str, range(16, 30)), "new"]


def test_the_eras_of_the_nonce() -> None:
    """1.9 wants none, 2.0 has it in the page, 2.4 gives it by ``start_session``; an empty one is wrong everywhere."""
    fields = {"botId": "default", "newMessage": "hi"}
    for era in ("1.9", "2.0", "2.4"):
        site = AIEngineSite(era=era)  # type: ignore[arg-type]
        page = site.hear(Request("GET", "/chat/", {}, {}, b"", "http://h/x"))
        session = site.hear(Request("POST", "/wp-json/mwai/v1/start_session", {}, {}, b"", "http://h/x"))
        assert isinstance(page, Response)
        assert isinstance(session, Response)
        in_page = bot_of(page.body.decode(), "http://h/x/chat/").nonce
        by_session = ai_engine.nonce_of(session.body)
        assert (in_page is None, by_session is None) == (era != "2.0", era != "2.4")
        assert isinstance(submit(site, fields), Question) is (era == "1.9")
        for wrong in ("", "0123456789"):
            said = submit(site, fields, wrong)
            assert isinstance(said, Response)
            assert (said.status, ai_engine.is_nonce_failure(403, said.body)) == (403, True)
        good = submit(site, fields, site.nonces.current())
        assert isinstance(good, Question)
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
    assert isinstance(submit(old(), fields, path="/", query={"rest_route": route}), Question)
    unknown = submit(old(), fields, path="/wp-json/mwai-ui/v2/x")
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
    ],
)
def test_nonsense_is_refused_and_not_a_crash(fields: Any) -> None:
    """Whatever comes in, the server answers with a refusal."""
    said = submit(old(), fields)
    assert isinstance(said, Response)
    assert said.status in (400, 403)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)), st.booleans(), st.integers(1, 60))
def test_what_the_server_writes_the_client_reads(texts: list[str], streams: bool, step: int) -> None:
    """Any text, streamed or whole, at any cut, arrives as it was, with its usage."""
    writer = Writer(streams)
    body = writer.write([*text_events(*texts), Usage(1, 2, 3), complete()]) + writer.end()
    reply = hear(Reader(), [body[i : i + step] for i in range(0, len(body), step)])
    whole = "".join(texts)
    if streams and texts:
        assert (reply.text, reply.finish) == (whole, complete())
    elif whole.strip():
        assert (reply.text, reply.finish) == (whole.strip(), complete())
    else:
        assert type(reply.error) is errors.EmptyReply


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("end", [failed(errors.ReplyFailed("no")), truncated("cut")])
def test_a_backends_failure_never_reads_as_an_answer(streams: bool, end: Finish) -> None:
    """What our server writes of a failed or cut answer, our client takes for a failure."""
    writer = Writer(streams)
    body = writer.write([Text("so far"), end]) + writer.end()
    assert hear(Reader(), [body]).finish.verdict != "complete"
    assert writer.status == (200 if streams else 500)
