"""AI Power's wire against the bytes of real servers, and its two halves against each other."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat import errors
from polychat.events import Usage
from polychat.wire.framing import data_line
from polychat.wire.reading import complete
from polychat.wire.sites.ai_power import AIPowerBot, Reader, bot_of, checked, question, refusal

from ...support import corpus
from ...support.read_replies import ReadReply, merged, read_pieces

REPLIES = [case for case in corpus.cases("ai-power") if "page" not in case]


def reply_of(case: str) -> ReadReply:
    return read_pieces(Reader(), [corpus.body(f"ai-power-1.8.99/{case}")])


@pytest.mark.parametrize("case", REPLIES)
def test_a_recorded_reply_reads_the_same_at_every_cut(case: str) -> None:
    """Whole, byte by byte, in two at every boundary, at random: the same text, usage and verdict."""
    whole = merged(read_pieces(Reader(), [corpus.body(case)]))
    for pieces in corpus.splits(corpus.body(case)):
        assert merged(read_pieces(Reader(), pieces)) == whole


@pytest.mark.parametrize(
    ("case", "text", "reason"),
    [("01-success-default-stream", "echo: hi there", "stop"), ("02-success-json", "echo: hi there", None)],
)
def test_recorded_answers(case: str, text: str, reason: str | None) -> None:
    """Whether the site streams or not, the text and the end are the real server's."""
    reply = reply_of(case)
    assert (reply.text, reply.finish) == (text, complete(reason))


def test_a_recorded_answer_with_every_kind_of_letter() -> None:
    """The same reply as AI Engine's recording, letter for letter."""
    text = reply_of("13-unicode-stream-fixed").text
    for part in (
        "Привет, мир!",
        "👩\u200d👩\u200d👧\u200d👦",
        "漢字かな",
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
        ("18-empty-reply-json", errors.EmptyReply, "", "empty"),
        ("50-upstream-401-json", errors.ReplyFailed, "", "Incorrect API key provided: dummy."),
        ("57-upstream-quote-error-stream", errors.ReplyFailed, "", "Bad"),
        ("59-upstream-html-502-stream", errors.BadReply, "", "502 Bad Gateway"),
        ("61-upstream-cut-stream", errors.Truncated, "c0 c1 c2 ", "finish_reason"),
        ("64-limit-reached-stream", errors.LimitReached, "", "token limit"),
        ("66-upstream-unreachable-json", errors.ReplyFailed, "", "Couldn't connect to server"),
    ],
)
def test_recorded_failures_under_200(case: str, error: type[Exception], text: str, says: str) -> None:
    """Each 200 that is a failure is one here; an error sent as if it were text gives no text."""
    reply = reply_of(case)
    assert (type(reply.error), reply.text) == (error, text)
    assert says in str(reply.error)
    assert reply.finish.verdict == ("truncated" if error is errors.Truncated else "failed")


def test_an_error_with_quotes_and_newlines_is_read_once_and_whole() -> None:
    """The plugin breaks its own JSON and says everything twice: the message has the words, once."""
    message = str(reply_of("57-upstream-quote-error-stream").error)
    assert message == 'the service reports: Bad "quoted" value in C:\\temp: second line <b>é</b>'


NORMAL = corpus.body("ai-power-1.8.99/01-success-default-stream")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (data_line({"msg": "Banned", "ipBanned": True}) + NORMAL, errors.LimitReached),
        (data_line({"msg": "Flagged", "messageFlagged": True}) + NORMAL, errors.LimitReached),
        (b'{"msg":"limit","tokenLimitReached":true}', errors.LimitReached),
        (b'{"status":"success","data":"x","msg":"m","tokenLimitReached":true}', errors.LimitReached),
        (b'{"status":"error","msg":"&quot;no&quot;"}', errors.ReplyFailed),
        (b'{"msg":"the store of texts is away","pineconeError":true}', errors.ReplyFailed),
        (b'{"error":{"message":"quota"}}', errors.ReplyFailed),
        (b'{"status":"success","msg":"m"}', errors.BadReply),
        (b'{"status":"success","data":7,"msg":"m"}', errors.BadReply),
        (b'{"data":"x"}', errors.BadReply),
        (b'{"status":"success","da', errors.BadReply),
        (b"[]", errors.BadReply),
        (b"0", errors.BadReply),
        (b"", errors.EmptyReply),
        (b" \r\n", errors.EmptyReply),
        (data_line("[DONE]"), errors.EmptyReply),
        (data_line({"error": {"message": "boom"}}) + data_line("[DONE]"), errors.ReplyFailed),
        (data_line({"error": "boom"}), errors.ReplyFailed),
        (
            b'event: message\ndata: {"choices":[{"delta":{"content":"No"}}]}\n\nevent: message\ndata: [LIMITED]\n\n',
            errors.ReplyFailed,
        ),
        (
            data_line({"choices": [{"delta": {"content": "No"}}]}) + data_line({"choices": [{"finish_reason": "stop"}]}),
            errors.ReplyFailed,
        ),
        (data_line({"what": 1}), errors.BadReply),
        (b"data: nonsense\n\n", errors.BadReply),
        (b"Fatal error: out of memory\n", errors.BadReply),
        (b"<html>", errors.BadReply),
        (b"data: " + b"[" * 5000 + b"\n\n", errors.BadReply),
    ],
)
def test_what_is_no_answer_is_an_error(body: bytes, error: type[Exception]) -> None:
    """Bans with an answer behind them, limits, foreign JSON, HTML, silence: an error of ours and no text, at every cut."""
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))]):
        reply = read_pieces(Reader(), pieces)
        assert (type(reply.error), reply.text) == (error, "")


