"""AI Engine's asking half against the bytes of real servers: page, question, reply."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat import errors
from polychat.events import Usage
from polychat.wire.framing import data_line
from polychat.wire.reading import complete
from polychat.wire.sites import ai_engine
from polychat.wire.sites.ai_engine import AIEngineBot, Overrides, Reader, bot_of, question

from ...support import corpus
from ...support.read_replies import ReadReply, merged, read_pieces

REPLIES = [
    case
    for case in corpus.cases("ai-engine")
    if "page" not in case and corpus.meta(case)["status"] == 200 and "session" not in case
]


def reply_of(case: str) -> ReadReply:
    return read_pieces(Reader(), [corpus.body(case)])


@pytest.mark.parametrize("case", REPLIES)
def test_a_recorded_reply_reads_the_same_at_every_cut(case: str) -> None:
    """Whole, byte by byte, in two at every boundary, at random: the same text, usage and verdict."""
    whole = merged(reply_of(case))
    for pieces in corpus.splits(corpus.body(case)):
        assert merged(read_pieces(Reader(), pieces)) == whole


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
    reply = reply_of(case)
    assert (reply.text, reply.finish) == (text, complete())
    if usage is not None:
        assert usage in reply.events


def test_a_recorded_answer_with_every_kind_of_letter() -> None:
    """Emoji families, flags, CJK, Arabic, combining marks, U+2028 and a literal end mark arrive as they were."""
    text = reply_of("ai-engine-1.9.99/05-unicode-stream-fixed").text
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
    reply = reply_of(case)
    assert corpus.meta(case)["status"] == 200
    assert (type(reply.error), reply.text, reply.finish.verdict) == (error, text, "failed")
    assert says in str(reply.error)


def test_every_cut_of_an_answer_is_truncated() -> None:
    """A stream that stops anywhere before its end event is whole is ``truncated``, with the text of its whole lines."""
    body = corpus.body("ai-engine-1.9.99/01-success-stream")
    end = body.index(b'data: {"type":"end"')
    for stop in range(len(body.rstrip())):
        reply = read_pieces(Reader(), [body[:stop]])
        assert reply.finish.verdict == "truncated", body[:stop]
        assert "echo: hi there".startswith(reply.text)
        assert reply.text == "echo: hi there" or stop < end
    assert read_pieces(Reader(), [body.rstrip()]).finish == complete()


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
        (
            b'data: {"type":"live","data":" "}\n\ndata: {"type":"end","data":"{\\"success\\":true,\\"reply\\":\\"\\"}"}\n',
            errors.EmptyReply,
        ),
        (b"data", errors.Truncated),
        (b"event: live\n", errors.Truncated),
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
        reply = read_pieces(Reader(), pieces)
        assert type(reply.error) is error
        assert isinstance(reply.error, RuntimeError)


def test_a_broken_line_is_named_without_its_secrets() -> None:
    """The message shows the line, shortened, and no token in it."""
    message = str(read_pieces(Reader(), [b'data: {"restNonce": "abcdef0123", "x": "' + b"y" * 900 + b'"}\n\n']).error)
    assert "restNonce" in message
    assert "abcdef0123" not in message
    assert len(message) < 300


def test_kinds_of_events_that_later_versions_add_are_passed_over() -> None:
    """An event of another type is no text and no error."""
    body = data_line({"type": "status", "data": "thinking"}) + data_line({"type": "live", "data": "a"})
    assert read_pieces(Reader(), [body, corpus.body("ai-engine-2.5.2/01-success-stream")]).text == "aecho: hi there"


@pytest.mark.parametrize("body", [b"data: " + b"x" * 200, b'{"a": "' + b"x" * 200, b"x" * 200])
def test_lines_and_objects_have_a_limit(body: bytes) -> None:
    """A stream without line ends, or an object without end, is an error at the limit and not a full memory."""
    reader = Reader(limit=100)
    events = [event for i in range(0, 200, 10) for event in reader.feed(body[i : i + 10])]
    assert reader.done
    assert "100 bytes" in str(ReadReply(events).error)


@pytest.mark.parametrize(
    ("streamed", "reply", "text"),
    [
        ([], "all of it", "all of it"),
        (["all"], "all of it", "all of it"),
        ([" \n", "all "], "all of it", " \nall of it"),
        (["all of it "], "all of it", "all of it "),
        (["all"], "ALL of it, as the site would have it", "all"),
        (["all"], "", "all"),
    ],
)
def test_what_was_not_streamed_is_taken_from_the_end(streamed: list[str], reply: str, text: str) -> None:
    """All of it where the site does not stream, the rest where some came; a reply that was changed later is not emitted
    again.
    """
    lines = [data_line({"type": "live", "data": piece}) for piece in streamed]
    end = json.dumps({"success": True, "reply": reply, "usage": None})
    read = read_pieces(Reader(), [*lines, data_line({"type": "end", "data": end})])
    assert (read.text, read.finish) == (text, complete())


@pytest.mark.parametrize(("count", "read"), [(3, [Usage(1, 2, 3)]), (-3, []), (10**400, []), (True, []), ("3", []), (None, [])])
def test_counts_that_cannot_be_true_are_none(count: Any, read: list[Usage]) -> None:
    """Prices and metrics are computed with them."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": count}
    end = json.dumps({"success": True, "reply": "Hi", "usage": usage})
    events = read_pieces(Reader(), [data_line({"type": "end", "data": end})]).events
    assert [event for event in events if isinstance(event, Usage)] == read


