"""A request whose body was made of a compiled one is the request that its wire's writer writes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polychat.backends.builtin import known
from polychat.backends.compiled import STAND_IN, compiled, stand_ins
from polychat.backends.vendor import VendorBackend
from polychat.calls.info import CallInfo
from polychat.calls.request import request_of, system_first
from polychat.types import ChatMessage, ChatRequest, Role, TextPart

BACKENDS = [VendorBackend(row) for row in known().values()]
KEYWORDS: list[dict[str, Any]] = [{}, {"max_tokens": 50, "temperature": 0.5}, {"reasoning": "low"}, {"stop": "END", "seed": 1}]


def request(prompt: str, system: str | None = None, *, stream: bool = True, **keywords: Any) -> ChatRequest:
    made, _ = request_of(prompt, "some-model", keywords)
    system_first(made, system)
    made.stream = stream
    made.stream_usage = stream or None
    return made


def conversation(roles: list[Role], texts: list[str], *, stream: bool) -> ChatRequest:
    made = request("", stream=stream)
    made.messages = [ChatMessage(role, [TextPart(text)]) for role, text in zip(roles, texts, strict=True)]
    return made


def written(backend: VendorBackend, request: ChatRequest) -> bytes:
    return backend._written(request, CallInfo("report"), backend.tag())[2]


@settings(max_examples=20)
@example(prompt="", keywords={}, stream=True)
@example(prompt=" \n", keywords={}, stream=False)
@example(prompt="half \ud83d", keywords={}, stream=True)
@given(prompt=st.text(), keywords=st.sampled_from(KEYWORDS), stream=st.booleans())
@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_another_prompt_gives_the_body_that_the_writer_gives(
    backend: VendorBackend, system: str | None, prompt: str, keywords: dict[str, Any], stream: bool
) -> None:
    """Of every vendor, with and without a system message and options, for any prompt but those that are treated otherwise."""
    compiled_request = backend.compiled(request(STAND_IN, system, stream=stream, **keywords))
    if compiled_request is None:
        assert keywords  # plain text goes to all of them, and nothing of it is lost
        return
    body = compiled_request.body(prompt)
    if body is None:
        assert not prompt.strip() or "\ud83d" in prompt
        return
    assert body == written(backend, request(prompt, system, stream=stream, **keywords))


@settings(max_examples=20)
@example(
    messages=[("system", "Be brief."), ("user", "a"), ("system", "Be kind."), ("assistant", "b \n"), ("user", "c")], stream=True
)
@example(messages=[("user", "a"), ("user", "a"), ("assistant", stand_ins(3)[2]), ("user", stand_ins(3)[0])], stream=False)
@example(messages=[("assistant", "a"), ("assistant", "half \ud83d"), ("user", "b")], stream=True)
@example(messages=[("user", "a"), ("assistant", " "), ("user", "b")], stream=True)
@given(
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), max_size=6).map(
        lambda messages: [*messages, ("user", "And now?")]
    ),
    stream=st.booleans(),
)
def test_other_texts_give_the_body_that_the_writer_gives(messages: list[tuple[Role, str]], stream: bool) -> None:
    """Of a conversation with any roles in any order, to every vendor; turns of user and assistant are compiled for each."""
    roles, texts = [role for role, _ in messages], [text for _, text in messages]
    for backend in BACKENDS:
        compiled_request = backend.compiled(conversation(roles, stand_ins(len(roles)), stream=stream))
        if compiled_request is None:
            spoken = roles[roles[0] == "system" :]
            assert spoken != ["user", "assistant", "user", "assistant", "user"][-len(spoken) :], backend.name
        elif (body := compiled_request.body_of(texts)) is None:
            assert not all(map(str.strip, texts)) or any("\ud800" <= letter <= "\udfff" for letter in "".join(texts))
        else:
            assert body == written(backend, conversation(roles, texts, stream=stream)), backend.name


def test_a_request_that_loses_something_is_written_each_time() -> None:
    """Each is reported, or refused, for itself."""
    backend = VendorBackend(known()["anthropic"])
    assert backend.compiled(request(STAND_IN, seed=1)) is None
    assert backend.compiled(request(STAND_IN)) is not None


@pytest.mark.parametrize("body", ['{"a":"%s","b":"%s"}', '{"a":"%s","b":"x%s"}', '{"a":"x%s"}', '{"a":"b"}'])
def test_a_body_that_does_not_contain_the_prompt_exactly_once_is_not_kept(body: str) -> None:
    """A writer that joins it with other text, or says it twice, is asked for each prompt."""
    assert compiled(body.replace("%s", STAND_IN).encode(), "/chat", streamed=False) is None
