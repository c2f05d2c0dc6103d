"""A request whose body was made of a compiled one is the request that its wire's writer writes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polychat.backends.builtin import known
from polychat.backends.compiled import STAND_IN, compiled
from polychat.backends.vendor import VendorBackend
from polychat.calls.info import CallInfo
from polychat.calls.request import request_of, system_first
from polychat.types import ChatRequest

BACKENDS = [VendorBackend(row) for row in known().values()]
KEYWORDS: list[dict[str, Any]] = [{}, {"max_tokens": 50, "temperature": 0.5}, {"reasoning": "low"}, {"stop": "END", "seed": 1}]


def request(prompt: str, system: str | None = None, *, stream: bool = True, **keywords: Any) -> ChatRequest:
    made, _ = request_of(prompt, "some-model", keywords)
    system_first(made, system)
    made.stream = stream
    made.stream_usage = stream or None
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


def test_a_request_that_loses_something_is_written_each_time() -> None:
    """Each is reported, or refused, for itself."""
    backend = VendorBackend(known()["anthropic"])
    assert backend.compiled(request(STAND_IN, seed=1)) is None
    assert backend.compiled(request(STAND_IN)) is not None


@pytest.mark.parametrize("body", ['{"a":"%s","b":"%s"}', '{"a":"%s","b":"x%s"}', '{"a":"x%s"}', '{"a":"b"}'])
def test_a_body_that_does_not_contain_the_prompt_exactly_once_is_not_kept(body: str) -> None:
    """A writer that joins it with other text, or says it twice, is asked for each prompt."""
    assert compiled(body.replace("%s", STAND_IN).encode(), "/chat", streamed=False) is None
