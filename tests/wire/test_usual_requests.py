"""Usual requests are decoded by type, and are what reading them member by member gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.wire.anthropic import request_reader as anthropic_reader
from polychat.wire.openai_chat import request_reader as openai_reader

READERS: list[Any] = [openai_reader, anthropic_reader]
TEXTS = st.sampled_from(["Hi", "Hi", "ä\u2028\x00", "", None, 3, [{"type": "text", "text": "Hi"}]])
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "user", "assistant", "system", "tool", "developer", "", None]), "content": TEXTS},
    optional={"name": st.just("n"), "more": st.none()},
)
COUNTS = st.sampled_from([1, 5, 2**70, 0, -1, 0.5, 1e400, "5", None, True, [], {}])
REQUESTS = st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "m", "", None, 3]), "messages": st.one_of(st.lists(MESSAGES, max_size=3), st.none())},
    optional={
        **dict.fromkeys(("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k"), COUNTS),
        "stream": st.sampled_from([True, False, None, 1]),
        **dict.fromkeys(("stream_options", "system", "tools", "own"), st.sampled_from([None, {}, [], "x"])),
    },
)


def read(reader: Any, body: bytes) -> str:
    """The request, or the error."""
    try:
        return repr(reader.read_request(body))
    except BadInput as error:
        return f"{error} {error.field}"


def assert_equal(body: bytes) -> None:
    for reader in READERS:
        fast = read(reader, body)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader, "read_usual", lambda body, depth: None)
            assert read(reader, body) == fast


@given(value=REQUESTS)
@settings(max_examples=400, deadline=None)
def test_any_request_is_read_as_member_by_member(value: dict[str, Any]) -> None:
    """Whatever members it has, lacks or has of another type; the same errors name the same fields."""
    body = json.dumps(value).encode()
    assert_equal(body)
    assert_equal(body.replace(b'"Hi"', b'"\\ud83d"'))
    assert_equal(body.replace(b"{", b'{"model":"other","stream":true,', 1))


def test_the_usual_request_is_of_the_type() -> None:
    """Else nothing would be gained; a large one is not tried, and neither is one with a tool."""
    usual = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "stream": False,
    }
    for reader in READERS:
        assert reader.read_usual(json.dumps(usual).encode(), 3) is not None
        assert reader.read_usual(json.dumps({**usual, "tools": []}).encode(), 3) is None
        assert reader.read_usual(json.dumps(usual).encode() + b" " * 20_000, 3) is None
        assert reader.read_usual(json.dumps(usual).encode(), 2) is None


def test_a_number_stays_whole() -> None:
    """A vendor gets the number as the client wrote it, in a compiled build too: 1 is not 1.0."""
    message = {"role": "user", "content": "Hi"}
    body = {"model": "m", "messages": [message], "temperature": 1, "top_p": 0.5, "seed": 2, "logit_bias": {"5": 1}}
    request = openai_reader.read_request(json.dumps(body).encode())
    assert repr([request.temperature, request.top_p, request.seed, request.logit_bias]) == "[1, 0.5, 2, {'5': 1}]"
