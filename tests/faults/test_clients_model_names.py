"""Kind: an answer that passes through tells the backend's name for the model, and the client asked for another."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from polychat.config.settings import Limits
from polychat.events import Event, Finish, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.gateway.dialects.dialect import InboundChat
from polychat.gateway.paths import DIALECTS
from polychat.wire.contract import names, wire_named
from polychat.wire.naming import Naming, named_body

from ..support.gateway_for_clients import before, house
from ..support.random_conversations import ask_for
from ..support.running_gateway import asking
from ..support.scripted_server import Say, Seen

SERVED = 'sm/all-"2026"'
ARGUMENTS = json.dumps({"model": SERVED, "modelVersion": SERVED, "response": {"model": SERVED}}, separators=(",", ":"))
ANSWER: list[list[Event]] = [
    [Start("one", SERVED), Reasoning("Hm.")],
    [Text(f'Hello from "model":"{SERVED}"')],
    [Text(" and the rest")],
    [ToolCallPiece(0, "call_a", "pull", ARGUMENTS)],
    [Usage(11, 7, 18), Finish("complete", "tool_calls")],
]
"""The text, and the call's arguments, say what looks like the model's name."""


def written_reply(name: str, model: str, *, stream: bool) -> bytes:
    """The answer as a wire tells it of this model."""
    writer = wire_named(name).writer(ask_for(stream), "one", 1_700_000_000, model)
    return b"".join([writer.write(batch) for batch in ANSWER]) + writer.end()


def passed(name: str, pieces: list[bytes], requested: str) -> bytes:
    """The pieces behind a dialect's own monitor, with the asked name in them."""
    dialect = DIALECTS[name]
    monitor = dialect.monitor(InboundChat(dialect, b"", {}, None, requested, True, Limits(), True))
    naming = Naming(dialect.model_member, requested, dialect.piece_end)
    out = [naming.feed(monitor.feed(piece), monitor.served) for piece in pieces]
    return b"".join([*out, naming.feed(monitor.end(), monitor.served), naming.end()])


@pytest.mark.parametrize("name", names())
def test_a_stream_at_every_cut(name: str) -> None:
    """Wherever the network cuts it, what passes is what a backend would say that knew the model by the asked name."""
    body, expected = written_reply(name, SERVED, stream=True), written_reply(name, "house/ünser", stream=True)
    for at in range(len(body)):
        assert passed(name, [body[:at], body[at:]], "house/ünser") == expected
    assert passed(name, [body[at : at + 1] for at in range(len(body))], "house/ünser") == expected


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("spaced", [False, True])
def test_a_whole_reply(name: str, spaced: bool) -> None:
    """The reply's own member alone is another, however it is spaced."""
    body, expected = written_reply(name, SERVED, stream=False), written_reply(name, "fast", stream=False)
    if spaced:
        body, expected = (json.dumps(json.loads(one), indent=2).encode() for one in (body, expected))
    renamed = named_body(body, DIALECTS[name].model_member, SERVED, "fast")
    assert json.loads(renamed) == json.loads(expected)
    if name not in ("gemini", "ollama", "anthropic"):  # whose calls are objects, with members of the same name
        assert renamed == expected


@pytest.mark.parametrize("requested", ["house/small", "fast", "other"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", names())
async def test_the_requested_name_is_in_the_reply(name: str, stream: bool, requested: str) -> None:
    """By a provider's name, a route's and an alias's, in dialects whose clients compare it; the record knows the backend's.

    In all other dialects a reply that passes is the backend's, byte for byte.
    """
    async with house(name, ANSWER, routes={"fast": ("house/small",)}, aliases={"other": "house/small"}) as (here, _):
        answer = await here.ask(*asking(name, requested, stream=stream))
        (record,) = await here.app.recorded()
    assert (record.passthrough, record.verdict, record.served) == (True, "complete", "small")
    model_names = set(re.findall(rb'"%b": ?"([^"]*)"' % DIALECTS[name].model_member.encode(), answer.body))
    expected = requested.encode() if DIALECTS[name].compares else b"small"
    assert expected in model_names
    assert {expected} == model_names & {requested.encode(), b"small"}


@pytest.mark.parametrize("name", names())
async def test_nothing_is_touched_where_the_name_is_the_same(name: str) -> None:
    """What the backend says of a model that it was asked for by the client's own name stays, a longer name too."""
    pieces = written_reply(name, "small-2026", stream=True)

    async def backend(seen: Seen, say: Say) -> None:
        await say.stream([pieces], DIALECTS[name].stream_type)

    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if name == "openai-chat" else {}
    async with before({"house": (name, backend)}, aliases={"small": "house/small"}) as here:
        answer = await here.ask(*asking(name, "small", stream=True, **more))
    assert answer.body == pieces


async def test_a_list_of_models_tells_who_answered() -> None:
    """Whoever lists several models in the chat dialect reads in the answer which of them it was."""
    async with house("openai-chat", ANSWER) as (here, _):
        answer = await here.ask(*asking("openai-chat", models=["house/other"]))
    assert answer.json["model"] == "small"


def test_a_stream_that_never_names_its_model() -> None:
    """Passes unit by unit as it came; a beginning without an end is not held without a bound."""
    naming = Naming("model", "fast", b"\n\n")
    assert naming.feed(b": hi\n\ndata: {", None) == b": hi\n\n"
    assert naming.feed(b"}\n\n", None) == b"data: {}\n\n"
    long = b"data: " + b"x" * 100_000
    assert naming.feed(long, None) == long
    assert naming.feed(b"\n\ndata: {}\n\n", "unheard") + naming.end() == b"\n\ndata: {}\n\n"


def test_a_long_line_is_not_held_whole() -> None:
    """Of a line that does not end a bounded part is held, and the name is found wherever the line was cut."""
    naming, begin = Naming("model", "fast", b"\n\n"), b'data: {"model":"m"}\n\n'
    assert naming.feed(begin, "m") == begin.replace(b'"m"', b'"fast"')
    line = b'data: {"x":"' + b"y" * 200_000 + b'","model":"m","z":"' + b"y" * 200_000 + b'"}\n\n'
    passed, most = b"", 0
    for at in range(0, len(line), 997):
        passed += naming.feed(line[at : at + 997], "m")
        most = max(most, at + 997 - len(passed))
    assert passed == line.replace(b'"m"', b'"fast"')
    assert most < 100_000


def test_a_name_that_is_cut_amid_a_long_line() -> None:
    """Is found at every cut, though what came before it did not wait for the rest."""
    begin, long = b'data: {"model":"small-1"}\n\n', b'data: {"x":"' + b"y" * 100_000 + b'",'
    line = long + b'"model":"small-1","z":1}\n\n'
    for at in range(len(long), len(line)):
        naming = Naming("model", "fast", b"\n\n")
        naming.feed(begin, "small-1")
        first = naming.feed(line[:at], "small-1")
        assert len(first) > 90_000
        assert first + naming.feed(line[at:], "small-1") == line.replace(b'"small-1"', b'"fast"')
