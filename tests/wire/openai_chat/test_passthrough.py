"""Replies that pass whole: what is recorded of them without decoding their answers."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from polychat.wire.openai_chat import read_reply
from polychat.wire.openai_chat.passthrough import ending_of
from polychat.wire.openai_chat.usual_bodies import UsualCompletion, UsualPrompt, UsualUsage
from polychat.wire.passthrough import ending_in

_COUNTS = st.one_of(st.integers(-1, 30), st.sampled_from([None, 1.0, 1.5, True, "1", 2**70, [], {}]))


def _members(kind: Any, *more: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = (*kind.__struct_fields__, *more)
    return st.fixed_dictionaries({}, optional={name: known.get(name, _COUNTS) for name in names})


_USAGE = st.one_of(
    _COUNTS,
    _members(
        UsualUsage,
        *("prompt_cache_hit_tokens", "cost", "more"),
        prompt_tokens_details=st.one_of(_COUNTS, _members(UsualPrompt, "cache_write_tokens")),
        completion_tokens_details=st.one_of(_COUNTS, _members(UsualCompletion, "more")),
    ),
    st.builds(
        lambda prompt, answer: {"prompt_tokens": prompt, "completion_tokens": answer}, st.integers(0, 9), st.integers(0, 9)
    ),
)


@given(_USAGE, st.booleans())
@example(
    {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 6, "completion_tokens_details": {"reasoning_tokens": 3}}, True
)
def test_counts_that_pass_are_those_of_a_translated_reply(usage: Any, has_usage: bool) -> None:
    """In OpenAI's own form, in any vendor's, and where they make no sense."""
    reply = {"model": "small", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    body = json.dumps({**reply, "usage": usage} if has_usage else reply).encode()
    assert ending_of(body) == ending_in(read_reply(body))
