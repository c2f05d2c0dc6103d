"""What our dialects answer is what the vendors' published schemas describe, and so are the recorded replies that our
readers read.

Ollama publishes no document of its API that the package has: its own client reads our replies in ``test_replies_ollama.py``.
Google's document describes no errors: those are held by ``test_wire_gemini_reply.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polychat import errors
from polychat.events import (
    Citation,
    Event,
    Finish,
    Logprobs,
    Media,
    Reason,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCallPiece,
    Usage,
)
from polychat.gateway.paths import DIALECTS
from polychat.types import Opaque
from polychat.wire.contract import Writer, wire_named
from polychat.wire.faults import STATUS, Fault
from polychat.wire.openai_chat.completions import completion_writer

from ..support import random_requests, vendor_schemas
from ..support.corpus import FOLDER
from ..support.random_conversations import ask_for
from ..support.running_gateway import asking, configured, fault, gateway, row

UNDESCRIBED = {"ollama"}
DESCRIBED = sorted(vendor_schemas.REPLIES)
each_dialect = pytest.mark.parametrize("name", DESCRIBED)
CITY = '{"city":"Oslo"}'
PNG = b"\x89PNG\r\n\x1a\n"
TOKEN = {"token": "a", "logprob": -0.1, "bytes": [97]}
SEALED = {
    "openai-responses": '{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"x"}}',
    "anthropic": '{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{},"caller":{"type":"direct"}}',
    "gemini": '{"executableCode":{"language":"PYTHON","code":"1"}}',
}
"""A part that only its vendor reads, as its reader keeps it."""
USAGES = {
    "plain": Usage(3, 4, 7),
    "every member": Usage(30, 14, 44, 5, 6, 7, 2, 1, 3, 0.002),
    "nothing known": Usage(),
    "estimated": Usage(3, 4, 7, estimated=True),
    "no total": Usage(3, 4),
}
KNOWN: dict[str, dict[str, str]] = {
    "openai-chat": {
        r"delta\.tool_calls\[0\]\.type: 'custom'": "the API streams custom calls; its document has them in whole replies",
    },
    "openai-completions": {
        r"(finish_reason|usage): None": "the API streams null until the end, which its document has for chats alone",
    },
    "openai-responses": {
        r"(user|prompt_cache_key|safety_identifier): None": "the API says null, as in the document's own examples",
        r"usage: None": "the API says null until it has counted, as in the document's own examples",
    },
    "anthropic": {
        r"error\.type: .* not 'request_too_large'": "request_too_large is on the vendor's page of errors and not in its schema",
        r"content(_block|\[\d\])\.type: .* not 'image'": "the API's models make no images: it is the block of users' images",
    },
}
"""What the documents do not have, and why it is said all the same: by dialect, a pattern of the complaint."""


def opened(name: str, *, stream: bool) -> Writer:
    write = completion_writer if name == "openai-completions" else wire_named(name).writer
    return write(ask_for(stream), "one", 1_700_000_000)


def vendor_of(name: str) -> str:
    return "openai" if name == "openai-completions" else wire_named(name).VENDOR


def pieces(name: str) -> dict[str, list[Event]]:
    """What a reply may hold, by what it is about. Calls of free text are only where a client can offer such a tool."""
    own, foreign = (Opaque(vendor, "c2ln", "rs_1") for vendor in (vendor_of(name), "somebody"))
    sealed = Opaque(vendor_of(name), SEALED.get(name, "ZGF0YQ=="), redacted=True)
    half = ToolCallPiece(0, "call_1", "weather", CITY[:4])
    rest = ToolCallPiece(0, None, None, CITY[4:])
    free = ToolCallPiece(0, "call_1", "patch", "*** Begin", kind="custom")
    page = Citation("A page", "https://example.org/", start=0, end=3)
    pieces_by_kind: dict[str, list[Event]] = {
        "words": [Text("a"), Text("b")],
        "nothing but an end": [],
        "a beginning": [Start("their-id", "their-model"), Text("a")],
        "thoughts": [Reasoning("hm"), Reasoning("m"), Text("a")],
        "signed thoughts": [Reasoning("hm"), Reasoning("", own), Text("a")],
        "thoughts another signed": [Reasoning("hm"), Reasoning("", foreign), Text("a")],
        "two blocks": [Reasoning("hm", own), Reasoning("m", own, 1), Text("a")],
        "what its vendor keeps": [Reasoning("", sealed), Text("a")],
        "what another keeps": [Reasoning("", Opaque("somebody", "ZGF0YQ==", redacted=True)), Text("a")],
        "citations": [Text("abcdef"), page, Citation("", "https://example.org/b", "words", 1, 2), Text("g")],
        "a citation first": [Citation("", "https://example.org/"), Text("g")],
        "images": [Text("a"), Media(PNG, "image/png"), Media(PNG, "image/png")],
        "a sound": [Text("a"), Media(b"RIFF", "audio/wav")],
        "a refusal": [Refusal("no"), Refusal("!")],
        "words and a refusal": [Text("a"), Refusal("no")],
        "probabilities": [Text("a"), Logprobs([{**TOKEN, "top_logprobs": [TOKEN]}])],
        "a call": [half, rest],
        "a call without arguments": [ToolCallPiece(0, "call_1", "now")],
        "calls side by side": [Text("a"), half, ToolCallPiece(1, "call_2", "now", "{}"), rest],
        "a signed call": [ToolCallPiece(0, "call_1", "weather", CITY, own)],
        "a call another signed": [ToolCallPiece(0, "call_1", "weather", CITY, foreign)],
        "thoughts between": [Reasoning("hm"), Text("a"), half, rest, Reasoning("m", None, 1), Text("b")],
        "two answers": [Text("a"), Text("b", 1)],
    }
    if name.startswith("openai"):
        pieces_by_kind["a call of free text"] = [free, ToolCallPiece(0, None, None, " Patch", kind="custom")]
    return pieces_by_kind


def replies(name: str) -> Iterator[tuple[str, list[Event]]]:
    """Every piece, every end, every count, every failure."""
    for about, events in pieces(name).items():
        called = any(isinstance(event, ToolCallPiece) for event in events)
        yield about, [*events, Usage(3, 4, 7), Finish("complete", "tool_calls" if called else "stop")]
    for reason in (*get_args(Reason), None, "a_word_of_its_own"):
        yield f"an end by {reason}", [Text("a"), Finish("complete", reason)]
        yield f"a call and an end by {reason}", [ToolCallPiece(0, "call_1", "now", "{}"), Finish("complete", reason)]
    yield "a stop sequence", [Text("a"), Finish("complete", "stop", stop_sequence="b")]
    yield "several ends", [Text("a"), Text("b", 1), Finish("complete", "stop", others={1: "length"})]
    for about, usage in USAGES.items():
        yield about, [Text("a"), usage, Finish("complete", "stop")]
    for begun in ([], [Text("a")], [ToolCallPiece(0, "call_1", "weather", CITY[:4])], [Reasoning("hm")]):
        yield "a failure", [*begun, Finish("failed", error=errors.ReplyFailed("it is on fire"))]
        yield "a cut", [*begun, Finish("truncated", error=errors.Truncated("it stopped"))]


def payloads(body: bytes) -> list[Any]:
    """The values of a stream: its ``data`` lines, and Google's errors, which come without ``data``."""
    lines = (line.removeprefix("data:").strip() for line in body.decode().split("\n") if not line.startswith("event:"))
    return [json.loads(line) for line in lines if line and line != "[DONE]"]