def test_a_mid_stream_error_keeps_what_came() -> None:
    """An error object after text is ``failed``, behind that text."""
    third = next(event for event in NORMAL.split(b"\n\n") if b'"content":"the"' in event)
    body = NORMAL[: NORMAL.index(third)]
    reply = read_pieces(Reader(), [body + data_line({"error": {"message": "overloaded"}})])
    assert (reply.text, type(reply.error)) == ("echo: hi ", errors.ReplyFailed)


def test_every_cut_of_an_answer_is_no_whole_answer() -> None:
    """A stream that stops anywhere before its finish_reason is not ``complete``; one terminator of the two is enough."""
    finish = NORMAL.index(b'"finish_reason":"stop"')
    for stop in range(finish):
        assert read_pieces(Reader(), [NORMAL[:stop]]).finish.verdict != "complete"
    assert read_pieces(Reader(), [NORMAL[: NORMAL.index(b"data: [DONE]")]]).finish == complete("stop")


def test_length_is_a_reason_and_usage_is_read() -> None:
    """A reply that the model's limit ended is complete, says so, and its usage chunk counts."""
    body = NORMAL.replace(b'"finish_reason":"stop"', b'"finish_reason":"length"').replace(
        b"data: [DONE]",
        data_line({"id": "x", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}})
        + b"data: [DONE]",
    )
    reply = read_pieces(Reader(), [body])
    assert (reply.finish, reply.events[-2]) == (complete("length"), Usage(1, 2, 3))
    for counted, events in (
        (b'"prompt_tokens": "many", ', [Usage(None, 2, 3)]),
        (b'"prompt_tokens": -1, ', [Usage(None, 2, 3)]),
        (b'"x": ', []),
    ):
        other = body.replace(b'"prompt_tokens":1,', counted) if events else body.replace(b"_tokens", b"_letters")
        assert [event for event in read_pieces(Reader(), [other]).events if isinstance(event, Usage)] == events


@pytest.mark.parametrize("body", [b"data: " + b"x" * 200, b'{"a": "' + b"x" * 200, b"x" * 200])
def test_lines_and_objects_have_a_limit(body: bytes) -> None:
    """A stream without line ends, or an object without end, is an error at the limit and not a full memory."""
    reader = Reader(limit=100)
    events = [event for i in range(0, 200, 10) for event in reader.feed(body[i : i + 10])]
    assert reader.done
    assert "100 bytes" in str(ReadReply(events).error)


def test_an_error_without_end_has_a_limit() -> None:
    """A site that sends an error's words for ever, whole or broken, is read up to the limit."""
    for word in (
        b'data: {"choices":[{"delta":{"content":"no "}}]}',
        b'data: {"choices":[{"delta":{"content":"no" "}}]}',
        b"no",
    ):
        reader = Reader(limit=100)
        events = reader.feed(b'event: message\ndata: {"choices":[{"delta":{"content":"No:"}}]}\n\n')
        for _ in range(60):
            events += reader.feed(b"event: message\n" + word + b"\n\n")
        assert reader.done
        assert type(ReadReply(events).error) is errors.ReplyFailed


def test_what_a_stream_may_hold_besides() -> None:
    """Comments, other fields, a named event that is over, chunks without a choice: none of it is text or failure."""
    besides = b": thinking\n\nid: 7\nretry: 100\nevent: ping\n\n" + data_line({"choices": [], "prompt_filter_results": []})
    reply = read_pieces(Reader(), [besides + NORMAL])
    assert (reply.text, reply.finish) == ("echo: hi there", complete("stop"))


def test_an_unknown_action_is_explained() -> None:
    """Some servers give WordPress's «0» under 200."""
    assert "AI Power is not active" in str(read_pieces(Reader(), [b"0"]).error)


def test_a_null_error_is_none() -> None:
    """Some models' chunks have the field and nothing in it."""
    body = NORMAL.replace(b'"created"', b'"error":null,"created"')
    assert read_pieces(Reader(), [body]).text == "echo: hi there"


