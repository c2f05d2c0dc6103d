"""AI Power's answering half against the bytes of real servers, and against the client that reads it."""

from __future__ import annotations

import json
import random
from html import escape
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat import errors
from polychat.events import Event, Finish, Text
from polychat.wire.answering import Request, Response, SiteRequest
from polychat.wire.reading import complete, failed, truncated
from polychat.wire.sites import ai_power_site
from polychat.wire.sites.ai_power import AIPowerBot, Reader, bot_of, checked, question
from polychat.wire.sites.ai_power_site import AIPowerSite, StreamWriter, WholeWriter

from ...support import corpus
from ...support.read_replies import read_pieces


def submitted(
    site: AIPowerSite, body: bytes, content_type: str = "application/x-www-form-urlencoded", **headers: str
) -> Response | SiteRequest:
    headers = {"content-type": content_type, **headers}
    return site.receive(Request("POST", "/wp-admin/admin-ajax.php", {}, headers, body, "http://127.0.0.1:8090"))


def form(site: AIPowerSite, **changes: str) -> bytes:
    return urlencode({**question("hi", AIPowerBot(site.nonces.current(), "5"), "http://h", "c"), **changes}).encode()


def recorded_request(case: str, site: AIPowerSite) -> Response | SiteRequest:
    """The recorded request, with the nonce that this site would take."""
    head, _, body = corpus.request(f"ai-power-1.8.99/{case}").partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode().splitlines()[1:])
    headers = {name.lower(): value for name, _, value in lines if name not in ("Content-Type", "Content-Length")}
    return submitted(site, body.replace(b"94d05cd44b", site.nonces.current().encode()), **headers)


ECHO = [Text(text) for text in ("ech", "o: ", "hi ", "the", "re")]


@pytest.mark.parametrize(
    ("case", "events"),
    [
        ("02-success-json", [*ECHO, complete("stop")]),
        ("18-empty-reply-json", [complete("stop")]),
        ("50-upstream-401-json", [failed(errors.ReplyFailed("Incorrect API key provided: dummy."))]),
        (
            "66-upstream-unreachable-json",
            [
                failed(
                    errors.ReplyFailed(
                        "cURL error 7: Failed to connect to 127.0.0.1 port 8091 after 0 ms: Couldn't connect to server"
                    )
                )
            ],
        ),
    ],
)
def test_our_server_answers_whole_byte_for_byte_as_the_recorded_one(case: str, events: list[Event]) -> None:
    """The recorded request, the model's same pieces: the same status, content type and bytes."""
    reply = recorded_request(case, AIPowerSite(streams=False))
    assert isinstance(reply, SiteRequest)
    reply.writer.write(events)
    assert reply.writer.end() == corpus.body(f"ai-power-1.8.99/{case}")
    meta = corpus.meta(f"ai-power-1.8.99/{case}")
    assert (reply.writer.status, reply.writer.content_type) == (meta["status"], meta["content_type"])


@pytest.mark.parametrize(
    ("case", "model", "events"),
    [
        ("01-success-default-stream", "gpt-3.5-turbo", [*ECHO, complete("stop")]),
        ("61-upstream-cut-stream", "gpt-4o-mini", [Text("c0 "), Text("c1 "), Text("c2 "), truncated("cut")]),
    ],
)
def test_our_server_streams_byte_for_byte_as_the_recorded_one(case: str, model: str, events: list[Event]) -> None:
    """An answer, and one that the model broke off."""
    writer = StreamWriter("chatcmpl-rig", 1700000000, model)
    assert writer.write(events) + writer.end() == corpus.body(f"ai-power-1.8.99/{case}")
    assert writer.content_type == corpus.meta(f"ai-power-1.8.99/{case}")["content_type"]