def complaints(name: str, events: list[Event], *, stream: bool) -> list[str]:
    """What the document says against the answer that these events become."""
    spec, writer = vendor_schemas.REPLIES[name], opened(name, stream=stream)
    body = b"".join([*(writer.write([event]) for event in events), writer.end()])
    problems = []
    for value in payloads(body):
        if is_fault(value):
            assert events[-1].verdict != "complete" or writer.status >= 500  # type: ignore[union-attr]
            problems += [] if spec.fault is None else vendor_schemas.wrong(spec.vendor, spec.fault, value)
        elif stream:
            problems += vendor_schemas.wrong_event(spec.vendor, spec.event, value)
        else:
            problems += vendor_schemas.wrong(spec.vendor, spec.whole, value)
    return problems


def is_fault(value: Any) -> bool:
    """Events and responses of the Responses API have an ``error`` too, beside a ``sequence_number`` or an ``object``."""
    return bool(value.get("error")) and "sequence_number" not in value and "object" not in value


def unknown(name: str, problems: list[str], used: set[str]) -> list[str]:
    """Complaints that no reason is given for; ``used`` gathers the patterns of the others."""
    left = []
    for complaint in problems:
        known = [pattern for pattern in KNOWN.get(name, ()) if re.search(pattern, complaint)]
        used.update(known)
        left += [] if known else [complaint]
    return left