@pytest.mark.parametrize("case", ["ai-engine-1.9.99/01-success-stream", "ai-engine-1.9.99/02-success-nonstream"])
@pytest.mark.parametrize("before", ["\ufeff", "\n \r\n", "\ufeff\n", "\n\ufeff"])
def test_what_php_prints_first_is_passed_over(case: str, before: str) -> None:
    """A byte order mark and blank lines before the reply, at every cut."""
    for pieces in corpus.splits(before.encode() + corpus.body(case)):
        assert read_pieces(Reader(), pieces).text == "echo: hi there"


def test_phps_notices_before_a_stream_are_passed_over() -> None:
    """A site that shows its warnings still answers."""
    notice = b"<br />\n<b>Deprecated</b>:  Creation of dynamic property in /srv/ai.php on line <b>7</b><br />\n"
    for pieces in corpus.splits(notice + corpus.body("ai-engine-1.9.99/01-success-stream")):
        assert read_pieces(Reader(), pieces).text == "echo: hi there"


def test_a_page_in_the_place_of_a_reply_is_shown() -> None:
    """HTML under 200 is no answer and no cut one: the error shows how it begins, the same at every cut."""
    page = b"<!DOCTYPE html>\n<title>Maintenance</title>\n" + b"<p>we are back soon</p>\n" * 200
    messages = {str(read_pieces(Reader(), pieces).error) for pieces in corpus.splits(page)}
    assert len(messages) == 1
    assert "Maintenance" in messages.pop()


# The question