def test_a_failure_is_streamed_as_the_recorded_one() -> None:
    """Word by word, twice, no ``[DONE]``: the recorded bytes, but for the words that the plugin broke its own JSON with."""
    recorded = corpus.body("ai-power-1.8.99/57-upstream-quote-error-stream").split(b"\n\n")[:-1]
    sound = [event for event in recorded if all(word not in event for word in (b"quoted", b"temp", "é".encode()))]
    writer = StreamWriter("chatcmpl-1", 1)
    body = writer.write([failed(errors.ReplyFailed("Bad value in line"))]) + writer.end()
    assert body == b"".join(event + b"\n\n" for event in sound)


def test_our_server_refuses_as_the_recorded_one() -> None:
    """A wrong nonce is the recorded 403, byte for byte; without one the same, without a page to go back to no link."""
    site = AIPowerSite()
    recorded = "ai-power-1.8.99/21-wrong-nonce"
    reply = recorded_request("21-wrong-nonce", site)
    assert isinstance(reply, Response)
    assert (reply.status, reply.content_type, reply.body) == (403, corpus.meta(recorded)["content_type"], corpus.body(recorded))
    for referer in ("", "http://elsewhere/", "http://127.0.0.1:80901/", "http://127.0.0.1:8090@elsewhere/"):
        for body in (form(site, _wpnonce=""), form(site).replace(b"_wpnonce=", b"x=")):
            reply = submitted(site, body, referer=referer)
            assert isinstance(reply, Response)
            assert (reply.status, reply.body) == (403, b"The link you followed has expired.")


def test_what_is_no_ask_is_refused() -> None:
    """An unknown action, a JSON body, a GET are 400 with «0»; an empty message, and what PHP takes for one, an error."""
    site = AIPowerSite()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    get = Request("GET", "/wp-admin/admin-ajax.php", {}, kind, form(site), "http://h")
    for wrong in (
        submitted(site, form(site, action="heartbeat")),
        submitted(site, b'{"action":"wpaicg_chat_shortcode_message"}', "application/json"),
        submitted(site, b""),
        site.receive(get),
    ):
        assert isinstance(wrong, Response)
        assert (wrong.status, wrong.body) == (400, b"0")
    for message in ("", "0"):
        empty = submitted(site, form(site, message=message))
        assert isinstance(empty, Response)
        assert type(read_pieces(Reader(), [empty.body]).error) is errors.ReplyFailed
    elsewhere = site.receive(Request("GET", "/feed", {}, {}, b"", "http://h"))
    assert isinstance(elsewhere, Response)
    assert elsewhere.status == 404


def test_the_widgets_action_is_known() -> None:
    """Old clients of these sites used it with the shortcode's nonce."""
    site = AIPowerSite()
    assert isinstance(submitted(site, form(site, action="wpaicg_chatbox_message")), SiteRequest)


def test_a_nonce_holds_for_12_to_24_hours() -> None:
    """One from the end of a tick for 12 hours, one from its beginning for 24; the page has the next one meanwhile."""
    now = 0.0
    site = AIPowerSite(clock=lambda: now, rng=random.Random(1))
    hours = 3600.0

    def holds(nonce: str) -> bool:
        return isinstance(submitted(site, form(site, _wpnonce=nonce)), SiteRequest)

    early = site.nonces.current()
    now = 11.9 * hours
    assert bot_of(site.page("http://h"), "http://h").nonce == early
    now = 23.9 * hours
    late = bot_of(site.page("http://h"), "http://h").nonce
    assert holds(early)
    assert late != early
    now = 24.1 * hours
    assert not holds(early)
    assert holds(late)
    site.nonces.expire()
    assert not holds(late)
    assert holds(bot_of(site.page("http://h"), "http://h").nonce)


def test_the_limit_is_a_guests() -> None:
    """Over the limit the recorded refusal, byte for byte; another guest is not meant."""
    for streams in (True, False):
        site = AIPowerSite(streams=streams, asks=1)
        assert isinstance(submitted(site, form(site)), SiteRequest)
        reply = submitted(site, form(site))
        assert isinstance(reply, Response)
        assert type(read_pieces(Reader(), [reply.body]).error) is errors.LimitReached
        if streams:
            assert reply.body == corpus.body("ai-power-1.8.99/64-limit-reached-stream")
        assert isinstance(submitted(site, form(site, wpaicg_chat_client_id="other")), SiteRequest)