def test_every_dialect_is_held_or_named() -> None:
    """A dialect is described by its vendor's document, or is listed here as not published."""
    assert DIALECTS.keys() == vendor_schemas.REPLIES.keys() | UNDESCRIBED


@each_dialect
def test_what_is_answered_is_what_the_vendor_describes(name: str) -> None:
    """Whole and streamed, each event, error and fault keeps the document's shape; each exception has a reason and is needed."""
    problems, used = [], set[str]()
    for about, events in replies(name):
        for stream in (False, True):
            problems += [f"{about}: {one}" for one in unknown(name, complaints(name, events, stream=stream), used)]
    spec = vendor_schemas.REPLIES[name]
    for kind in STATUS if spec.fault is not None else ():
        for refused in (Fault("no", kind, STATUS[kind]), Fault("no", kind, STATUS[kind], "odd", "messages[0]", 3.0)):
            body = DIALECTS[name].wire.write_fault(refused)
            problems += [f"{kind}: {one}" for one in unknown(name, vendor_schemas.wrong(spec.vendor, spec.fault, body), used)]
    assert not problems
    assert used == KNOWN.get(name, {}).keys()


@each_dialect
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_answer_is_what_the_vendor_describes(name: str, data: st.DataObject) -> None:
    """The same of replies that are made up."""
    events = data.draw(random_requests.replies())
    for stream in (False, True):
        assert not unknown(name, complaints(name, events, stream=stream), set())


RECORDED = [path for name in DESCRIBED if (FOLDER / name).is_dir() for path in sorted((FOLDER / name).iterdir())]
_PING = {r"^\$\.type: .* not 'ping'": "the vendor's page of streams has it and its document does not"}
_NULL = {r"(user|usage): None": "the API says null, as in the document's own examples"}
ODD: dict[str, dict[str, str]] = {
    "openai-chat/azure-text.chunks": {
        r"object: ''|system_fingerprint: None": "Azure begins with its filter's verdict, and says null where OpenAI is silent",
    },
    "openai-chat/mistral-thinking.chunks": {r"delta\.content: \[": "Mistral has thoughts as a list in the content"},
    "openai-chat/perplexity-citations.chunks": {r"object: 'chat\.completion\.done'": "Perplexity's name for its last chunk"},
    "openai-responses/error.sse": {r"code: 'insufficient_quota'": "a code that the API says and its document lacks"},
    **dict.fromkeys(
        (
            *("openai-responses/text.json", "openai-responses/text.sse", "openai-responses/call.sse"),
            *("openai-responses/mixed.sse", "openai-responses/web-search.json"),
        ),
        _NULL,
    ),
    **dict.fromkeys(
        ("anthropic/hello.sse", "anthropic/overloaded.sse", "anthropic/tool-use.sse", "anthropic/web-search.sse"), _PING
    ),
    "gemini/stream-signed-text.sse": {r"'(trafficType|createTime)' was unexpected": "of Vertex AI, whose document is another"},
}
"""What recorded replies say that the documents do not have, and why."""


@pytest.mark.parametrize(
    "path", [path for path in RECORDED if path.suffix in (".sse", ".json", ".chunks")], ids=lambda path: path.name
)
def test_what_our_readers_are_tested_with_is_what_vendors_answer(path: Any) -> None:
    """Recorded replies have no member of a type that the document does not give it, but where it says here why.

    Members that are missing are no fault: the documents are newer than many recordings, and other vendors' servers say less.
    """
    if path.name.startswith(("request-", "fault-")):
        return
    spec, body = vendor_schemas.REPLIES[path.parent.name], path.read_bytes()
    values = [json.loads(body)] if path.suffix == ".json" else payloads(body)
    name = spec.whole if path.suffix == ".json" else spec.event
    problems = [
        one
        for value in values
        if not is_fault(value)
        for one in vendor_schemas.wrong_event(spec.vendor, name, value, all_there=False)
    ]
    odd = ODD.get(f"{path.parent.name}/{path.name}", {})
    assert not [one for one in problems if not any(re.search(pattern, one) for pattern in odd)]
    assert all(any(re.search(pattern, one) for one in problems) for pattern in odd)