def test_a_model_that_only_completes() -> None:
    """Such a model's chunks have ``text`` where others have ``delta``."""
    body = NORMAL.replace(b'"delta":{"role":"assistant","content":""}', b'"text":""').replace(b'"delta":{}', b'"text":""')
    for piece in (b"ech", b"o: ", b"hi ", b"the", b"re"):
        body = body.replace(b'"delta":{"content":"%b"}' % piece, b'"text":"%b"' % piece)
    assert b"delta" not in body
    reply = read_pieces(Reader(), [body])
    assert (reply.text, reply.finish) == ("echo: hi there", complete("stop"))


_DATA = st.sampled_from(
    [
        b"data: ",
        b"event: message\n",
        b"[DONE]",
        b"\n",
        b"\r",
        b'{"choices":[',
        b'{"delta":{"content":"a"}}',
        b"]}",
        b'"id":1,',
        b"{",
        b"}",
        b'"msg":1',
        b"0",
        b" ",
    ]
)


@settings(deadline=None)
@given(st.lists(_DATA | st.binary(max_size=4), max_size=20), st.randoms())
def test_no_bytes_bring_the_reader_down(parts: list[bytes], rng: random.Random) -> None:
    """Whatever a server sends, there is one verdict and no exception, the same however the network cuts it."""
    body = b"".join(parts)
    places = sorted(rng.randrange(len(body) + 1) for _ in range(5))
    cut = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    assert merged(read_pieces(Reader(), cut)) == merged(read_pieces(Reader(), [body]))


# The page


def test_recorded_pages() -> None:
    """The shortcode's nonce and post, and the widget's with its own action."""
    page = corpus.body("ai-power-1.8.99/00-page").decode()
    assert bot_of(page, "http://h/") == AIPowerBot("94d05cd44b", "5", "0", "http://127.0.0.1:8090/chat-power", False)
    widget = bot_of(corpus.body("ai-power-1.8.99/91-page-widget-only").decode(), "http://h/")
    assert (widget.post_id, widget.widget, widget.action) == ("2", True, "wpaicg_chatbox_message")
    assert (widget.bot_id, widget.identity) == ("0", "widget")
    assert bot_of(corpus.body("ai-power-1.8.99/91-page-widget-only").decode() + page, "http://h/").widget is False


@pytest.mark.parametrize(
    "element", ["<p data-nonce = 'n1' data-post-id = 7>", '<div class="renamed" data-post-id="7" data-nonce="n1">']
)
def test_an_element_of_another_name_is_found_by_its_attributes(element: str) -> None:
    """The seed's client took the attributes wherever they stood."""
    assert bot_of(element, "http://h/") == AIPowerBot("n1", "7")


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<p>",
        "<p data-nonce='x'>",
        "<div class='wpaicg-chat-shortcode' data-post-id='5'>",
        "<p data-nonce='' data-post-id='5'>",
    ],
)
def test_a_page_without_tokens_names_the_next_step(page: str) -> None:
    """Either missing is the seed's RuntimeError, and names the option ``page``."""
    with pytest.raises(RuntimeError, match=r"authentication tokens not found.*option page") as caught:
        bot_of(page, "http://h/")
    assert isinstance(caught.value, errors.ChatNotFound)


# The question


def test_the_form_of_the_seed() -> None:
    """Field by field what the seed's client sent."""
    assert question("hi", AIPowerBot("n", "5"), "https://chatgptt.me", "0123456789") == {
        "_wpnonce": "n",
        "post_id": "5",
        "url": "https://chatgptt.me",
        "action": "wpaicg_chat_shortcode_message",
        "message": "hi",
        "bot_id": "0",
        "chatbot_identity": "shortcode",
        "wpaicg_chat_client_id": "0123456789",
        "wpaicg_chat_history": "",
    }
    assert question("hi", AIPowerBot("n", "5", "7"), "u", "c")["chatbot_identity"] == "custom_bot_7"


@pytest.mark.parametrize("prompt", ["", " \n", "0", "a\ud800"])
def test_what_cannot_be_sent_is_refused_here(prompt: str) -> None:
    """An empty message, what PHP takes for one, and half a letter never leave the process; the error names the field."""
    with pytest.raises(errors.BadInput) as caught:
        checked(prompt)
    assert caught.value.field == "messages"


def test_a_refusals_page_is_shown_without_its_tags() -> None:
    """The recorded 403 as a person reads it; the 400 that WordPress gives for an unknown action says what it means."""
    assert refusal(403, corpus.body("ai-power-1.8.99/21-wrong-nonce")) == "The link you followed has expired. Please try again."
    assert "AI Power is not active" in refusal(400, b"0")
    assert refusal(403, b"<p>a &amp; b") == "a & b"
