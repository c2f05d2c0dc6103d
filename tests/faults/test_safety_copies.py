"""Kind: a large body that is held many times over while it is passed on or translated."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import re
import threading
import tracemalloc
from dataclasses import replace
from random import randbytes
from typing import Any

import pytest

from polychat.backends import vendor
from polychat.gateway.dialects import dialect as dialect_module
from polychat.gateway.paths import DIALECTS
from polychat.types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
    FilePart,
    ImagePart,
    Opaque,
    Part,
    ReasoningPart,
    TextPart,
    ToolCall,
    ToolResult,
)
from polychat.wire import json_text, placeholders
from polychat.wire.contract import wire_named
from polychat.wire.long_strings import LEAST

from ..support.gateway_for_clients import HELLO, before, house, site
from ..support.large_requests import (
    COPIES,
    LARGE,
    LONG,
    LONG_TEXT,
    PNG,
    WORDS,
    each_other,
    each_wire,
    everything_stays,
    exchanged,
    large,
    peak_of,
    request,
    with_media,
)
from ..support.scripted_vendors import ScriptedVendor

READ_AND_WRITTEN = 3.3
PDF = b"%PDF-1.7\n/Type /Page\n" * 9
BINARY = bytes(range(256)) * 2
SMALL = PNG + BINARY * (LEAST // 512)
"""As small as what stands aside can be, about."""


def with_result(*parts: TextPart | ImagePart | FilePart) -> ChatRequest:
    """A request whose tool gave this."""
    plain = with_media()
    plain.messages[2] = ChatMessage("tool", [ToolResult("call_1", list(parts), "f")])
    return plain


def with_call(arguments: dict[str, Any]) -> ChatRequest:
    """A request whose tool was called with this."""
    plain = with_media()
    plain.messages[1] = ChatMessage("assistant", [ToolCall("call_1", "f", json_text.encoded(arguments).decode())])
    return plain


def thinking() -> ChatMessage:
    """A turn of long thoughts, which have a signature."""
    return ChatMessage("assistant", [ReasoningPart(WORDS * 1500, Opaque("anthropic", "c2ln")), TextPart("so")])


@pytest.mark.parametrize("kind", ["image", "tool", "format", "text"])
@each_other
@each_wire
async def test_a_large_request_costs_three_times_its_size_at_most(come: str, to: str, kind: str) -> None:
    """Passed, and translated: of an image, a tool's schema, one for the answer, and text of more than one alphabet."""
    _, body = request(come, large(kind))
    assert len(body) > LARGE
    peak = await peak_of(come, to, body)
    assert peak <= COPIES * len(body), f"{peak / len(body):.2f} times the body"


@each_other
@each_wire
async def test_a_compressed_body_costs_no_more(come: str, to: str) -> None:
    """Than three times what it is when it is inflated, its compressed bytes included."""
    _, body = request(come, with_media(ImagePart(data=PNG + randbytes(LARGE), media_type="image/png")))
    peak = await peak_of(come, to, gzip.compress(body, 1), content_encoding="gzip")
    assert peak <= COPIES * len(body), f"{peak / len(body):.2f} times the body"