def test_the_question_of_the_seed() -> None:
    """Field by field what the seed's client sent."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert question(messages, AIEngineBot("http://h/wp-json"), "xyz") == {
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
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "c"}]
    body = question(messages, AIEngineBot("http://h/wp-json"), "x", Overrides(temperature=0, max_tokens=5))
    assert (body["context"], body["temperature"], body["maxTokens"], body["messages"]) == ("Be kind.", 0, 5, messages)


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
    ],
)
def test_overrides_that_cannot_be_are_refused(overrides: dict[str, Any], field: str) -> None:
    """Nothing that is no such number is sent; the error names the option."""
    with pytest.raises(errors.BadInput) as caught:
        question([{"role": "user", "content": "c"}], AIEngineBot("http://h"), "x", Overrides(**overrides))
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["", " \n\t", "0", " 0 ", "\x00"])
def test_what_the_server_would_refuse_is_refused_here(text: str) -> None:
    """Empty, blank and «0» never leave the process."""
    with pytest.raises(errors.BadInput) as caught:
        question([{"role": "user", "content": text}], AIEngineBot("http://h"), "x")
    assert caught.value.field == "messages[0].content"


def test_the_limit_is_in_bytes() -> None:
    """65,536 bytes pass and one more does not, whatever the letters; blanks round it do not count."""
    for text in ("a" * 65_536, "я" * 32_768, " " + "a" * 65_536 + "\n"):
        question([{"role": "user", "content": text}], AIEngineBot("http://h"), "x")
    with pytest.raises(errors.MessageTooLong) as caught:
        question([{"role": "user", "content": "я" * 32_769}], AIEngineBot("http://h"), "x")
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
    assert bot == AIEngineBot(f"{base}/wp-json", "default", None, 4, "N/A", nonce, stream="2.5.2" not in case)
    assert bot.submit_url == f"{base}/wp-json/mwai-ui/v1/chats/submit"


def _page(**system: Any) -> str:
    from html import escape

    return f"<p><div class='a mwai-chatbot-container b' data-system='{escape(json.dumps(system))}'></div>"


def test_a_site_without_pretty_permalinks() -> None:
    """The REST root may be a query; the route is put behind it."""
    bot = bot_of(_page(restUrl="https://h/?rest_route=/", customId="c-1", botId=None), "https://h/chat")
    assert bot.submit_url == "https://h/?rest_route=/mwai-ui/v1/chats/submit"
    assert (bot.bot_id, bot.custom_id) == (None, "c-1")


def test_the_pages_real_address_overrides_the_one_in_it() -> None:
    """Behind a proxy a site often calls itself http or by an inner port; another host is not followed."""
    for named in ("http://h:8080/wp-json", "http://www.h/wp-json/", "//h/wp-json", "/wp-json"):
        assert bot_of(_page(restUrl=named), "https://h:444/chat").rest_url == "https://h:444/wp-json"
    for elsewhere in ("https://evil.example/wp-json", "https://h.evil.example/", "ftp:x", "https://h@evil.example/wp-json"):
        with pytest.raises(errors.BadReply, match="another host"):
            bot_of(_page(restUrl=elsewhere), "https://h/chat")
    with pytest.raises(errors.BadReply, match="no address"):
        bot_of(_page(restUrl="http://[/wp-json"), "https://h/chat")


def test_of_several_bots_the_first_is_asked() -> None:
    """In the page's order, and whether it streams as the page says."""
    two = _page(restUrl="/a", botId="one", stream=False) + _page(restUrl="/b", botId="two")
    bot = bot_of(two, "https://h/")
    assert (bot.bot_id, bot.stream) == ("one", False)
    assert question([{"role": "user", "content": "c"}], bot, "x")["stream"] is False


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
def test_a_page_without_a_chat_names_the_next_step(html: str) -> None:
    """No element, or one without what is needed: the error names the option ``page``."""
    with pytest.raises(errors.ChatNotFound, match="option page"):
        bot_of(html, "https://h/")


def test_the_recorded_session_gives_a_nonce() -> None:
    """``start_session`` of 2.5.2; anything else gives none."""
    assert ai_engine.nonce_of(corpus.body("ai-engine-2.5.2/26-start-session")) == "d329f178a8"
    for body in (b"", b"{}", b'{"success": true, "restNonce": null}', b'{"success": true, "restNonce": ""}', b"[" * 9999):
        assert ai_engine.nonce_of(body) is None


def test_a_refused_nonce_is_distinguished_from_a_refused_message() -> None:
    """By WordPress's codes; the status alone does not tell."""
    for case, nonce in (("1.9.99/21-wrong-nonce", True), ("2.0.8/20-missing-nonce", True), ("1.9.99/36-zero-message", False)):
        recorded = corpus.meta(f"ai-engine-{case}")["status"], corpus.body(f"ai-engine-{case}")
        assert ai_engine.is_nonce_failure(*recorded) is nonce