def test_only_so_many_guests_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who makes up a guest an ask does not fill the memory: the longest away is forgotten first."""
    monkeypatch.setattr(ai_power_site, "_CLIENTS", 2)
    site = AIPowerSite(asks=1)
    taken = [isinstance(submitted(site, form(site, wpaicg_chat_client_id=guest)), SiteRequest) for guest in "abbcba"]
    assert taken == [True, True, False, True, False, True]


def test_our_page_is_the_recorded_one() -> None:
    """Byte for byte, but for the nonce; a site that does not stream says so; an address cannot break out of its attribute."""
    site = AIPowerSite()
    recorded = corpus.body("ai-power-1.8.99/00-page").decode()
    assert site.page("http://127.0.0.1:8090/chat-power") == recorded.replace("94d05cd44b", site.nonces.current())
    assert 'data-openai_stream_nav="0"' in AIPowerSite(streams=False).page("http://h")
    page = site.receive(Request("GET", "/chat/", {}, {}, b"", 'http://h/"><p'))
    assert isinstance(page, Response)
    assert bot_of(page.body.decode(), "http://h/").url == 'http://h/"><p/chat'


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: "--b0" not in text and text != "0"))
def test_multipart_is_a_form_too(text: str) -> None:
    """A browser's FormData is understood, whatever letters and line ends are in it."""
    site = AIPowerSite()
    fields = question(text, AIPowerBot(site.nonces.current(), "5"), "http://h", "c")
    parts = "".join(
        f'--b0\r\nContent-Disposition: form-data; name="{escape(name)}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    reply = submitted(site, (parts + "--b0--\r\n").encode(), "multipart/form-data; boundary=b0")
    assert isinstance(reply, SiteRequest)
    assert reply.text == text


def test_multipart_as_clients_write_it() -> None:
    """Boundaries and names in quotes or without, other headers, a file beside, the same field twice: PHP takes the last."""
    site = AIPowerSite()
    heads = {
        'Content-Disposition: form-data; name="_wpnonce"': site.nonces.current(),
        "content-disposition: form-data; name=action": "wpaicg_chat_shortcode_message",
        'Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name="message"': "first",
        'Content-Disposition: form-data; name="message"\r\nContent-Transfer-Encoding: base64': "Привет",
        'Content-Disposition: form-data; name="audio"; filename="message"\r\nContent-Type: audio/wav': "RIFF",
    }
    body = "before" + "".join(f"\r\n--b 0\r\n{head}\r\n\r\n{value}" for head, value in heads.items()) + "\r\n--b 0--\r\nafter"
    reply = submitted(site, body.encode(), 'Multipart/Form-Data; charset=utf-8; boundary="b 0"')
    assert isinstance(reply, SiteRequest)
    assert reply.text == "Привет"


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([b"--b0", b"\r\n", b"Content-Disposition: form-data; ", b'name="action"', b"--"])
        | st.binary(max_size=6)
    )
)
def test_no_body_brings_the_site_down(parts: list[bytes]) -> None:
    """Any bytes, as any kind of form, are a refusal and not a crash."""
    for content_type in ("multipart/form-data; boundary=b0", "multipart/form-data", "application/x-www-form-urlencoded", "=?;"):
        reply = submitted(AIPowerSite(), b"".join(parts), content_type)
        assert isinstance(reply, Response)
        assert reply.status == 400