@each_other
@each_wire
def test_reading_and_writing_hold_an_image_few_times(come: str, to: str) -> None:
    """Without placeholders, as in the library: besides the body that is read."""
    reads, writes = wire_named(come), wire_named(to)
    _, body = request(come, with_media(ImagePart(data=PNG + bytes(LARGE), media_type="image/png")))
    tracemalloc.start()
    try:
        chat_request = reads.read_request(body, model="m", stream=True)
        sent = json_text.encoded(writes.write_request(chat_request, vendor="nobody"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(sent) > LARGE
    assert peak <= READ_AND_WRITTEN * len(body), f"{peak / len(body):.2f} times the body"


# What stands aside of a request while it is read comes back where it was.

MEDIA: dict[str, list[Part]] = {
    "an image": [ImagePart(data=SMALL, media_type="image/png")],
    "images": [ImagePart(data=SMALL + b"a", media_type="image/png"), ImagePart(data=SMALL + b"bc", media_type="image/png")],
    "one of another type": [ImagePart(data=SMALL, media_type="image/gif")],
    "a document": [FilePart(data=PDF + BINARY * 200, media_type="application/pdf", name="a.pdf")],
    "a text": [FilePart(data=b"some words " * 9000, media_type="text/plain", name="a.txt")],
    "letters of Latin-1": [FilePart(data="schön ".encode("latin-1") * 20_000, media_type="application/pdf", name="a.txt")],
    "a sound": [AudioPart(b"RIFF\0\0\0\0WAVE" + BINARY * 200, "audio/wav")],
}


TEXTS: dict[str, ChatRequest] = {
    "of a user": with_media(TextPart(LONG_TEXT)),
    "of a user, in pieces": with_media(TextPart("a"), TextPart(LONG_TEXT), TextPart(LONG_TEXT), TextPart("b")),
    "beside an image": with_media(TextPart(LONG_TEXT), ImagePart(data=SMALL, media_type="image/png"), TextPart("b")),
    "in the system's words": replace(
        with_media(), messages=[ChatMessage("system", [TextPart(LONG_TEXT)]), *with_media(TextPart("x")).messages]
    ),
    "of a tool": with_result(TextPart(LONG_TEXT)),
    "of a tool, as JSON": with_result(TextPart(json_text.encoded({"a": LONG_TEXT, "text": LONG_TEXT}).decode())),
    "in a call": with_call({"content": LONG_TEXT, "text": "{" + LONG_TEXT, "path": "a"}),
    "that is blank": with_media(TextPart(" \n" * 6 * LONG), TextPart("x")),
    "that ends blank": with_media(TextPart(LONG_TEXT + " \n" * 6 * LONG)),
    "of blanks": with_media(TextPart((" " * 80 + "\n") * LONG), TextPart("x")),
    "between blanks": with_media(TextPart(" " * 9 * LONG + LONG_TEXT + "\n" + " " * 9 * LONG)),
    "of a tool, as JSON after a blank": with_result(TextPart(" \n" + json_text.encoded({"a": LONG_TEXT}).decode())),
    "of an assistant": replace(
        with_media(), messages=[*with_media().messages[:1], ChatMessage("assistant", [TextPart(LONG_TEXT)])]
    ),
    "of thoughts": replace(
        with_media(), messages=[*with_media().messages[:1], thinking(), ChatMessage("user", [TextPart("x")])]
    ),
    "without a letter of ASCII": with_media(TextPart("天空为什么是蓝色的" * (LONG // 3))),
    "of backslashes": with_media(TextPart("\\" * 6 * LONG + LONG_TEXT)),
    "of backslashes alone": with_media(TextPart("\\" * 6 * LONG)),
    "of a document": with_media(FilePart(data=LONG_TEXT.encode(), media_type="text/plain", name="a.txt")),
}


@pytest.mark.parametrize("kind", sorted(TEXTS))
@each_other
@each_wire
async def test_a_backend_gets_long_texts(come: str, to: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing had stood aside: wherever they are, and however their JSON is spelled."""
    monkeypatch.setattr(placeholders, "LONG", LONG)
    path, plain = request(come, TEXTS[kind])
    bodies = [(path, plain), (path, json.dumps(json.loads(plain), indent=1).encode())]
    answers, got = await exchanged(to, *bodies)
    everything_stays(monkeypatch)
    expected, sent_large = await exchanged(to, *bodies)
    assert [answer.status for answer in answers] == [answer.status for answer in expected]
    assert got == sent_large


BROKEN = [b"\\x", b"\x01", b"\xff", b"\\u12", b'"', b"\\"]


@pytest.mark.parametrize("broken", BROKEN)
@each_wire
async def test_a_broken_text_is_refused(come: str, broken: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same words, wherever in a text it is."""
    monkeypatch.setattr(placeholders, "LONG", LONG)
    path, body = request(come, with_media(TextPart(LONG_TEXT)))
    at = body.index(b"Why is")
    bodies = [(path, body[:place] + broken + body[place:]) for place in (at, at + 3 * LONG // 51 * 51, body.rindex(b"Why is"))]
    other = "anthropic" if come != "anthropic" else "gemini"
    answers, got = await exchanged(other, *bodies)
    everything_stays(monkeypatch)
    expected, sent_large = await exchanged(other, *bodies)
    assert [(answer.status, without_id(answer.body)) for answer in answers] == [
        (answer.status, without_id(answer.body)) for answer in expected
    ]
    assert got == sent_large


@each_wire
async def test_half_an_emoji_in_a_long_text(come: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is one sign more in the text that arrives, with and without placeholders."""
    monkeypatch.setattr(placeholders, "LONG", LONG)
    path, body = request(come, with_media(TextPart(LONG_TEXT)))
    bodies = [(path, body.replace(b"Why is", b"Why \\ud83d is", 3))]
    other = "anthropic" if come != "anthropic" else "gemini"
    _, got = await exchanged(other, *bodies)
    everything_stays(monkeypatch)
    _, sent_large = await exchanged(other, *bodies)
    assert got == sent_large
    assert "Why \ufffd is" in json.dumps(got[0], ensure_ascii=False)


async def test_texts_elsewhere_in_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """In settings and tools, and beside them in messages: they arrive as they are."""
    monkeypatch.setattr(placeholders, "LONG", LONG)
    messages = [{"role": "user", "content": LONG_TEXT}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "text": LONG_TEXT}}}
    for more in ({"metadata": {"text": LONG_TEXT}}, {"tools": [tool]}, {"content": LONG_TEXT}, {"user": "text"}):
        path, body = "/v1/chat/completions", json.dumps({"model": "house/small", "messages": messages, **more}).encode()
        for to in ("openai-chat", "anthropic"):
            _, got = await exchanged(to, (path, body))
            with monkeypatch.context() as patch:
                everything_stays(patch)
                assert (await exchanged(to, (path, body)))[1] == got


@each_other
async def test_a_text_that_becomes_a_file(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document whose source is text goes to other wires as base64, in which no placeholder would be found."""
    monkeypatch.setattr(placeholders, "LONG", LONG)
    document = {"type": "document", "source": {"type": "content", "content": LONG_TEXT}}
    body = {"model": "house/small", "max_tokens": 9, "messages": [{"role": "user", "content": [document]}]}
    request = ("/v1/messages", json.dumps(body).encode())
    _, got = await exchanged(to, request)
    everything_stays(monkeypatch)
    assert (await exchanged(to, request))[1] == got


async def test_a_reply_repeats_whole_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of Responses has the instructions, tools and form of its request."""
    monkeypatch.setattr(placeholders, "LONG", LONG)
    messages = [{"role": "system", "content": LONG_TEXT}, {"role": "user", "content": LONG_TEXT}]
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": LONG_TEXT}}}
    tools = [{"type": "function", "name": "f", "description": LONG_TEXT, "parameters": schema, "strict": False}]
    form = {"format": {"type": "json_schema", "name": "form", "schema": schema}}
    async with house("anthropic", HELLO) as (here, _):
        for stream in (False, True):
            body = {"model": "house/small", "input": messages, "stream": stream, "tools": tools, "text": form}
            answer = await here.ask("/v1/responses", body)
            replies = [event.partition("data: ")[2] for event in answer.events] if stream else [answer.body]
            responses = [json.loads(reply) for reply in replies if reply]
            responses = [reply.get("response", reply) for reply in responses if "response" in reply or not stream]
            assert responses
            assert all(reply["instructions"] == LONG_TEXT for reply in responses)
            assert all(reply["tools"][0].items() >= tools[0].items() for reply in responses)
            assert all(reply["text"]["format"]["schema"] == schema for reply in responses)


async def test_an_estimate_counts_texts_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the beginning of a stream of Anthropic's."""
    monkeypatch.setattr(placeholders, "LONG", LONG)
    path, body = request("anthropic", with_media(TextPart(LONG_TEXT), TextPart(LONG_TEXT)), stream=True)
    begins = []
    for _ in range(2):
        async with house("openai-chat", HELLO) as (here, _backend):
            begins.append((await here.ask(path, body)).events[0])
        everything_stays(monkeypatch)
    usages = [json.loads(begin.partition("data: ")[2])["message"]["usage"] for begin in begins]
    assert usages[0] == usages[1]
    assert usages[0]["input_tokens"] > len(LONG_TEXT) // 2


async def test_a_kept_conversation_and_a_site_get_whole_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Responses, which is gone on with by the reply's id; and of who is no API of a vendor."""
    monkeypatch.setattr(placeholders, "LONG", LONG)
    path, body = request("openai-responses", with_media(TextPart(LONG_TEXT)))
    async with house("anthropic", HELLO) as (here, backend):
        first = await here.ask(path, body)
        more = {"model": "house/small", "input": "and?", "previous_response_id": first.json["id"]}
        assert (await here.ask(path, more)).status == 200
    contents = [[message["content"] for message in seen.json["messages"]] for seen in backend.seen]
    assert len(contents) == 2
    parts = [[part for content in each for part in ([content] if isinstance(content, str) else content)] for each in contents]
    assert all(LONG_TEXT in [part if isinstance(part, str) else part.get("text") for part in each] for each in parts)
    async with site(monkeypatch) as here:
        answer = await here.ask(
            "/v1/chat/completions", {"model": "chatgptduo", "messages": [{"role": "user", "content": LONG_TEXT}]}
        )
    assert LONG_TEXT.strip() in answer.json["choices"][0]["message"]["content"]


@pytest.mark.parametrize("kind", sorted(MEDIA))
@each_other
@each_wire
async def test_what_a_backend_gets(come: str, to: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Media arrive as if nothing had stood aside, in either alphabet of base64 and with escaped slashes; so do refusals."""
    path, plain = request(come, with_media(*MEDIA[kind]))
    if kind == "letters of Latin-1":  # which not every wire would write
        plain = plain.replace(b"application/pdf", b"text/plain")
    escaped = plain.replace(b"/", b"\\/")
    bodies = [(path, plain), (path, escaped)]
    if come == "gemini":
        body = json.loads(plain)
        for part in body["contents"][-1]["parts"][1:]:
            data = part["inlineData"]
            data["data"] = data["data"].translate(str.maketrans("+/", "-_"))
        bodies.append((path, json.dumps(body).encode()))
    answers, got = await exchanged(to, *bodies)
    everything_stays(monkeypatch)
    expected, sent_large = await exchanged(to, *bodies)
    assert [answer.status for answer in answers] == [answer.status for answer in expected]
    assert got == sent_large
    if answers[0].status != 200:
        assert [without_id(answer.body) for answer in answers] == [without_id(answer.body) for answer in expected]


def without_id(body: bytes) -> bytes:
    """A refusal without the name of its request, which some dialects tell."""
    return re.sub(rb'"request_id":"\w+"', b"", body)


@pytest.mark.parametrize("come", sorted(DIALECTS))
async def test_broken_base64(come: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused in the same words, or passed on to who is to judge it."""
    name = DIALECTS[come].wire.NAME
    path, body = request(name, with_media(ImagePart(data=SMALL, media_type="image/png")))
    answers = {}
    for aside in (True, False):
        if not aside:
            everything_stays(monkeypatch)
        for broken in (body.replace(b"AECAw", b"A*CAw", 5), body[:-9], body.replace(b"AECAw", b"A\xffCAw", 1)):
            assert broken != body
            plain, got = await exchanged("openai-chat", (path, broken))
            answers[aside, broken] = (plain[0].status, without_id(plain[0].body), got)
    for (aside, broken), answer in answers.items():
        assert not aside or answer == answers[False, broken]


@each_other
async def test_base64_elsewhere_in_a_request(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In arguments and results of tools, in what only one wire knows, in settings: it arrives as it is."""
    data = base64.b64encode(SMALL).decode()
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"data": data})}}
    messages = [
        {"role": "user", "content": f"data:image/png;base64,{data}"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"data": data, "all": [data, data]})},
        {"role": "user", "content": [{"type": "text", "text": data}], "data": data},
    ]
    chat = {"model": "house/small", "messages": messages, "metadata": {"data": data}, "x_own": [data], data: [data]}
    blocks = [{"type": "tool_use", "id": "call_1", "name": "f", "input": {"data": data, "list": [[data], data]}}]
    result = [{"type": "tool_result", "tool_use_id": "call_1", "content": data}]
    turns = [{"role": "user", "content": data}, {"role": "assistant", "content": blocks}, {"role": "user", "content": result}]
    message = {"model": "house/small", "max_tokens": 9, "messages": turns}
    requests = [("/v1/chat/completions", json.dumps(chat).encode()), ("/v1/messages", json.dumps(message).encode())]
    _, got = await exchanged(to, *requests)
    everything_stays(monkeypatch)
    assert (await exchanged(to, *requests))[1] == got
    assert data in json.dumps(got)


async def test_another_backend_is_asked_the_same() -> None:
    """One that speaks another wire, one that speaks the same after that has failed, and another again."""
    chat_request = with_media(ImagePart(data=SMALL, media_type="image/png"))
    path, body = request("openai-chat", chat_request)
    kinds = ("anthropic", "openai-chat", "gemini")
    backends = {f"b{number}": (kind, ScriptedVendor(kind, HELLO, fault=BUSY)) for number, kind in enumerate(kinds)}
    route = tuple(f"{name}/small" for name in backends)
    async with before(backends, routes={"all": route}) as here:
        await here.ask(path, body.replace(b'"house/small"', b'"all"'))
    data = base64.b64encode(SMALL)
    for _, backend in backends.values():
        assert backend.seen
        assert all(data in seen.body for seen in backend.seen)


BUSY = dialect_module.Fault("busy", "overloaded", 503)


async def test_a_site_gets_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is no API of a vendor is asked with what came, though it looks like a placeholder of an image."""
    data = base64.b64encode(SMALL).decode()
    messages = [{"role": "user", "content": [{"type": "text", "text": data}], "data": data}]
    async with site(monkeypatch) as here:
        answers = []
        for _ in range(2):
            answers.append(await here.ask("/v1/chat/completions", {"model": "chatgptduo", "messages": messages}))
            everything_stays(monkeypatch)
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json["choices"] == answers[1].json["choices"]
    assert data in answers[0].json["choices"][0]["message"]["content"]


async def test_a_kept_conversation_has_what_came() -> None:
    """Of Responses, which is gone on with by the reply's id."""
    path, body = request("openai-responses", with_media(ImagePart(data=SMALL, media_type="image/png")))
    async with house("anthropic", HELLO) as (here, backend):
        first = await here.ask(path, body)
        more = {"model": "house/small", "input": "and?", "previous_response_id": first.json["id"]}
        assert (await here.ask(path, more)).status == 200
    assert all(base64.b64encode(SMALL) in seen.body for seen in backend.seen)
    assert len(backend.seen) == 2


async def test_an_estimate_counts_the_pages_that_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of Anthropic's begins with an estimate of its prompt, where the backend counts at the end."""
    path, body = request("anthropic", with_media(*MEDIA["a document"]), stream=True)
    begins = []
    for _ in range(2):
        async with house("openai-chat", HELLO) as (here, _backend):
            begins.append((await here.ask(path, body)).events[0])
        everything_stays(monkeypatch)
    usages = [json.loads(begin.partition("data: ")[2])["message"]["usage"] for begin in begins]
    assert usages[0] == usages[1]
    assert usages[0]["input_tokens"] > 9 * 2000


# A body holds the loop no longer than one of its steps takes.


@each_other
@each_wire
async def test_others_are_served_while_a_large_body_is_read_and_written(
    come: str, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read and written beside the loop, where it is translated; a small one on it."""
    here, on_the_loop = threading.get_ident(), []

    def noted(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def work(*values: Any, **named: Any) -> Any:
            on_the_loop.append(threading.get_ident() == here)
            return inner(*values, **named)

        monkeypatch.setattr(owner, name, work)

    noted(dialect_module, "_read")
    noted(vendor, "sendable")
    for size in (9, 2 << 20):
        on_the_loop.clear()
        await exchanged(to, request(come, with_media(TextPart("x" * size))))
        if come != to:
            assert len(on_the_loop) > 1
            assert set(on_the_loop) == {size == 9}  # a small one is written again where no connection was idle


async def test_garbage_is_collected_again_after_a_large_body() -> None:
    """Whether it could be read or not; amid it, nothing is collected."""
    path, body = request("openai-chat", with_media(TextPart("x" * 600_000)))
    answers, _ = await exchanged("anthropic", (path, body), (path, body.replace(b'"messages"', b'"massages"')))
    assert [answer.status for answer in answers] == [200, 400]
    assert gc.isenabled()
