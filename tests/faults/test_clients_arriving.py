"""How requests of today's clients arrive: paths that are written oddly, and bodies that are compressed."""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
import zlib
from typing import Any

import pytest

from polychat.config.settings import Limits
from polychat.gateway.paths import ENDPOINTS
from polychat.types import ChatMessage, ChatRequest, TextPart, ToolCall, ToolResult
from polychat.wire.contract import names, wire_named

from ..support.gateway_for_clients import HELLO
from ..support.running_gateway import Answer, asking, configured, gateway, good, row
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

POSTED = sorted(path for path, endpoint in ENDPOINTS.items() if path.startswith("/v1/") and endpoint.method == "POST")


@pytest.mark.parametrize("path", POSTED)
async def test_a_path_is_found_however_the_base_url_was_typed(serve: Any, path: str) -> None:
    """A slash too many, one at the end, ``/v1`` twice or not at all: each leads where the usual path does."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        usual = await here.ask(path, {})
        assert usual.status == 400, "the endpoint answers for itself: fields are missing"
        for odd in (path.replace("/v1/", "/v1//"), f"{path}/", f"/v1{path}", f"/{path}", path.removeprefix("/v1")):
            answer = await here.ask(odd, {})
            assert (answer.status, without_id(answer)) == (usual.status, without_id(usual)), odd


def without_id(answer: Answer) -> Any:
    """The answer without the name of the request, which some dialects tell."""
    return {name: value for name, value in answer.json.items() if name != "request_id"}


async def test_a_models_name_keeps_its_slashes(serve: Any) -> None:
    """A path of a file names a model, and its slashes are its own: only the part before the name is corrected."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        body = asking("gemini")[1]
        assert (await here.ask("/v1beta//models/house//weights/x.gguf:generateContent", body)).status == 200
    assert json.loads(backend.seen[0].body)["model"] == "/weights/x.gguf"


async def test_what_is_nowhere_stays_nowhere(serve: Any) -> None:
    """Putting paths right makes no path of what is none."""
    async with gateway(configured({})) as here:
        for path in ("/v2/chat/completions", "/chat", "/v1", "/v1/v1", "/xchat/completions", "//"):
            assert (await here.ask(path, {})).status in (404, 405), path


@pytest.mark.parametrize("backend_wire", names())
@pytest.mark.parametrize("dialect", names())
async def test_half_an_emoji_costs_no_conversation(dialect: str, backend_wire: str, serve: Any) -> None:
    """JavaScript's programs cut texts between two halves of an emoji, and send back the arguments that a model cut so."""
    turns = [
        ChatMessage("user", [TextPart("an é in half")]),
        ChatMessage("assistant", [ToolCall("call_1", "f", '{"t":"in half"}')]),
        ChatMessage("tool", [ToolResult("call_1", [TextPart("cold")], name="f")]),
    ]
    body = {**wire_named(dialect).write_request(ChatRequest("house/small", turns, max_tokens=9)), "stream": False}
    body |= {"x": "\U0001f600 \\ud83d"} if dialect == "openai-chat" else {}
    cut = json.dumps(body).replace("half", "\\ud83d half").encode()
    backend = await serve(ScriptedVendor(backend_wire, HELLO))
    async with gateway(configured({"house": row(backend_wire, backend.url)})) as here:
        answer = await here.ask(asking(dialect)[0], cut)
        assert answer.status == 200, answer.body
    sent = json.dumps(json.loads(backend.seen[0].body), ensure_ascii=False)
    assert sent.count("in \ufffd half") == 2
    assert "an é in \ufffd half" in sent


HALF = "in \ud83d half"
COUNTED: dict[str, dict[str, Any]] = {
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": HALF}]},
    "/v1/responses/input_tokens": {"input": HALF},
    "/v1beta/models/house/small:countTokens": {"contents": [{"parts": [{"text": HALF}]}]},
    "/v1/completions": {"prompt": HALF},
    "/api/generate": {"prompt": HALF},
    "/v1/embeddings": {"input": HALF},
    "/api/embed": {"input": HALF},
    "/api/embeddings": {"prompt": HALF},
}


@pytest.mark.parametrize("path", COUNTED)
async def test_half_an_emoji_is_read_beside_the_chats(path: str, serve: Any) -> None:
    """By whatever counts, completes or embeds."""

    async def handler(seen: Seen, say: Say) -> None:
        assert "in \ufffd half" in json.dumps(json.loads(seen.body), ensure_ascii=False)
        await (say.whole({"data": [{"index": 0, "embedding": [1.0]}]}) if "embed" in seen.path else good(seen, say))

    backend = await serve(handler)
    async with gateway(configured({"house": row("openai-chat", backend.url, embeddings=True)})) as here:
        answer = await here.ask(path, {"model": "house/small", **COUNTED[path]})
    assert answer.status == 200, answer.body


