"""What GPTalk hears: the stream's bytes, and the replies to login and ask."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat import errors
from polychat.events import Finish, Text
from polychat.providers._gptalk_stream import Reader
from polychat.providers.gptalk import read_ask, read_login
from polychat.wire.framing import data_line

from ..support import corpus
from ..support.read_replies import merged, read_pieces

REPLY = b"".join(data_line({"content": whole}) for whole in ("При", "Привет", "Привет \u2028!")) + b"data: [DONE]\n\n"


def test_the_stream_at_every_split() -> None:
    """However the network cuts it, with any line ends, the reply is the same text and one verdict."""
    for body in (REPLY, REPLY.replace(b"\n", b"\r\n"), REPLY.replace(b"\n\n", b"\n").rstrip()):
        for pieces in corpus.splits(body):
            assert merged(read_pieces(Reader(), pieces)) == ("Привет \u2028!", [], "complete", "None")


def test_each_piece_is_what_is_new() -> None:
    """A step gives the difference to the one before; one that adds nothing gives nothing."""
    lines = (
        b"".join(data_line({"content": whole, "message": "ok", "code": 0}) for whole in ("", "a", "a", "a b")) + b"data: [DONE]"
    )
    assert read_pieces(Reader(), [lines]).events == [Text("a"), Text(" b"), Finish("complete")]


@pytest.mark.parametrize(
    ("body", "text", "error", "says"),
    [
        (REPLY.removesuffix(b"data: [DONE]\n\n"), "Привет \u2028!", errors.Truncated, "DONE"),
        (data_line({"content": "ab"}).rstrip(), "ab", errors.Truncated, "DONE"),
        (REPLY[:-40], "Привет", errors.Truncated, "within a line"),
        (b"", "", errors.Truncated, "DONE"),
        (b"data: [DONE]\n\n", "", errors.EmptyReply, "without any text"),
        (data_line({"content": " \n"}) + b"data: [DONE]\n\n", " \n", errors.EmptyReply, "without any text"),
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
    ids=lambda value: repr(value[:40] if isinstance(value, bytes) else value)[:40],
)
def test_no_failure_passes_for_an_answer(body: bytes, text: str, error: type[Exception], says: str) -> None:
    """What is not a stream to its [DONE] ends in its error, after what came before it."""
    reply = read_pieces(Reader(), [body])
    assert reply.text == text
    assert type(reply.error) is error
    assert says in str(reply.error)
    assert reply.finish.verdict == ("truncated" if error is errors.Truncated else "failed")


@given(
    st.lists(
        st.binary(max_size=60) | st.sampled_from([REPLY, b"data: ", b"\n", b'{"content": "a"}', b"[DONE]", b"{"]), max_size=12
    )
)
def test_the_reader_never_raises(pieces: list[bytes]) -> None:
    """Any bytes come to one ``Finish``."""
    assert read_pieces(Reader(), pieces).finish


def test_what_a_login_contains() -> None:
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
        (b'{"data": {"token": ""}}', errors.BadReply, "data.token"),
        (b'{"data": {"token": 5}}', errors.BadReply, "data.token"),
        (b'{"data": {"token": "a\\r\\nX: s3cr3t"}}', errors.BadReply, "cannot be sent in a header"),
        (b'{"code": 7, "msg": "no guests", "data": {"token": null}}', errors.ReplyFailed, "no guests"),
        (b'{"code": 7, "message": "no guests"}', errors.ReplyFailed, "no guests"),
        (b'{"code": 7, "msg": "no guests", "data": null}', errors.ReplyFailed, "no guests"),
        (b'{"code": 7, "data": []}', errors.ReplyFailed, "7"),
        (b'{"code": 7, "msg": "bad token=s3cr3t"}', errors.ReplyFailed, "bad token"),
    ],
    ids=lambda value: repr(value[:40] if isinstance(value, bytes) else value)[:40],
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