AGENTS = {"anthropic": {"anthropic-version": "2023-06-01"}, "gemini": {"x-goog-api-key": "x"}}
"""By what the lists of models know whose client asks."""
COUNTS = {
    "openai-responses": "/v1/responses/input_tokens",
    "anthropic": "/v1/messages/count_tokens",
    "gemini": "/v1beta/models/house/small:countTokens",
}
PART = {"parts": [{"text": "hi"}]}
VECTORS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "openai-chat": [("/v1/embeddings", {"model": "house/small", "input": ["a", "b"]})],
    "gemini": [
        ("/v1beta/models/house/small:embedContent", {"content": PART}),
        ("/v1beta/models/house/small:batchEmbedContents", {"requests": [{"model": "models/house/small", "content": PART}]}),
    ],
}
"""Where embeddings are asked for, in the order of ``Replies.embeddings``."""


async def vectors(seen: Any, say: Any) -> None:
    """A backend that has embeddings, and a list of models that says what it knows."""
    if seen.path.endswith("/embeddings"):
        many = [{"object": "embedding", "index": at, "embedding": [0.5, 1.0]} for at in range(len(seen.json["input"]))]
        await say.whole({"object": "list", "data": many, "model": "small", "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    else:
        known = {"id": "small", "created": 1_700_000_000, "context_length": 8192, "max_output_tokens": 1024, "owned_by": "us"}
        await say.whole({"object": "list", "data": [known, {"id": "bare"}]})


@each_dialect
async def test_lists_counts_and_vectors_are_what_the_vendor_describes(name: str, serve: Any) -> None:
    """Models, listed and one by one, counts of tokens and embeddings, wherever the vendor's API has them."""
    spec, backend, problems = vendor_schemas.REPLIES[name], await serve(vectors), []
    listing = {"wire": "openai-chat", "base_url": f"{backend.url}/v1"}
    rows = {"house": row("openai-chat", backend.url), "open": listing}
    base = "/v1beta/models" if name == "gemini" else "/v1/models"
    _, request_body = asking(name)
    checked: list[tuple[str, str, Any]] = [(base, spec.models, None), (f"{base}/house/small", spec.model, None)]
    checked += [(COUNTS[name], spec.count, request_body)] if spec.count is not None else []
    checked += [(path, schema, body) for (path, body), schema in zip(VECTORS.get(name, []), spec.embeddings, strict=True)]
    async with gateway(configured(rows)) as here:
        for path, schema, body in checked:
            answer = await here.ask(path, body, headers=AGENTS.get(name))
            assert answer.status == 200, (path, answer.body)
            problems += [f"{path}: {one}" for one in vendor_schemas.wrong(spec.vendor, schema, answer.body)]
    assert not problems


@pytest.mark.parametrize("name", [name for name in DESCRIBED if vendor_schemas.REPLIES[name].fault is not None])
async def test_refusals_are_what_the_vendor_describes(name: str, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model nobody has, a body that is none, a path, a method, a key that is wrong, and a backend that fails."""
    spec, backend = vendor_schemas.REPLIES[name], await serve(fault(500))
    monkeypatch.setenv("US", "s3cr3t-enough-to-be-one")
    path, good = asking(name)
    _, nobody = asking(name, "nobody/x")
    requests = [
        (path, nobody, "POST"),
        (path, b"{", "POST"),
        (path, {}, "POST"),
        (path, None, "GET"),
        (f"{path}/x/y/z", good, "POST"),
    ]
    async with gateway(configured({"house": row("openai-chat", backend.url, key="k")})) as here:
        answers = [await here.ask(where, body, method) for where, body, method in [*requests, (path, good, "POST")]]
    async with gateway(configured({"house": row("openai-chat", backend.url)}, keys={"us": "env:US"})) as here:
        answers.append(await here.ask(path, good))
    assert all(answer.status >= 400 for answer in answers)
    assert not [one for answer in answers for one in vendor_schemas.wrong(spec.vendor, str(spec.fault), answer.body)]


def test_the_check_finds_what_is_wrong() -> None:
    """A reply of another shape is found in each document, and an event with the members of another."""
    assert vendor_schemas.wrong("openai", "CreateChatCompletionResponse", {"id": "x", "choices": []})
    assert vendor_schemas.wrong_event("openai", "ResponseStreamEvent", {"type": "response.output_text.delta", "delta": 5})
    assert vendor_schemas.wrong_event("anthropic", "MessageStreamEvent", {"type": "message_stop", "x": 1, "index": 0}) == []
    assert vendor_schemas.wrong_event("anthropic", "MessageStreamEvent", {"type": "content_block_stop"})
    assert vendor_schemas.wrong_event("anthropic", "MessageStreamEvent", {"type": "nobody_knows"})
    assert vendor_schemas.wrong("gemini", "GenerateContentResponse", {"candidates": [{"words": "hi"}]})