async def test_any_number_of_halves_is_read(serve: Any) -> None:
    """A text of halves alone reaches the backend whole."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        for halves in (1001, 50_000):
            path, body = asking("openai-chat", messages=[{"role": "user", "content": "\ud83d" * halves}])
            assert (await here.ask(path, body)).status == 200
            assert json.loads(backend.seen[-1].body)["messages"][0]["content"] == "\ufffd" * halves


@pytest.mark.parametrize("backend_wire", names())
@pytest.mark.parametrize(
    "arguments", ['{"t":"in \\ud83d half","\\udc00":1}', '{"t": "a \\ud83d\\ude00 b"}'], ids=["half", "pair"]
)
async def test_half_an_emoji_in_arguments_that_are_a_text(backend_wire: str, arguments: str, serve: Any) -> None:
    """The text is good JSON, which says half an emoji: APIs that take arguments as an object get U+FFFD, those that take a
    text get it as it came."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "r"},
    ]
    backend = await serve(ScriptedVendor(backend_wire, HELLO))
    async with gateway(configured({"house": row(backend_wire, backend.url)})) as here:
        path, body = asking("openai-chat")
        answer = await here.ask(path, {**body, "messages": messages})
        assert answer.status == 200, answer.body
    sent = backend.seen[0].body
    if backend_wire.startswith("openai"):
        assert json.dumps(arguments).encode() in sent
    else:
        value = json.loads(arguments)
        assert decoded(sent).encode()  # no half is left
        expected = {HALVES.sub("\ufffd", name): HALVES.sub("\ufffd", str(one)) for name, one in value.items()}
        assert all(f'"{name}":' in decoded(sent) and one in decoded(sent) for name, one in expected.items())


HALVES = re.compile("[\ud800-\udfff]")


def decoded(body: bytes) -> str:
    return json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":"))


CODINGS = {
    **{"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "GZIP": gzip.compress},
    **{"identity": bytes, "gzip, identity": gzip.compress, "identity, gzip,": gzip.compress},
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
}
if sys.version_info >= (3, 14):
    from compression import zstd

    CODINGS["zstd"] = zstd.compress


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [10, 300_000])
async def test_a_compressed_body_is_read(serve: Any, coding: str, size: int) -> None:
    """Small ones on the spot and large ones beside the loop; the backend gets the request plain."""
    backend = await serve(good)
    words = random.Random(1).randbytes(size).hex()
    path, body = asking("openai-chat", messages=[{"role": "user", "content": words}])
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        answer = await here.ask(path, CODINGS[coding](json.dumps(body).encode()), headers={"content-encoding": coding})
        assert answer.status == 200
    (seen,) = backend.seen
    assert json.loads(seen.body)["messages"][0]["content"] == words
    assert "content-encoding" not in seen.headers


@pytest.mark.parametrize("coding", ["compress", "br2", "x" * 300, *(["zstd"] if sys.version_info < (3, 14) else [])])
async def test_a_coding_that_is_not_read_is_415(serve: Any, coding: str) -> None:
    """And the answer says which are: RFC 9110, 15.5.16."""
    async with gateway(configured({})) as here:
        answer = await here.ask("/v1/chat/completions", b"\x28\xb5\x2f\xfd", headers={"content-encoding": coding})
    assert answer.status == 415
    assert "gzip" in answer.headers["accept-encoding"]
    assert "gzip" in answer.json["error"]["message"]
    assert len(answer.json["error"]["message"]) < 300


BROKEN = {
    "cut": gzip.compress(b"{}" * 9_000)[:-20],
    "no gzip": b'{"model":"m"}',
    "empty": b"",
    "something behind it": gzip.compress(b"{}") + b"x",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_a_body_that_cannot_be_unpacked_is_400(serve: Any, body: bytes) -> None:
    """It is the client's mistake, and the error names the body and the coding."""
    async with gateway(configured({})) as here:
        answer = await here.ask("/v1/chat/completions", body, headers={"content-encoding": "gzip"})
    assert answer.status == 400
    assert "body" in answer.json["error"]["message"]
    assert "gzip" in answer.json["error"]["message"]


async def test_a_bomb_is_as_large_as_what_comes_out_of_it() -> None:
    """A small body that unpacks to more than the limit is too large, however often it was packed, and no more is made of it."""
    limits = Limits(body=1_000_000)
    once = gzip.compress(b" " * 300_000_000)
    async with gateway(configured({}, limits=limits)) as here:
        for coding, body in (("gzip", once), ("gzip, gzip", gzip.compress(once))):
            answer = await here.ask("/v1/chat/completions", body, headers={"content-encoding": coding})
            assert answer.status == 413
            assert "1,000,000" in answer.json["error"]["message"]
