"""A conversation is plain only where its roles and texts are all of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.calls.plain_conversation import MAX_MESSAGES, plain_conversation
from polychat.errors import BadInput
from polychat.types import ChatMessage, TextPart
from polychat.wire.openai_chat import read_messages

TEXTS = st.sampled_from(["Why?", "Because.", "", " \n", "half \ud83d", 1, None, ["Why?"], [{"type": "text", "text": "Why?"}]])
ROLES = st.sampled_from(["system", "user", "assistant", "developer", "tool", "User", "", 1, None, ["user"]])
MESSAGES = st.one_of(
    st.fixed_dictionaries({"role": ROLES, "content": TEXTS}, optional={"name": st.just("Ada"), "cache_control": st.just({})}),
    st.builds(
        lambda role, parts, name: ChatMessage(role, parts, name),
        st.sampled_from(["system", "user", "assistant"]),
        st.lists(st.builds(TextPart, st.sampled_from(["Why?", ""]), st.sampled_from([None, "5m"])), max_size=2),
        st.sampled_from([None, "Ada"]),
    ),
    st.sampled_from([None, "Why?", {}]),
)


@given(st.lists(MESSAGES, max_size=4))
def test_it_is_what_is_read_of_it(messages: list[Any]) -> None:
    """The messages of a plain conversation are those that the reader makes of it, whatever is in the list."""
    plain = plain_conversation(messages)
    if plain is None:
        return
    assert plain.messages() == read_messages(messages)
    assert all(map(str.strip, plain.texts))
    assert plain.roles[-1] == "user"


@pytest.mark.parametrize(
    "prompt",
    ["Why?", (), [], [{"role": "user", "content": "Why?"}] * (MAX_MESSAGES + 1), [{"role": "assistant", "content": "a"}]],
)
def test_what_is_not_plain(prompt: Any) -> None:
    """Text, other sequences, none and very many messages, and a conversation that asks nothing."""
    assert plain_conversation(prompt) is None


def test_the_usual_conversation_is_plain() -> None:
    """As people write it, and with a reply's turn in it; a later change of the list changes nothing."""
    messages: list[Any] = [{"role": "user", "content": "Why?"}, ChatMessage("assistant", [TextPart("Because.")])]
    messages.append({"role": "user", "content": "Oh."})
    plain = plain_conversation(messages)
    messages[0]["content"] = "What?"
    assert plain == (("user", "assistant", "user"), ("Why?", "Because.", "Oh."))
    with pytest.raises(BadInput):
        read_messages([*messages, {"role": ["user"], "content": "a"}])
    assert plain_conversation([*messages, {"role": ["user"], "content": "a"}]) is None