@pytest.mark.parametrize("body", [b"--b0", b"", b"\xff" * 50, b"--b0\r\n\r\n\r\n--b0--"])
def test_a_broken_multipart_is_refused(body: bytes) -> None:
    """Nonsense is an unknown action and not a crash."""
    reply = submitted(AIPowerSite(), body, "multipart/form-data; boundary=b0")
    assert isinstance(reply, Response)
    assert reply.status == 400


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], []),
        ([{"id": 1, "text": "Human: one"}, {"id": 2, "text": "AI: two"}], [("user", "one"), ("assistant", "two")]),
        ([{"id": 1, "text": 'Human: say "hello"'}, {"id": 2, "text": "AI: ok"}], []),
        ([{"id": 1, "text": "Human: a\nb <b>c</b>"}], [("user", "anb c")]),
        ([{"id": 1, "text": "Human: П"}], [("user", "u041f")]),
        ([{"id": 1, "text": "Human: C:\\temp"}], [("user", "C:temp")]),
        (["Human: one", "AI: two", " "], [("user", "one"), ("assistant", "two")]),
        ([{"text": 7}, None, {"text": "hello"}], [("assistant", "hello")]),
        ({"text": "Human: one"}, []),
    ],
)
def test_history_is_mangled_as_the_real_one_mangles_it(history: Any, expected: list[tuple[str, str]]) -> None:
    """Quotes lose all of it, newlines become n, escapes lose their backslash, tags vanish: why our client does not use it."""
    site = AIPowerSite()
    reply = submitted(site, form(site, wpaicg_chat_history=json.dumps(history)))
    assert isinstance(reply, SiteRequest)
    assert [(m["role"], m["content"]) for m in reply.messages] == [*expected, ("user", "hi")]


def test_the_recorded_history_is_lost_here_too() -> None:
    """What the recorded server's model got of a history with quotes: nothing but the message."""
    reply = recorded_request("74-history-quotes", AIPowerSite())
    assert isinstance(reply, SiteRequest)
    recorded = json.loads(json.loads(corpus.body("ai-power-1.8.99/74-history-quotes"))["data"])
    assert reply.messages == recorded[1:]  # the first is the bot's own context


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)), st.booleans(), st.integers(1, 60), st.randoms())
def test_what_the_server_writes_the_client_reads(texts: list[str], streams: bool, step: int, rng: random.Random) -> None:
    """Any text, streamed or whole, at any cut, arrives as it was; no text is an empty reply."""
    writer = StreamWriter("chatcmpl-1", 1) if streams else WholeWriter()
    body = writer.write([*[Text(text) for text in texts], complete("length")]) + writer.end()
    reply = read_pieces(Reader(), [body[i : i + step] for i in range(0, len(body), step)])
    whole = "".join(texts)
    if whole.strip() or (streams and texts):
        assert (reply.text, reply.finish) == (whole, complete("length" if streams else None))
    else:
        assert type(reply.error) is errors.EmptyReply


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("before", [[], [Text("so far")]])
@pytest.mark.parametrize("end", [failed(errors.ReplyFailed('no "way"\nout')), failed(errors.ReplyFailed("")), truncated("cut")])
def test_a_backends_failure_never_reads_as_an_answer(streams: bool, before: list[Event], end: Finish) -> None:
    """What our server writes of a failed or cut answer, our client takes for a failure."""
    writer = StreamWriter("chatcmpl-1", 1) if streams else WholeWriter()
    body = writer.write([*before, end]) + writer.end()
    assert read_pieces(Reader(), [body]).finish.verdict != "complete"


def test_an_answer_without_its_end_is_an_error() -> None:
    """A whole answer that was never finished is not passed off as one."""
    writer = WholeWriter()
    writer.write([Text("so far")])
    assert type(read_pieces(Reader(), [writer.end()]).error) is errors.ReplyFailed


@pytest.mark.parametrize("prompt", ['say "x"\n\\n', "Привет <b>мир</b>", "\\u041f", "[]", "00", " 0", "x" * 100_000])
def test_a_message_goes_as_it_is(prompt: str) -> None:
    """Quotes, newlines, backslashes, tags and length are no matter in ``message``: the server gets the same text."""
    site = AIPowerSite()
    reply = submitted(
        site, urlencode(question(checked(prompt), AIPowerBot(site.nonces.current(), "5"), "http://h", "c")).encode()
    )
    assert isinstance(reply, SiteRequest)
    assert (reply.text, reply.messages) == (prompt, [{"role": "user", "content": prompt}])
