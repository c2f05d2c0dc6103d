"""Calls with the same options share what does not depend on the prompt, and nothing else."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import polychat
from polychat.client.prepared import are_lasting, call_key
from polychat.client.targets import targets_of
from polychat.config import Config
from polychat.errors import BadInput
from polychat.events import Finish, Start, Text

from ..support.scripted_vendors import ScriptedVendor

HELLO = [[Start("one", "m")], [Text("Hello")], [Finish("complete", "stop")]]


def options(url: str) -> dict[str, Any]:
    return {"model": "openai/m", "base_url": f"{url}/v1", "api_key": "long-enough-a-key"}


async def test_each_call_sends_its_own_prompt(serve: Any) -> None:
    """With the same options, with others, and with a prompt that JSON must escape."""
    server = await serve(ScriptedVendor("openai-chat", HELLO))
    prompts = ["one", 'two "quoted"\n\u2028', "three \N{SNOWMAN}"]
    for system in (None, "Be brief."):
        for prompt in prompts:
            assert (await polychat.ask(prompt, system=system, temperature=0.5, **options(server.url))).text == "Hello"
    bodies = [json.loads(seen.body) for seen in server.seen]
    assert [body["messages"][-1]["content"] for body in bodies] == prompts * 2
    assert [len(body["messages"]) for body in bodies] == [1, 1, 1, 2, 2, 2]
    assert all(body["temperature"] == 0.5 for body in bodies)


async def test_each_call_sends_its_own_conversation(serve: Any) -> None:
    """As it was when it was called; what calls of a kept body send is what the first one sent, which is written for itself."""
    server = await serve(vendor := ScriptedVendor("openai-chat", HELLO))
    messages: list[Any] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    for system in (None, "Be brief.", " "):
        for _ in range(3):
            assert (await polychat.ask(messages, system=system, **options(server.url))).text == "Hello"
        for _ in range(3):
            stream = polychat.stream(messages, system=system, **options(server.url))
            kept, messages[0] = messages[0], {"role": "user", "content": "later"}
            assert (await stream.whole()).text == "Hello"
            messages[0] = kept
    sent = [seen.body for seen in server.seen]
    assert [sent[place] for place in range(0, 18, 3)] == sent[1::3] == sent[2::3]
    assert [request.messages[-3:] for request in vendor.asks] == [vendor.asks[0].messages] * 18
    other = [{"role": "user", "content": "ä"}, messages[1], {"role": "user", "content": "\u2028"}]
    await polychat.ask(other, **options(server.url))
    assert [message["content"] for message in json.loads(server.seen[-1].body)["messages"]] == ["ä", "b", "\u2028"]
    with pytest.raises(BadInput, match=r"messages\[1\].content"):
        await polychat.ask([*messages[:1], {"role": "assistant", "content": "\ud83d"}, *messages[2:]], **options(server.url))


async def test_bodies_of_many_conversations_are_not_all_kept(serve: Any) -> None:
    """Each of another length is answered; only so many bodies stay."""
    server = await serve(ScriptedVendor("openai-chat", HELLO))
    targets = targets_of(Config())
    client = polychat.Client("openai/m", config=Config())
    client._configured = targets
    for count in [*range(1, 50), *range(1, 50)]:
        turns = [{"role": "user", "content": f"{number}"} for number in range(count)]
        assert (await client.ask(turns, base_url=f"{server.url}/v1", api_key="long-enough-a-key")).text == "Hello"
        assert len(json.loads(server.seen[-1].body)["messages"]) == count
    (prepared,) = targets._prepared.values()
    assert len(prepared._compiled) <= 32
    assert len(prepared.starts) <= 32


async def test_a_prompt_that_cannot_be_sent_is_refused_as_ever(serve: Any) -> None:
    """Half a surrogate pair is named with its place, whether or not calls went before with these options."""
    server = await serve(ScriptedVendor("openai-chat", HELLO))
    for _ in range(2):
        with pytest.raises(BadInput, match=r"messages\[0\].content"):
            await polychat.ask("a\ud83d", **options(server.url))
        await polychat.ask("a", **options(server.url))


async def test_an_invalid_option_is_reported_by_each_call() -> None:
    """At the call, before anything is read; also one that is equal to a valid one of an earlier call."""
    polychat.stream("hi", model="openai/m", n=1)
    for _ in range(2):
        with pytest.raises(BadInput, match="n is"):
            polychat.stream("hi", model="openai/m", n=True)


@pytest.mark.parametrize("changing", [{"images": "a.png"}, {"files": "a.pdf"}, {"stop": ["a"]}, {"tools": len}])
def test_options_that_may_change_are_read_by_each_call(changing: dict[str, Any]) -> None:
    """Names of files, whose contents are those of the moment; lists and objects."""
    assert not are_lasting(changing)
    assert are_lasting({"seed": 1, "system": None})
    assert call_key("m", None, False, {"seed": 1}) != call_key("m", None, False, {"seed": True})


async def test_a_reply_that_is_left_gives_its_connection_up(serve: Any) -> None:
    """Left within its block, and dropped without one: both are closed, and the next call is answered."""
    server = await serve(ScriptedVendor("openai-chat", HELLO))
    async with polychat.stream("hi", **options(server.url)) as reply:
        assert await anext(reply) == "Hello"
    assert reply.verdict == "cancelled"
    dropped = polychat.stream("hi", **options(server.url))
    assert await anext(dropped) == "Hello"
    del dropped
    gc.collect()
    assert (await polychat.ask("hi", **options(server.url))).text == "Hello"


LASTING: Any = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())


@given(st.text(), st.none() | st.text(), st.dictionaries(st.text(), LASTING, max_size=4), st.booleans())
def test_a_kept_call_is_found_by_the_key_under_which_it_is_kept(
    target: str, system: str | None, given_options: dict[str, Any], streamed: bool
) -> None:
    """``Targets.kept`` makes the key of ``call_key`` in its own place: whatever the options are, it is the same."""
    targets, call = targets_of(Config()), object()
    targets._prepared = {call_key(target, system, streamed, given_options): call}  # type: ignore[dict-item]
    assert targets.kept(target, system, given_options, streamed=streamed) is call
    assert targets.kept(target, system, given_options, streamed=not streamed) is None
    assert targets.kept(target, system, {**given_options, "more": 1}, streamed=streamed) is (
        call if given_options.get("more") == 1 and type(given_options["more"]) is int else None
    )
